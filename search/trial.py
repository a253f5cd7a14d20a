"""One finished trial: what it is, what it reached, and the way out with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ..errors import StoreError, StudyError
from ..objectives import COSTS, Deployed, OnnxNetwork, Quality, is_cost, objective_of, quality
from ..spaces import Architecture, Candidate, build
from ..spaces.architecture import Json
from ..storage import CurvePoint, Evaluation
from .constraints import held
from .data import data_of
from .delivery.card import NOT_STATED, TEST
from .delivery.export import export

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True)
class Trial:
    """A trial of a study, read from the store."""

    study: "Study"
    evaluation: Evaluation

    @property
    def number(self) -> int:
        """As in Optuna and in optuna-dashboard."""
        return self.evaluation.trial_number

    @property
    def state(self) -> str:
        """``complete``, ``failed``, ``stopped`` early, or ``refused``: not trained because of what is known before."""
        return self.evaluation.state

    @property
    def reason(self) -> str | None:
        """Why it failed, was stopped, or was refused."""
        return None if self.evaluation.kind is None else f"{self.evaluation.kind}: {self.evaluation.reason}"

    @property
    def inherited(self) -> bool:
        """Whether it began with the weights of another trial; ``Study.train`` says what it reaches from scratch."""
        return self.candidate.start is not None

    @property
    def trained_on(self) -> str:
        """Which splits it learned from."""
        return "train"

    @property
    def repetition(self) -> bool:
        """Whether it repeats a network of the study with a seed of its own; it is never on the front."""
        return not self.candidate.counts

    @property
    def feasible(self) -> bool:
        """Whether it came to an end and holds the study's constraints."""
        return self.state == "complete" and held(self.study.definition.bounds, self.evaluation.values)

    @property
    def values(self) -> Mapping[str, float]:
        """What the search measured, by name, quality before costs; the test split is not part of it."""
        measured = {
            name: value for name, value in self.evaluation.values.items() if not _is_test(name, self.evaluation.values)
        }
        names = [name for name in dict.fromkeys((*self.study.definition.measures, *measured)) if name in measured]
        order = {name: place for place, name in enumerate(COSTS)}
        names.sort(key=lambda name: (is_cost(name), order.get(name, len(order)) if is_cost(name) else 0))
        return {name: measured[name] for name in names}

    @property
    def candidate(self) -> Candidate:
        return self.evaluation.candidate

    @property
    def architecture(self) -> Architecture:
        """The network as it is left."""
        return self.evaluation.deployed

    @property
    def learning_curve(self) -> list[CurvePoint]:
        """A point for each epoch; empty if the result was taken from another study."""
        return self.study.store.curve(self.evaluation.id)

    def load(self, *, quantized: bool = True) -> nn.Module:
        """The trained network as it is deployed, in evaluation mode, on the CPU.

        One of 8 bits runs on ONNX Runtime and cannot be trained; with ``quantized=False`` it is the network of 32 bits
        that it was made of.
        """
        if self.evaluation.weights is None:
            raise StudyError(f"trial {self.number} has no weights: {self.reason or self._why_no_weights()}")
        try:
            return self._read(quantized=quantized)
        except StoreError as error:
            raise StoreError(f"{error}; or train it: {self._anew()}") from error

    def _read(self, *, quantized: bool) -> nn.Module:
        """The network from the artifacts."""
        store = self.study.store
        assert self.evaluation.weights is not None
        if quantized and self.evaluation.quantized is not None:
            return OnnxNetwork(store.read_artifact(self.evaluation.quantized), threads=self.study.definition.threads)
        network = build(self.architecture)
        try:
            network.load_state_dict(store.load_weights(self.evaluation.weights))
        except RuntimeError as error:
            raise StoreError(
                f"the weights {self.evaluation.weights} do not fit trial {self.number}: the artifact was exchanged"
            ) from error
        return network.eval()

    def _why_no_weights(self) -> str:
        keep = self.study.definition.keep
        kept = {"front": "the study keeps those of its front only", "none": "the study keeps none"}
        return f"{kept.get(keep, 'they were lost, and paretonas doctor took them out')}: {self._anew()}"

    def _anew(self) -> str:
        """How one gets a network like it with weights."""
        seed = self.evaluation.seed + 1
        return (
            f"paretonas train {self.number} --as-trial --seed {seed}, or study.train({self.number}, seed={seed}), "
            "trains its network anew"
        )

    def deployed(self) -> Deployed:
        """The network as it leaves, to be measured again."""
        quantized = self.load() if self.evaluation.quantized is not None else None
        assert quantized is None or isinstance(quantized, OnnxNetwork)
        return Deployed(self.load(quantized=False), self.architecture, quantized, self.candidate.precision)

    def test_metrics(self) -> dict[str, float]:
        """Every quality metric of the trial on the test split, which the search never sees, as ``test_accuracy``.

        Kept in the store once known; only then no data are needed. Empty where the weights were not kept.
        """
        names = [name for name in self.values if isinstance(objective_of(name), Quality)]
        known = self.study.store.evaluation(self.evaluation.id).values
        if not all(TEST + name in known for name in names):
            if self.evaluation.weights is None:
                return {}
            data = data_of(self.study.definition, "cpu")
            known = {TEST + name: value for name, value in quality(self.load(), data.test, data, names).items()}
            for name, value in known.items():
                self.study.store.add_measurement(self.evaluation.id, name, value, {})
        return {TEST + name: known[TEST + name] for name in names}

    def export(
        self,
        folder: str | Path,
        *,
        formats: str | Sequence[str] = (),
        licence: str = NOT_STATED,
        force: bool = False,
    ) -> Path:
        """Write the network into ``folder`` and check that each file of it agrees with this trial: all files, or none.

        They are its source, ``net.py``, its weights, ``net.safetensors``, its card, ``net.json`` and ``README.md``, and
        ``train.py``, which trains it without paretonas. formats: what else, of ``torch_export``, ``onnx`` and
        ``executorch``, or ``all`` that can be written here. licence: for the card. Raises UsageError for an unknown
        format and one whose package is missing, ExportError if a file exists and ``force`` is not given, or if the
        network cannot be written in a format.
        """
        return export(self, Path(folder), formats=formats, licence=licence, force=force)

    def draw(self, path: str | Path | None = None, *, against: "Trial | None" = None) -> str:
        """A picture of its network, as SVG text: depth, width, sharing, and what pruning took away.

        path: a file to write it to as well, named .svg or .png. against: a trial to be drawn beside it, with the
        difference in words.
        """
        from .views.drawing import draw_trial, write_drawing

        if path is not None:
            write_drawing(self, path, beside=against)
        return draw_trial(self, beside=against)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from .views.notebook import trial_html

        return trial_html(self)

    def to_json(self) -> Json:
        return {
            "trial": self.number,
            "state": self.state,
            **({"reason": self.reason} if self.reason else {}),
            "inherited": self.inherited,
            "values": dict(self.values),
            "network": str(self.architecture),
            "pruning": self.candidate.pruning,
            "bits": self.candidate.compression.bits,
            "architecture": self.architecture.to_json(),
        }


def _is_test(name: str, measured: Mapping[str, float]) -> bool:
    return name.startswith(TEST) and name.removeprefix(TEST) in measured
