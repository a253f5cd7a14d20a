"""Changing trained networks of a study: smaller, larger, or by the search itself. Each result is a trial of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState
from torch import nn

from ..errors import CandidateFailed, StudyError, UsageError
from ..objectives import Deployed, Epoch, cpu_threads, loss_gradients, objective_of
from ..spaces import (
    Architecture,
    Candidate,
    Compression,
    ModuleArchitecture,
    Move,
    Network,
    Start,
    build,
    moved,
    moved_architecture,
    part_copies,
    possible_moves,
    target_within,
    unit_scores,
    width_groups,
)
from ..spaces.moves import reachable
from .bench import StoreBench
from .constraints import held
from .data import data_of
from .early import measured
from .sampler import EHVI, place_of

if TYPE_CHECKING:
    from .goals import Goal
    from .inputs import Features
    from .knowledge import Knowledge
    from .study import Study
    from .trial import Trial

MOST_MOVES = 200  # of the front that are compared
_moves: "WeakKeyDictionary[Study, dict[tuple[int, Move], tuple[Candidate, Features]]]" = WeakKeyDictionary()


def shrink(
    parent: "Trial",
    *,
    pruning: float,
    compression: Compression,
    bounds: Mapping[str, float],
    finetune_epochs: int | None,
    on_epoch: Callable[[Epoch], None],
) -> "Trial":
    """See ``Study.shrink``. bounds: by cost."""
    if bounds and pruning:
        raise UsageError("a ratio or bounds say how many units leave, both were given: leave one of them")
    training = parent.candidate.training
    epochs = training.epochs if finetune_epochs is None else finetune_epochs
    training = replace(training, finetune_epochs=epochs)
    candidate = Candidate(
        parent.architecture, pruning, training, compression, Start(parent.number, parent.candidate.key)
    )
    if bounds:
        ratio = _ratio_within(parent, candidate, bounds)
        candidate = replace(candidate, pruning=ratio, compression=replace(compression, scope="global"))
    if not candidate.shrinks and compression.bits == 32:
        raise UsageError(
            f"trial {parent.number} would stay as it is: say what leaves, such as pruning=0.5, removed_layers=1, "
            "sparsity=0.5, bits=8 or a bound below what it has"
        )
    return one_more(parent.study, candidate, on_epoch)


def grow(
    parent: "Trial", *, widen: float | None, layers: int, epochs: int | None, on_epoch: Callable[[Epoch], None]
) -> "Trial":
    """See ``Study.grow``."""
    if widen is None and not layers:
        raise UsageError("how to grow is needed: widen=1.5, layers=1, or both")
    if layers < 0 or (widen is not None and not widen > 1):
        raise UsageError(f"a network grows by layers from 1 and to more than 1 times its width, {layers}, {widen} came")
    architecture, moves = parent.architecture, []
    for step in range(layers):
        places = possible_moves(architecture, ("insert_layer",))
        if not places:
            raise UsageError(
                f"no layer that changes nothing can be inserted into trial {parent.number} ({architecture})"
            )
        moves.append(places[(step + 1) * len(places) // (layers + 1)])  # spread over the depth
        architecture = moved_architecture(architecture, moves[-1])
    if widen is not None:
        moves.append(Move("widen", ratio=widen))
        architecture = moved_architecture(architecture, moves[-1])
    training = parent.candidate.training
    training = replace(training, epochs=training.epochs if epochs is None else epochs)
    start = Start(parent.number, parent.candidate.key, tuple(moves))
    return one_more(parent.study, Candidate(architecture, training=training, start=start), on_epoch)


def change_of_the_front(study: "Study", trial: OptunaTrial) -> Candidate | None:
    """A move of a point of the front, for the share of the proposals that the study gives to moves.

    With the sampler ``ehvi`` it is the one of the largest expected gain, with others a random one of a random point. It
    trains as long as fine-tuning takes. None for the other proposals, and where there is nothing to move.
    """
    definition, front = study.definition, study.pareto_front
    interrupted = study.optuna.get_trials(deepcopy=False, states=(TrialState.FAIL, TrialState.RUNNING))
    draw = np.random.default_rng([definition.seed, place_of(trial.number, interrupted), 1])
    fixed = "fixed_params" in study.store.optuna.get_trial_system_attrs(trial._trial_id)  # noqa: SLF001 - no public name
    if fixed or draw.random() >= definition.moves or not front:
        return None
    if definition.sampler == EHVI:
        return _most_promising(study, front, draw)
    parent = front[draw.integers(len(front))]
    if isinstance(parent.architecture, ModuleArchitecture):
        return None
    kinds: dict[str, list[Move]] = {}
    for move in possible_moves(parent.architecture):
        kinds.setdefault(move.kind, []).append(move)
    if not kinds:
        return None
    moves = kinds[sorted(kinds)[draw.integers(len(kinds))]]
    return _after(parent, moves[draw.integers(len(moves))])


def _most_promising(study: "Study", front: "Sequence[Trial]", draw: np.random.Generator) -> Candidate | None:
    """Of the moves of the front, the one whose network is expected to gain most hypervolume. None: none gains any.

    None leads below the costs of what the space itself proposed: halving a network for ever gains ever more, in
    logarithms of costs, and no use.
    """
    from .ehvi import gains_of
    from .gain import Option
    from .knowledge import knowledge_of

    knowledge, bounds = knowledge_of(study), study.definition.bounds
    knowledge.refresh()
    known, least = knowledge.keys, _least_costs(knowledge)
    new: list[Candidate] = []
    options: list[Option] = []
    for candidate, features in _moves_of(study, front, draw):
        costs = knowledge.costs(candidate)
        holds = held(bounds, costs)
        inside = all(goal.loss(costs[goal.name]) >= loss for goal, loss in least.items() if goal.name in costs)
        if candidate.key not in known and holds and inside:
            new.append(candidate)
            options.append(Option(features, costs))
    gains = gains_of(knowledge, options)
    return new[int(np.argmax(gains))] if gains.any() else None


def _least_costs(knowledge: "Knowledge") -> "dict[Goal, float]":
    """The least loss in each cost of what the space proposed."""
    own = [one.curve.values for one in knowledge.known if one.evaluation.candidate.start is None]
    costs = [goal for goal in knowledge.goals if not goal.quality]
    return {
        goal: min((goal.loss(values[goal.name]) for values in own if goal.name in values), default=-np.inf)
        for goal in costs
    }


def _moves_of(
    study: "Study", front: "Sequence[Trial]", draw: np.random.Generator
) -> "Iterator[tuple[Candidate, Features]]":
    """What the moves of a front make, with its features; some of them where there are many."""
    from .traits import traits

    kept = _moves.setdefault(study, {})
    whole = [parent for parent in front if not isinstance(parent.architecture, ModuleArchitecture)]
    places = [(parent, move) for parent in whole for move in possible_moves(parent.architecture)]
    if len(places) > MOST_MOVES:
        places = [places[index] for index in sorted(draw.choice(len(places), MOST_MOVES, replace=False))]
    for parent, move in places:
        if (parent.number, move) not in kept:
            candidate = _after(parent, move)
            kept[parent.number, move] = candidate, traits(candidate)
        yield kept[parent.number, move]


def _after(parent: "Trial", move: Move) -> Candidate:
    """A network of the study after a move, trained as long as it was, or would have been, fine-tuned; of its bits."""
    recipe, training = parent.candidate.compression, parent.candidate.training
    usual = getattr(getattr(parent.study.definition.space, "training", None), "finetune_epochs", None)
    epochs = training.finetune_epochs
    if isinstance(usual, int) and not parent.candidate.finetunes:  # a constant of the space, which had no effect there
        epochs = usual
    return Candidate(
        reachable(parent.architecture)[move],
        training=replace(training, epochs=max(1, epochs)),
        compression=Compression(bits=recipe.bits, quantization=recipe.quantization),
        start=Start(parent.number, parent.candidate.key, (move,)),
    )


def start_of(study: "Study", candidate: Candidate) -> nn.Module | None:
    """The trained network that a candidate begins with, after its moves. None: it begins anew."""
    if candidate.start is None:
        return None
    parent = study.pick(candidate.start.trial)
    if parent.candidate.key != candidate.start.key:
        raise StudyError(f"trial {parent.number} is no longer the one that another begins with: the store was changed")
    if parent.evaluation.weights is None:  # it left the front while this was proposed
        raise CandidateFailed("invalid", f"the weights of trial {parent.number}, which it begins with, were not kept")
    network = parent.load(quantized=False)
    for move in candidate.start.moves:
        network = moved(network, move)
    if any(move.kind == "widen" for move in candidate.start.moves):
        assert isinstance(network, Network)
        part_copies(network, seed=study.definition.seed)
    return network


def one_more(study: "Study", candidate: Candidate, on_epoch: Callable[[Epoch], None]) -> "Trial":
    """Try a candidate as a trial more; one that was tried before is what came of it, or is gone on with."""
    from .leases import Lease
    from .proposals import one_candidate
    from .trying import try_candidate

    definition = study.definition
    with study.store.explained(), cpu_threads(definition.threads), Lease(study) as lease:
        data, bench = data_of(definition, definition.device), StoreBench(study.store, definition)
        hand = one_candidate(study, candidate, lease)
        if not isinstance(hand, int):
            hand = try_candidate(study, hand, data, bench, lease, on_epoch=on_epoch).trial_number
    return study.pick(hand)


def _ratio_within(parent: "Trial", candidate: Candidate, bounds: Mapping[str, float]) -> float:
    """The least share of all units that has to leave so that the costs are within their bounds."""
    definition = parent.study.definition
    bench = StoreBench(parent.study.store, definition)
    with cpu_threads(definition.threads):
        network = parent.load(quantized=False)
        if not isinstance(network, Network):
            raise UsageError("units leave networks that are made of blocks: for a module of your own use pn.compress")
        recipe, data = candidate.compression, data_of(definition, "cpu")
        gradients = loss_gradients(network, data, seed=definition.seed) if recipe.criterion == "taylor" else None
        scores = unit_scores(network, recipe.criterion, gradients=gradients, seed=definition.seed)

        def fits(target: Architecture) -> bool:
            with torch.device("cpu"):
                made = Deployed(build(target, seed=0).eval(), target)
            return all(measured(objective_of(name), made, bench).value <= bound for name, bound in bounds.items())

        target = target_within(parent.architecture, scores, fits)
    units, left = (sum(width_groups(one).prunable.values()) for one in (parent.architecture, target))
    return 0.0 if left == units else (units - left + 0.5) / units
