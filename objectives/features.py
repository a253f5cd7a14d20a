"""What comes into the heads of a network, caught by hooks while it runs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..spaces import Network
from ..spaces.builder import INPUT, calls
from .tasks import Data

Answers = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Place:
    """Where the features of a head pass: the input of a layer, or the output of a block at one of its uses."""

    module: nn.Module
    use: int | None = None


def feature_places(network: nn.Module, data: Data) -> dict[str, Place]:
    """Where to catch the features, by head: (N, features), or (N, length, features) where each position is answered.

    They leave the block that the head follows, before any dropout; in a module of the user's own they come into the
    ``nn.Linear`` whose output is the answer. UsageError if there is neither.
    """
    made: dict[int, list[tuple[nn.Module, Tensor]]] = {}

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        made.setdefault(id(output), []).append((module, output))  # which is kept, so that its id stays its own

    hooks = [part.register_forward_hook(note) for part in network.modules() if isinstance(part, nn.Linear)]
    try:
        answers = by_head(run(network, next(data.train.batches(2))[0]), data)
    finally:
        for hook in hooks:
            hook.remove()
    places = {head: Place(made[id(answer)][-1][0]) for head, answer in answers.items() if id(answer) in made}
    if isinstance(network, Network):
        places.update(_behind_blocks(network))
    for target in data.targets:
        if target.head not in places:
            raise UsageError(
                f"the features of head {target.head!r} cannot be found, because its answer is not the output of an "
                f"nn.Linear of {type(network).__name__}: end the module with one, or set feature_distillation to 0"
            )
    return {target.head: places[target.head] for target in data.targets}


@contextmanager
def caught(network: nn.Module, places: dict[str, Place]) -> Iterator[dict[str, Tensor]]:
    """Within this block each forward pass of ``network`` puts the features into the dict."""
    found: dict[str, Tensor] = {}
    uses: Counter[nn.Module] = Counter()
    counted = {place.module for place in places.values() if place.use is not None}
    with ExitStack() as hooks:

        def keep(handle: Any) -> None:
            hooks.callback(handle.remove)

        keep(network.register_forward_pre_hook(lambda *_: uses.clear()))
        for head, place in places.items():
            if place.use is None:
                keep(place.module.register_forward_pre_hook(partial(_note_input, found, head), prepend=True))
            else:
                keep(
                    place.module.register_forward_hook(
                        partial(_note_output, found, head, place.use, uses), prepend=True
                    )
                )
        for module in counted:
            keep(module.register_forward_hook(lambda module, *_: uses.update([module])))
        yield found


@torch.no_grad()
def run(network: nn.Module, x: Tensor) -> Answers:
    """The answers in evaluation mode; every part is left in the mode that it had."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        return network(x.to(next(network.parameters(), x).device))  # type: ignore[no-any-return]
    finally:
        for part, training in modes:
            part.training = training


def by_head(answers: Answers, data: Data) -> dict[str, Tensor]:
    """The answers by the head's name, also where there is one."""
    return answers if isinstance(answers, dict) else {data.targets[0].head: answers}


def _behind_blocks(network: Network) -> dict[str, Place]:
    """Of the heads that follow a block, at the step that the head follows: its module may run again later."""
    steps = calls(network.architecture)
    places = {}
    for head in network.architecture.heads:
        source = network.architecture.head_source(head)
        if source != INPUT:
            step = steps[source]
            places[head.name] = Place(network.get_submodule(step.module), step.use)
    return places


def _note_input(found: dict[str, Tensor], head: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    found[head] = inputs[0]


def _note_output(
    found: dict[str, Tensor], head: str, use: int, uses: Counter[nn.Module], module: nn.Module, _: Any, output: Tensor
) -> None:
    if uses[module] == use:
        found[head] = output
