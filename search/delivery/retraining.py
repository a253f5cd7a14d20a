"""Training from scratch what began with the weights of others, so that its figures compare with theirs."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import StudyError
from ...objectives import Epoch, is_cost
from ...spaces import Candidate, Compression
from ..definition import check_seed

if TYPE_CHECKING:
    from ..trial import Trial


def train(
    parent: "Trial", *, epochs: int | None, seed: int | None, on_epoch: Callable[[Epoch], None] = lambda _: None
) -> "Trial":
    """See ``Study.train``. One that was trained so before is answered: it may be the trial itself."""
    from ..reshape import one_more

    return one_more(parent.study, from_scratch(parent, epochs=epochs, seed=seed), on_epoch)


def from_scratch(parent: "Trial", *, epochs: int | None = None, seed: int | None = None) -> Candidate:
    """The network that is left of a trial, as a candidate that inherits nothing and loses nothing.

    It has the trial's bits and training; its epochs are by default those of the trial at the root, because one that
    begins with trained weights has fewer. Zeros among the weights are not part of a network, so it is dense.
    """
    if seed is not None:
        check_seed(seed)
    root = (parent, *ancestors(parent))[-1]
    recipe, training = parent.candidate.compression, parent.candidate.training
    usual = seed is None or seed == parent.study.definition.seed
    return Candidate(
        parent.architecture,
        training=replace(training, epochs=root.candidate.training.epochs if epochs is None else epochs),
        compression=Compression(
            bits=recipe.bits, quantization=recipe.quantization, quantization_aware=recipe.quantization_aware
        ),
        seed=None if usual else seed,
    )


def ancestors(trial: "Trial") -> list["Trial"]:
    """The trials whose weights it began with, its parent first and the one at the root last; [] if it has none."""
    found: list[Trial] = []
    while (start := (found[-1] if found else trial).candidate.start) is not None:
        try:
            found.append(trial.study.pick(start.trial))
        except StudyError:  # the store was changed
            return found
    return found


def inherited_values(trial: "Trial") -> list[str]:
    """Which values of a trial would be others without the weights that it began with: those of quality."""
    return [name for name in trial.values if trial.inherited and not is_cost(name)]


def inheritance(trial: "Trial") -> str:
    """What a trial inherited and from whom, in one sentence."""
    if not trial.inherited:
        return f"trial {trial.number} inherited nothing: it began with random weights"
    steps, last = [], trial
    while (start := last.candidate.start) is not None:
        moves = ", ".join(move.kind for move in start.moves) or "as they were"
        steps.append(f"those of trial {start.trial} ({moves})")
        older = [one for one in ancestors(last)[:1] if one.number == start.trial]
        if not older:
            break
        last = older[0]
    values = ", ".join(inherited_values(trial))
    return f"{values} of trial {trial.number} are inherited: its weights began as {', which began as '.join(steps)}"
