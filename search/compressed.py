"""A compressed module: what came of it, the way out, and the way back."""

import copy
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import ExportError, UsageError
from ..objectives import LATENCY, Data, OnnxNetwork, is_cost, to_onnx
from ..spaces import Architecture, DataSpec, Head, Network, build, example_input, write_source
from ..spaces.architecture import Json
from ..spaces.module_groups import first_line
from ..spaces.module_pruning import Sizes, resize
from .scale import ON_ONNX

if TYPE_CHECKING:
    from rich.table import Table

SOURCE, WEIGHTS, CARD, MODEL, INT8 = "net.py", "net.safetensors", "net.json", "net.onnx", "net.int8.onnx"


@dataclass(frozen=True)
class Compressed:
    """What ``compress`` made of a module.

    module: the smaller one in single precision, on the CPU, in evaluation mode. quantized: the int8 network that was
    made of it, which is the one to deploy, None if 32 bits were asked for. before, after: all figures by name, of the
    original and of the one to deploy. card: what was asked and done. data: what it was measured on. sizes: what
    pruning changed in a module of the user's own.
    """

    module: nn.Module
    quantized: OnnxNetwork | None
    before: Mapping[str, float]
    after: Mapping[str, float]
    card: Json
    data: Data
    sizes: Sizes

    def table(self) -> "Table":
        """The figures before and after."""
        from rich.table import Table

        from .delivery.card import TEST
        from .views.tables import in_figures

        table = Table(title=f"Compressed on {self.card['task']['type']}", title_justify="left")
        for name in ("", "before", "after", "ratio, or change"):
            table.add_column(name, justify="right" if name else "left")
        table.add_column("of", overflow="fold")
        for name, was in self.before.items():
            now = self.after.get(name)
            if now is not None:
                tested, cost = name.startswith(TEST), not name.startswith(TEST) and is_cost(name)
                ratio = f"{now / was:.3f}" if was and cost else f"{now - was:+.4f}"
                of = self.unit(name) if cost else "test split" if tested else "validation split"
                table.add_row(name, in_figures(name, was), in_figures(name, now), ratio, of)
        return table

    def unit(self, name: str) -> str:
        """The unit of a figure, in words."""
        from .delivery.card import unit_of

        if name == LATENCY:
            runs = "eager" if self.quantized is None else "before eager, after ONNX Runtime"
            return f"milliseconds per example, CPU, {runs}"
        if name == ON_ONNX:
            return f"milliseconds per example, CPU, ONNX Runtime{', after int8' if self.quantized else ''}"
        return unit_of(name)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=StringIO(), width=120, emoji=False)
        console.print(self.table())
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip()

    def to_json(self) -> Json:
        """What was asked, what was done, and all figures."""
        units = {name: self.unit(name) for name in self.before}
        return {**self.card, "before": dict(self.before), "after": dict(self.after), "units": units}

    def export(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write what is needed to use it into ``folder``, checked, all or nothing.

        Of a network of paretonas: ``net.py``, ``net.safetensors``, ``net.json``. Of another module:
        ``net.safetensors`` and ``net.json``, for ``restore``, and ``net.onnx`` if it can be exported. Of either
        ``net.int8.onnx`` if it was quantized. ExportError if one of them exists and ``force`` is not given.
        """
        folder = Path(folder)
        from .delivery.export import check_free

        contents = self._contents()
        check_free(folder, tuple(contents), force=force)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as place:
                for name, content in contents.items():
                    (Path(place) / name).write_bytes(content)
                self._check(Path(place))
                for name in contents:
                    (Path(place) / name).replace(folder / name)
        except OSError as error:
            raise ExportError(
                f"{folder} cannot take the export: {error.strerror or error}: choose a folder that is writable and has "
                "room"
            ) from error
        return folder

    def _contents(self) -> dict[str, bytes]:
        """The files by name."""
        from ..storage import weights_in_bytes

        spec = self.data.spec
        card = self.to_json() | {
            "input": {
                "shape": list(spec.input_shape),
                "vocabulary": spec.vocabulary,
                "categories": list(spec.categories),
            },
            "outputs": {head.name: head.outputs for head in spec.heads},
            "preprocessing": {name: done for name, done in self.data.preprocessing.items() if name != "targets"},
            "targets": {target.head: target.to_json() for target in self.data.targets},
        }
        contents: dict[str, bytes] = {}
        if isinstance(self.module, Network):
            architecture = self.module.architecture
            weights = weights_in_bytes(architecture, self.module.state_dict())
            contents[SOURCE] = write_source(architecture, self._docstring()).encode()
            card["architecture"] = architecture.to_json()
        else:
            weights = _in_bytes(self.module.state_dict())
            card |= {"class": f"{type(self.module).__module__}:{type(self.module).__qualname__}", "sizes": self.sizes}
            if self._model is not None:
                contents[MODEL] = self._model
        if self.quantized is not None:
            contents[INT8] = self.quantized.model
        card["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        return {**contents, WEIGHTS: weights, CARD: (json.dumps(card, indent=2) + "\n").encode()}

    @cached_property
    def _model(self) -> bytes | None:
        """The module as ONNX, None if it cannot be written so."""
        try:
            return to_onnx(self.module, next(self.data.train.batches(2))[0])
        except UsageError:
            return None

    def _docstring(self) -> str:
        from .delivery.card import USAGE, what_comes_in, what_comes_out

        made_of = f"These are of {INT8}, the int8 network on ONNX Runtime; net.py is the one that it was made of."
        figures = [f"{name} {value:g}, before {self.before[name]:g}" for name, value in self.after.items()]
        return "\n".join(
            [
                f"A network of paretonas, compressed on {self.card['task']['type']}.",
                "",
                *figures,
                *([made_of] if self.quantized else []),
                "",
                f"In: {what_comes_in(self.data.spec)}, prepared as 'preprocessing' in net.json says.",
                *(f"Out: {what_comes_out(target, self.data.spec)}." for target in self.data.targets),
                "",
                USAGE,
            ]
        )

    def _check(self, folder: Path) -> None:
        """ExportError unless the written files give bitwise the answers of the module."""
        from .delivery.export import check

        if isinstance(self.module, Network):
            check(self.module, self.module.architecture, folder / SOURCE, folder / WEIGHTS)
            return
        if any(not torch.equal(read, kept) for read, kept in _pairs(load_file(folder / WEIGHTS), self.module)):
            raise ExportError("the written weights are others than the module's: nothing was written; report this")


def restore(module: nn.Module, folder: str | Path) -> nn.Module:
    """The compressed module of a folder, in single precision and evaluation mode.

    module: made as the one that was compressed was, by the same class with the same arguments; its weights do not
    matter, and it is not changed. A network of paretonas needs no such module, and any will do. Nothing of the folder
    is run. UsageError if the folder has no compressed module, or one of another class.
    """
    card, tensors = _read(Path(folder))
    try:
        if "architecture" in card:
            restored = build(Architecture.from_json(card["architecture"]))
            restored.load_state_dict(tensors)
        else:
            restored = copy.deepcopy(module)
            resize(restored, card["sizes"], tensors)
        heads = tuple(Head(outputs, name) for name, outputs in card["outputs"].items())
        given = card["input"]
        spec = DataSpec(
            tuple(given["shape"]), heads, vocabulary=given["vocabulary"], categories=tuple(given["categories"])
        )
        with torch.no_grad():
            answers = restored.eval()(example_input(spec, 2))
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{type(module).__name__} cannot become the compressed module of {folder}, which was of the class "
            f"{card.get('class', 'Network')}: {first_line(error)}: make the module as it was made then"
        ) from error
    by_head = answers if isinstance(answers, dict) else {heads[0].name: answers}
    if {name: answer.shape[-1] for name, answer in by_head.items()} != dict(card["outputs"]):
        raise UsageError(f"the module restored from {folder} answers otherwise than {card['outputs']}: it is another")
    return restored


def _read(folder: Path) -> tuple[Json, dict[str, Tensor]]:
    """Card and tensors of a folder."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"{folder} holds no compressed module, {CARD} and {WEIGHTS}: {first_line(error)}") from error
    if not isinstance(card, dict) or "after" not in card:
        raise UsageError(f"{folder} holds no compressed module: {CARD} is not a card that compress wrote")
    if card.get("weights_sha256") != digest:
        raise UsageError(f"{WEIGHTS} of {folder} is not the file that {CARD} describes: bring the right one back")
    return card, tensors


def _in_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors; one that has two names is written under each."""
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})


def _pairs(tensors: Mapping[str, Tensor], module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(tensors[name], kept) for name, kept in module.state_dict().items()]
