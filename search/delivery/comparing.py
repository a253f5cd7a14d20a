"""Networks that are there already, measured as the study measures, beside the points of its front."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import nn

from ... import own
from ...errors import CandidateFailed, ParetonasError, UsageError
from ...objectives import (
    BACKENDS,
    Counted,
    Data,
    Deployed,
    Latency,
    Measurement,
    Objective,
    Quality,
    Timed,
    conditions_of,
    cpu_threads,
    default_metrics,
    device_lost,
    joined,
    objective_of,
    quality,
    timed,
)
from ...objectives.memory import activation_bytes_of
from ...spaces import Architecture, Network
from ...spaces.architecture import Json
from ...spaces.mac_rules import count_as_it_runs
from ..bench import StoreBench
from ..constraints import held
from ..data import data_of
from ..remeasuring import NOISE
from ..trying import ALWAYS
from .card import TEST

if TYPE_CHECKING:
    from ..study import Study
    from ..trial import Trial

REFERENCES = "references"  # user attribute of the Optuna study: values and conditions by name
SITTINGS = 2  # in which a reference is timed, as the trials are


@dataclass(frozen=True)
class Against:
    """A point of the front beside a reference.

    values: of the point, in the study's objectives. dominates: it is at least as good in all of them, and better in
    one; dominated: the reference is; equal: both are as good; times within their noise of each other count as equal.
    differences: point minus reference, by objective; ratios: point over reference, of the costs.
    """

    trial: int
    values: Mapping[str, float]
    dominates: bool
    dominated: bool
    equal: bool
    differences: Mapping[str, float]
    ratios: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.dominates:
            return "dominates it"
        if self.dominated:
            return "is dominated"
        return "equals it" if self.equal else "neither"

    @property
    def sentence(self) -> str:
        """The same of the trial and the reference."""
        if self.verdict == "neither":
            return f"neither trial {self.trial} nor the reference is better in everything"
        return f"trial {self.trial} {self.verdict}" + (" by it" if self.dominated else "")

    def __str__(self) -> str:
        """By how much it differs: costs in shares of the reference's, the rest as differences."""
        said = [
            f"{name} {self.ratios[name]:.2f} times" if name in self.ratios else f"{name} {difference:+.4f}"
            for name, difference in self.differences.items()
        ]
        return ", ".join(said)


@dataclass(frozen=True)
class Comparison:
    """A reference network beside the front. values: all that was measured, with ``test_`` before what is of the test
    split. conditions: of each value that has any. points: of the front, from few parameters to many. feasible: whether
    it holds the study's constraints.
    """

    name: str
    values: Mapping[str, float]
    conditions: Mapping[str, Json]
    points: tuple[Against, ...]
    feasible: bool

    @property
    def dominating(self) -> tuple[Against, ...]:
        """The points that are better."""
        return tuple(point for point in self.points if point.dominates)

    def only(self, trial: "Trial") -> "Comparison":
        """Beside one trial, on the front or not."""
        return replace(self, points=(_against(trial.study, trial, self.values),))

    def to_json(self) -> Json:
        points = [
            {
                "trial": point.trial,
                "verdict": point.verdict,
                "differences": dict(point.differences),
                "ratios": dict(point.ratios),
            }
            for point in self.points
        ]
        kept = {name: dict(detail) for name, detail in self.conditions.items()}
        return {"values": dict(self.values), "conditions": kept, "feasible": self.feasible, "front": points}

    def __str__(self) -> str:
        """The verdict in a sentence."""
        if not self.points:
            return f"{self.name}: the front is empty, so there is nothing to compare it with"
        better = self.dominating
        if better:
            named = "; ".join(f"trial {point.trial} ({point})" for point in better)
            return f"{self.name} is dominated by {len(better)} of {len(self.points)} points of the front: {named}"
        behind = [str(point.trial) for point in self.points if point.dominated]
        if behind:
            return f"{self.name} is on the front: no point dominates it, and it dominates trial {', '.join(behind)}"
        return f"{self.name} is on the front: no point dominates it, and it dominates none"


def compare(study: "Study", net: "nn.Module | str", *, name: str | None = None) -> Comparison:
    """See ``Study.compare``."""
    title = name or (net if isinstance(net, str) else type(net).__name__)
    if not title.strip() or "\n" in title:
        raise UsageError(f"the name of a reference is one line of text, {title!r} was given")
    network = _network(net)
    data = data_of(study.definition, "cpu")
    measured = _measured(study, network, data, title)
    kept: dict[str, Json] = {
        "values": {word: one.value for word, one in measured.items()},
        "conditions": {word: one.detail for word, one in measured.items() if one.detail},
    }
    with study.store.explained():
        references = dict(study.optuna.user_attrs.get(REFERENCES, {}))
        study.optuna.set_user_attr(REFERENCES, {**references, title: kept})
    return beside(study, title, kept)


def beside(study: "Study", name: str, kept: Mapping[str, Json]) -> Comparison:
    """A reference that was measured, beside the front as it is now. kept: its values and conditions."""
    values = kept["values"]
    points = tuple(_against(study, trial, values) for trial in study.pareto_front)
    return Comparison(name, values, kept["conditions"], points, held(study.definition.bounds, values))


def comparisons(study: "Study") -> list[Comparison]:
    """All references that were measured for a study, beside its front as it is now. Nothing is run."""
    return [beside(study, name, kept) for name, kept in study.optuna.user_attrs.get(REFERENCES, {}).items()]


def references_of(study: "Study") -> dict[str, Mapping[str, float]]:
    """What was measured of the reference networks of a study, by their names; {} if there is none."""
    return {name: kept["values"] for name, kept in study.optuna.user_attrs.get(REFERENCES, {}).items()}


def _network(net: "nn.Module | str") -> nn.Module:
    """A copy on the CPU, in evaluation mode; what is named is run, because whoever gives its name trusts it."""
    made: object = net
    if isinstance(net, str):
        own.trust([net])
        made = own.load(net)
        if not isinstance(made, nn.Module) and callable(made):
            try:
                made = made()
            except Exception as error:
                raise UsageError(
                    f"a reference is a module, or a function that gives one when it is called without arguments; "
                    f"{net} raised {type(error).__name__}: {error}"
                ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"a reference is an nn.Module or the name of one, as in 'my.module:net', {type(made).__name__} came"
        )
    return copy.deepcopy(made).cpu().eval()


def _measured(study: "Study", network: nn.Module, data: Data, name: str) -> dict[str, Measurement]:
    """Every measure of the study, and its metrics on the test split. UsageError if the network does not fit."""
    definition = study.definition
    wanted = [objective_of(word) for word in dict.fromkeys((*default_metrics(data), *ALWAYS, *definition.measures))]
    words = [one.name for one in wanted if isinstance(one, Quality)]
    deployed = Deployed(network, _architecture(network, data))
    bench = _Bench(StoreBench(study.store, definition), data)
    try:
        with cpu_threads(definition.threads):
            found = {word: Measurement(value) for word, value in quality(network, data.validation, data, words).items()}
            tested = quality(network, data.test, data, words)
            for one in wanted:
                if one.name not in found:
                    found[one.name] = _cost(one, deployed, bench)
    except CandidateFailed as error:
        raise UsageError(f"the reference {name} cannot be judged: {error.reason}") from error
    except ParetonasError:
        raise
    except Exception as error:
        if device_lost(error):
            raise
        text = str(error).strip().split("\n")[0]
        raise UsageError(
            f"the reference {name} takes batches of {(*data.spec.input_shape,)} as the study's networks do, and it "
            f"raised {type(error).__name__}: {text}"
        ) from error
    return {**found, **{TEST + word: Measurement(value) for word, value in tested.items()}}


def _architecture(network: nn.Module, data: Data) -> Architecture:
    """That of a network of ours; of another one what comes in and out, and no blocks."""
    if isinstance(network, Network):
        return network.architecture
    spec = data.spec
    return Architecture(spec.input_shape, (), spec.heads, vocabulary=spec.vocabulary, categories=spec.categories)


def _cost(objective: Objective, deployed: Deployed, bench: "_Bench") -> Measurement:
    """What follows from blocks elsewhere is found here by running the network once."""
    if isinstance(objective, Counted) and not isinstance(deployed.network, Network):
        example = next(bench.data.test.batches(1))[0]
        if objective.name == "macs":
            return Measurement(count_as_it_runs(deployed.network, example))
        if objective.name == "activation_bytes":
            return Measurement(activation_bytes_of(deployed.network, example))
    value = objective.measure(deployed, bench)
    return value if isinstance(value, Measurement) else Measurement(float(value))


@dataclass
class _Bench:
    """The study's clock for networks that the store does not know: they are timed each time."""

    of: StoreBench
    data: Data
    _known: dict[tuple[str, int, int], Latency] = field(default_factory=dict)

    def time(self, deployed: Deployed, backend: str = "", *, threads: int | None = None, batch: int = 1) -> Latency:
        threads = threads or self.of.definition.threads
        conditions = conditions_of(deployed, backend, threads=threads, batch=batch)
        BACKENDS[conditions.backend].check()
        key = (conditions.backend, threads, batch)
        if key not in self._known:
            clock = self.of.clock(conditions)
            found = timed(deployed, conditions, clock)
            for _ in range(SITTINGS - 1):
                found = joined(found, timed(deployed, conditions, clock))
            self._known[key] = found
        return self._known[key]


def _against(study: "Study", trial: "Trial", reference: Mapping[str, float]) -> Against:
    """A point beside a reference. Times that differ by no more than their noise count as equal."""
    objectives = study.definition.resolved_objectives
    signs = [1 if objective.direction == "minimize" else -1 for objective in objectives]
    names = [objective.name for objective in objectives]
    differences = {name: trial.values[name] - reference[name] for name in names}
    ratios = {
        objective.name: trial.values[objective.name] / reference[objective.name]
        for objective in objectives
        if not objective.quality and reference[objective.name] > 0
    }
    same = {one.name for one in objectives if isinstance(one, Timed) and abs(ratios.get(one.name, 0) - 1) <= NOISE}
    losses = [0 if name in same else sign * differences[name] for sign, name in zip(signs, names, strict=True)]
    return Against(
        trial.number,
        {name: trial.values[name] for name in names},
        max(losses) <= 0 and min(losses) < 0,
        min(losses) >= 0 and max(losses) > 0,
        min(losses) == max(losses) == 0,
        differences,
        ratios,
    )
