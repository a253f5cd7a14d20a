"""What is known of a candidate before it is trained."""

from collections.abc import Iterable, Sequence

from ..errors import Refused
from ..objectives import Bench, Counted, Deployed, Measurement, Objective, Timed, objective_of, on_meta
from ..spaces import Candidate, build
from .bench import StoreBench
from .constraints import Constraint


def is_early(objective: Objective, candidate: Candidate) -> bool:
    """Whether the trained network will have the value that its architecture has."""
    if not objective.early or candidate.decided_later:
        return False
    if candidate.compression.bits == 8:
        return objective.in_int8
    return not (objective.clock and candidate.compression.sparse)


def measured_early(
    candidate: Candidate, objectives: Iterable[Objective], bench: Bench, constraints: Sequence[Constraint] = ()
) -> dict[str, Measurement]:
    """What follows from the architecture, by objective; what is counted comes before what is timed.

    Raises Refused as soon as a constraint is violated, with what is known by then; where earlier records tell that a
    network will be too slow, before it is timed.
    """
    known: dict[str, Measurement] = {}
    architecture = candidate.deployed
    counted, trainable = Deployed(on_meta(architecture), architecture), None
    for objective in sorted(objectives, key=lambda objective: objective.clock):
        if not is_early(objective, candidate):
            continue
        bounds = [constraint for constraint in constraints if constraint.measure == objective.name]
        if bounds and isinstance(objective, Timed) and isinstance(bench, StoreBench):
            _check_hope(objective, counted, bounds, bench, known)
        if not isinstance(objective, Counted) and trainable is None:
            trainable = Deployed(build(architecture, seed=0).eval(), architecture)
        network = counted if isinstance(objective, Counted) or trainable is None else trainable
        known[objective.name] = measured(objective, network, bench)
        for constraint in bounds:
            if constraint.violation(known[objective.name].value) > 0:
                raise Refused(f"{objective.name} is {known[objective.name].value:.6g}, {constraint} is wanted", known)
    return known


def measured(objective: Objective, deployed: Deployed, bench: Bench) -> Measurement:
    """The value of an objective, as a measurement whatever the user's own gives."""
    value = objective.measure(deployed, bench)
    return value if isinstance(value, Measurement) else Measurement(float(value))


def resolved(names: Iterable[str]) -> list[Objective]:
    """The objectives of these names."""
    return [objective_of(name) for name in names]


def _check_hope(
    objective: Timed,
    counted: Deployed,
    bounds: Iterable[Constraint],
    bench: StoreBench,
    known: dict[str, Measurement],
) -> None:
    """Raises Refused if even the least time that the records tell would be too much."""
    predictor = bench.predictor(counted, objective)
    least = predictor.at_least(counted.architecture) if predictor else 0.0
    if predictor is None or not least:
        return
    value = objective.of(least)
    for constraint in bounds:
        is_upper = (constraint.sign == "<=") == (objective.direction == "minimize")
        if is_upper and constraint.violation(value) > 0:
            told = objective.of(predictor.predict(counted.architecture))
            raise Refused(
                f"{objective.name} would be about {told:.3g}, as {predictor.records} records tell with a median error "
                f"of {predictor.median_error:.0%}, {constraint} is wanted: it was not timed",
                {**known, objective.name: Measurement(told, {"predicted": True, "records": predictor.records})},
            )
