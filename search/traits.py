"""What a candidate is like, as plain features that any two candidates have in common: what the search learns from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import log, log10, prod
from typing import TYPE_CHECKING

from ..errors import InvalidArchitecture
from ..objectives import macs
from ..spaces import Architecture, Candidate, ModuleArchitecture
from ..spaces.block import Block
from ..spaces.builder import forms
from ..spaces.parameter_rules import count_parameters

if TYPE_CHECKING:
    from .inputs import Features

RATES = ("learning_rate", "finetune_rate", "temperature")  # as logarithms
OF_FINETUNING = ("finetune_epochs", "finetune_rate")


def traits(candidate: Candidate) -> "Features":
    """The features of a candidate, whatever its space: sizes, shares and counts of its blocks, and how it is trained.

    Numbers are plain or logarithms, words are categories; what has no meaning for it is absent. They follow from the
    candidate alone, so those of earlier studies, of the queue and of moves are alike.
    """
    network = candidate.architecture
    return {
        **(_arguments(network) if isinstance(network, ModuleArchitecture) else _network(network)),
        **_recipe(candidate),
        **_training(candidate),
    }


def _arguments(network: ModuleArchitecture) -> "dict[str, float | str | bool]":
    return {"factory": network.factory, **{f"argument {name}": value for name, value in network.arguments.items()}}


def _network(network: Architecture) -> dict[str, float]:
    layers = [block for block in network.blocks if block.args.keys() - {"size"}]
    found: dict[str, float] = {"layers": len(layers)}
    for op, count in Counter(block.op for block in network.blocks).items():
        found[f"blocks of {op}"] = count
    for name in dict.fromkeys(name for block in layers for name in block.args):
        found |= _numbers(name, layers)
    sharing = sum(block.shares is not None for block in network.blocks)
    found["shared"] = sharing / max(len(layers), 1)
    if len(network.heads) > 1:
        found["trunk"] = _trunk(network)
    return found | _sizes(network)


def _numbers(name: str, layers: Iterable[Block]) -> dict[str, float]:
    """One number, or word, of the blocks that have it: how it goes along the depth, or the share of each word."""
    values = [block.args[name] for block in layers if name in block.args]
    words = [value for value in values if isinstance(value, str)]
    if words:
        return {f"{name} {word}": count / len(values) for word, count in Counter(words).items()}
    numbers = [float(value) for value in values]
    ends = {f"{name} first": numbers[0], f"{name} last": numbers[-1]} if len(numbers) > 1 else {}
    return {f"{name} mean": sum(numbers) / len(numbers), f"{name} most": max(numbers), **ends}


def _sizes(network: Architecture) -> dict[str, float]:
    """Parameters and multiply-accumulates before anything leaves, and how far the maps shrink, as logarithms."""
    try:
        seen = forms(network)
    except InvalidArchitecture:
        return {}
    places = [prod(form.shape) / form.width for form in seen]
    reached = places[network.head_source(network.heads[0]) + 1]
    before = min((place for place in places if place > reached), default=reached)
    return {
        "log parameters": log10(1 + count_parameters(network)),
        "log macs": log10(1 + macs(network)),
        "log last map": log(before),
        "log positions": log(sum(places)),
    }


def _trunk(network: Architecture) -> float:
    """The share of the blocks that all heads use."""
    used = Counter[int]()
    for head in network.heads:
        index = network.head_source(head)
        while index >= 0:
            used[index] += 1
            index = network.source(index)
    return sum(count == len(network.heads) for count in used.values()) / max(len(used), 1)


def _recipe(candidate: Candidate) -> "dict[str, float | str | bool]":
    """How it is made small, as far as that has an effect."""
    recipe = candidate.compression
    pruned = candidate.pruning > 0 and (candidate.decided_later or candidate.deployed != candidate.architecture)
    gone = candidate.pruning if candidate.decided_later else _gone(candidate)
    effective = recipe.effective(pruned=pruned, finetunes=candidate.finetunes)
    start = candidate.start
    return {
        "pruning": gone if pruned else 0.0,
        "removed layers": recipe.removed_layers,
        "sparsity": recipe.sparsity,
        "bits": recipe.bits,
        "inherited": start is not None,
        "moves": 0 if start is None else len(start.moves),
        **{name: value for name, value in effective.items() if name not in ("removed_layers", "sparsity", "bits")},
    }


def _gone(candidate: Candidate) -> float:
    """The share of the parameters that leaves: ratios that leave the same units are one candidate."""
    if candidate.deployed == candidate.architecture:
        return 0.0
    return 1 - count_parameters(candidate.deployed) / count_parameters(candidate.architecture)


def _training(candidate: Candidate) -> "dict[str, float | str | bool]":
    training: Mapping[str, float | str] = vars(candidate.training)
    idle = set() if candidate.finetunes else set(OF_FINETUNING)
    if not candidate.trains:
        idle.add("epochs")
    if not training["distillation"]:
        idle.add("temperature")
    return {
        name: log(value) if name in RATES and not isinstance(value, str) else value
        for name, value in training.items()
        if name not in idle
    }
