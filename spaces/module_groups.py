"""Which units of a user's own module leave together, found by tracing it.

Torch-Pruning (Fang et al. 2023, "DepGraph") follows a unit through the graph that autograd records: sums,
concatenations, flattening and depthwise convolutions. It does not always see what the code does with the units, so its
word is taken only where it can be proven (``module_pruning.py``).
"""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import UnionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from ..errors import UsageError

if TYPE_CHECKING:
    import torch_pruning

STATISTICS = ("running_mean", "running_var")
GROWTH = 4  # times the largest dimension of a parameter: more units than that are none
Tensors = Mapping[str, int]  # the tensors of a layer that hold units, each with the dimension
Held = tuple[Tensors, tuple[str, ...]]  # and the attributes of the layer that count them
Whole = dict[str, str]  # why layers keep all of their units, by name


def _alike(tensors: Sequence[str], size: str) -> tuple[Held, Held]:
    """Of a layer that gives the units that it takes."""
    held = (dict.fromkeys(tensors, 0), (size,))
    return held, held


KINDS: tuple[tuple[type | UnionType, Held, Held], ...] = (  # what makes units, and what reads them
    (nn.Linear, ({"weight": 0, "bias": 0}, ("out_features",)), ({"weight": 1}, ("in_features",))),
    (nn.Embedding, ({"weight": 1}, ("embedding_dim",)), ({"weight": 1}, ("embedding_dim",))),
    (_BatchNorm | _InstanceNorm, *_alike(("weight", "bias", *STATISTICS), "num_features")),
    (nn.LayerNorm | nn.RMSNorm, *_alike(("weight", "bias"), "normalized_shape")),
    (nn.GroupNorm, *_alike(("weight", "bias"), "num_channels")),
    (nn.PReLU, *_alike(("weight",), "num_parameters")),
)
SIZES = ("in_channels", "out_channels", "groups", *(size for _, made, read in KINDS for size in (*made[1], *read[1])))


@dataclass(frozen=True)
class Part:
    """What a layer has of the units of a group.

    layer: its name, or that of a parameter. at: (units, places), where each unit lies along the dimension of the
    tensors. sizes: the layer's attributes that count them. reads: whether it takes them in, rather than makes them.
    """

    layer: str
    tensors: Tensors
    at: Tensor
    sizes: tuple[str, ...]
    reads: bool


@dataclass(frozen=True)
class ModuleGroup:
    """Units of a module that leave together. layer: one that makes them, by which the group is called."""

    layer: str
    size: int
    parts: tuple[Part, ...]


def module_groups(module: nn.Module, example: Tensor) -> tuple[list[ModuleGroup], Whole]:
    """The groups of units that may leave, and why other layers stay whole; ``module`` is not changed.

    example: (N, ...), what the module takes. What the answers are made of never leaves. UsageError, naming the layer
    where it is known, if the module does not run on the example or cannot be traced.
    """
    import torch_pruning

    traced = _copied(module)
    graph, answering = torch_pruning.DependencyGraph(), set[nn.Module]()

    def forward(network: nn.Module, x: Tensor) -> Any:
        answers, answering_now = _run(network, x)
        answering.update(answering_now)
        return answers

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(traced, example, forward_fn=forward, verbose=False)
            seen = list(_seen(graph))
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"{type(module).__name__} cannot be traced for pruning: {type(error).__name__}: {first_line(error)}"
            ) from error
    names: dict[Any, str] = {part: name for name, part in traced.named_modules()}
    names |= {parameter: name for name, parameter in traced.named_parameters()}
    groups, whole = [], Whole()
    for found in seen:
        targets = {item.dep.target.module for item in found if graph.is_out_channel_pruning_fn(item.dep.handler)}
        makers = targets & names.keys()
        layer = names[found[0].dep.target.module]
        if makers & answering or any(item.dep.target.type == torch_pruning.ops.OPTYPE.OUTPUT for item in found):
            if not makers <= answering:
                whole[layer] = "its units are seen in one set with the answers"
            continue
        try:
            groups.append(_group(layer, found, graph, names))
            _check_ties(groups[-1], traced)
        except UsageError as error:
            whole[layer] = str(error)
    return [group for group in groups if group.layer not in whole and group.size > 1], whole


def _copied(module: nn.Module) -> nn.Module:
    try:
        traced = copy.deepcopy(module).eval()
    except Exception as error:
        raise UsageError(
            f"a module is copied before it is pruned, {type(module).__name__} cannot be: {first_line(error)}"
        ) from error
    for parameter in traced.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    return traced


def _run(network: nn.Module, x: Tensor) -> tuple[Any, set[nn.Module]]:
    """What the network answers, and the layers whose output that is. UsageError, naming the layer, if it does not."""
    inside: list[str] = []
    left: list[tuple[nn.Module, Any]] = []
    cut: list[str] = []

    def leave(layer: nn.Module, _: Any, output: Any) -> None:
        left.append((layer, output))
        name = inside.pop()
        if isinstance(output, Tensor) and output.grad_fn is None and any(True for _ in layer.parameters()):
            cut.append(name)

    hooks = []
    for name, layer in network.named_modules():
        hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(layer.register_forward_hook(leave))
    try:
        answers = network(x)
    except Exception as error:
        where = f"layer {inside[-1]!r} of {type(network).__name__}" if inside and inside[-1] else type(network).__name__
        raise UsageError(
            f"{where} fails at an example of shape {tuple(x.shape)}: {type(error).__name__}: {first_line(error)}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    tensors = list(answers.values()) if isinstance(answers, dict) else [answers]
    if any(isinstance(answer, Tensor) and answer.grad_fn is None for answer in tensors):
        where = f"layer {cut[0]!r}" if cut and cut[0] else "its forward"
        raise UsageError(
            f"{type(network).__name__} cannot be traced for pruning, because {where} computes outside of autograd "
            "(no_grad, detach or numpy): compute it with torch's own operations"
        )
    return answers, {layer for layer, output in left if any(output is answer for answer in tensors)}


def _seen(graph: "torch_pruning.DependencyGraph") -> Iterator[Any]:
    """The groups as torch-pruning sees them, each with all of its units.

    In some graphs, as of windowed attention, release 1.6.1 walks in circles, with ever more units; so they are counted.
    """
    most = GROWTH * max(max(parameter.shape, default=1) for parameter in graph.model.parameters())

    def counted(units: list[Any]) -> list[Any]:
        if len(units) > most:
            raise UsageError(
                f"{type(graph.model).__name__} cannot be traced for pruning: torch-pruning follows its units in circles"
            )
        return units

    class Counting(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            return chain([counted], super().__iter__())

    for node in graph.module2node.values():
        for edge in node.dependencies:
            edge.index_mapping = Counting(edge.index_mapping)
    kinds = (_ConvNd, nn.Linear, nn.Embedding)
    yield from graph.get_all_groups(root_module_types=kinds)


def _group(layer: str, found: Any, graph: "torch_pruning.DependencyGraph", names: dict[Any, str]) -> ModuleGroup:
    """A group in our terms. UsageError says why it stays whole."""
    made = []
    repeated = 1  # grouped convolutions and norms lose the same unit of each of their groups
    for item in found:
        target = item.dep.target.module
        if target in names:
            outputs = graph.is_out_channel_pruning_fn(item.dep.handler)
            made.append((target, outputs, item.dep.target.pruning_dim, item.idxs, item.root_idxs))
            repeated = max(repeated, _repeats(target))
    units = len(found[0].idxs)
    if units % repeated:
        raise UsageError(f"its {units} channels are not the same number in each of {repeated} groups")
    size = units // repeated
    parts = []
    for target, outputs, dim, indices, roots in made:
        name = names[target]
        parent = name.rpartition(".")[0]
        owner = graph.model.get_submodule(parent)
        of_norm = isinstance(target, nn.Parameter) and isinstance(owner, nn.RMSNorm)  # unknown to torch-pruning
        name = parent if of_norm else name
        tensors, sizes = _held(owner if of_norm else target, dim, outputs=outputs)
        if tensors or sizes:
            parts.append(Part(name, tensors, _places(indices, roots, size), sizes, reads=not outputs))
    return ModuleGroup(layer, size, tuple(parts))


def _repeats(layer: Any) -> int:
    if isinstance(layer, _ConvNd):
        return 1 if layer.groups == layer.out_channels else layer.groups
    return layer.num_groups if isinstance(layer, nn.GroupNorm) else 1


def _places(indices: list[int], roots: list[int | None], size: int) -> Tensor:
    """(units, places): where each unit lies."""
    places: list[list[int]] = [[] for _ in range(size)]
    for index, root in zip(indices, roots, strict=True):
        if root is None:
            raise UsageError("torch-pruning does not know which of its units is which")
        places[root % size].append(index)
    if len({len(of_unit) for of_unit in places}) != 1:
        raise UsageError("its units do not all have the same number of places in the layers that take them")
    return torch.tensor(places)


def _held(layer: Any, dim: int, *, outputs: bool) -> Held:
    """What a layer has of the units. UsageError if nothing can leave it."""
    if isinstance(layer, nn.Parameter):
        return {"": dim % layer.dim()}, ()
    tensors, sizes = _of_convolution(layer, outputs=outputs) if isinstance(layer, _ConvNd) else _of(layer, outputs)
    own = {**layer._parameters, **layer._buffers}  # noqa: SLF001 - what is computed from other tensors is in neither
    if tensors and "weight" not in own:
        raise UsageError("its weight is computed from other tensors")
    return {name: along for name, along in tensors.items() if own.get(name) is not None}, sizes


def _of_convolution(layer: _ConvNd, *, outputs: bool) -> Held:
    if layer.groups == layer.out_channels > 1:
        return {"weight": 0, "bias": 0}, ("in_channels", "out_channels", "groups")
    along = 0 if outputs != layer.transposed else 1
    return ({"weight": along, "bias": 0}, ("out_channels",)) if outputs else ({"weight": along}, ("in_channels",))


def _of(layer: nn.Module, outputs: bool) -> Held:  # noqa: FBT001 - as KINDS has it
    if not any(True for _ in layer.parameters()) or (isinstance(layer, nn.PReLU) and layer.num_parameters == 1):
        return {}, ()
    if not isinstance(layer, nn.LayerNorm | nn.RMSNorm) or len(layer.normalized_shape) == 1:
        for kind, made, read in KINDS:
            if isinstance(layer, kind):
                return made if outputs else read
    raise UsageError(f"nothing leaves a layer of the kind {type(layer).__name__}")


def tied_names(module: nn.Module) -> list[list[str]]:
    """The names of each parameter that several layers have."""
    names: dict[int, list[str]] = {}
    for layer, owner in module.named_modules():
        for tensor, parameter in owner.named_parameters(recurse=False):
            names.setdefault(id(parameter), []).append(joined(layer, tensor))
    return [same for same in names.values() if len(same) > 1]


def _check_ties(group: ModuleGroup, module: nn.Module) -> None:
    """UsageError unless a group takes the same of each name of a parameter."""
    taken: dict[str, dict[int, list[list[int]]]] = {}
    for part in group.parts:
        for tensor, dim in part.tensors.items():
            taken.setdefault(joined(part.layer, tensor), {})[dim] = part.at.sort(1).values.tolist()
    for names in tied_names(module):
        if any(taken.get(name) != taken.get(names[0]) for name in names):
            raise UsageError(f"{' and '.join(names)} are one parameter, and pruning would make them differ")


def joined(layer: str, tensor: str) -> str:
    """The name of a layer's tensor in the state dict."""
    return ".".join(filter(None, (layer, tensor)))


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
