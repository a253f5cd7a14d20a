"""What a network has to hold: refused early where it is known early, and taught to the sampler."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.objectives import BACKENDS
from paretonas.search.bench import StoreBench
from paretonas.search.constraints import Constraint, canonical
from paretonas.spaces import count_macs

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=0)
SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 8, 16, 32, 64], pruning=0.0, training=BRIEF)
COUNTED = ["accuracy", "parameters"]
Cli = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("parameters <= 50_000", Constraint("parameters", "<=", 50_000)),
        ("latency_ms<=2.0", Constraint("latency_ms", "<=", 2.0)),
        (" latency:onnxruntime,threads=2 <= 1e-1 ", Constraint("latency:onnxruntime,threads=2", "<=", 0.1)),
        ("digit.accuracy >= 0.9", Constraint("digit.accuracy", ">=", 0.9)),
    ],
)
def test_constraints_are_read(text: str, constraint: Constraint) -> None:
    """As they are written, and again from what they are kept as."""
    assert Constraint.of(text) == constraint == Constraint.of(str(constraint))


@given(st.floats(-1e9, 1e9), st.sampled_from(["<=", ">="]), st.floats(-1e9, 1e9))
def test_a_violation_is_above_zero_exactly_where_the_bound_is_missed(bound: float, sign: str, value: float) -> None:
    """As Optuna has it: feasible is at most 0."""
    constraint = Constraint("parameters", "<=" if sign == "<=" else ">=", bound)
    assert (constraint.violation(value) > 0) == (value > bound if sign == "<=" else value < bound)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["parameters < 5"], "a constraint is a measure, <= or >=, and a number"),
        (["parameters <= five"], "a constraint is"),
        (["parameters <= 1e"], "a constraint is"),
        (["paramters <= 5"], "did you mean 'parameters'"),
        (["latency:onyx <= 5"], "unknown backend"),
        (["parameters <= 5", "parameters <= 6"], "parameters <= was given twice"),
        (["parameters <= 5", "parameters >= 6"], "nothing holds parameters >= 6 and parameters <= 5"),
    ],
)
def test_a_wrong_constraint_is_said(texts: list[str], says: str) -> None:
    """In one sentence, before anything begins."""
    with pytest.raises(UsageError, match=says):
        canonical(texts)


def test_what_is_known_early_is_refused_untrained(url: str) -> None:
    """Refused candidates have no epochs and no weights, do not count, and Optuna and its dashboard know why."""
    study = pn.create_study(
        "s", space=SPACE, objectives=COUNTED, constraints=["macs <= 700"], storage=url, sampler="random"
    )
    study.optimize(6, show_progress=False)
    by_state = {state: [t for t in study.trials if t.state == state] for state in ("complete", "refused")}
    assert len(by_state["complete"]) == 6
    assert by_state["refused"]
    assert all(trial.values["macs"] <= 700 for trial in by_state["complete"])
    for trial in by_state["refused"]:
        told = study.optuna.get_trials()[trial.number]
        macs = count_macs(trial.candidate.deployed)
        assert trial.values["macs"] == macs > 700
        assert trial.learning_curve == []
        assert trial.evaluation.weights is None
        assert told.state is TrialState.PRUNED
        assert told.constraints["macs <= 700"] == pytest.approx((macs - 700) / 700)
        assert told.system_attrs["constraints"] == [told.constraints["macs <= 700"]]  # what optuna-dashboard reads
        assert f"macs is {macs:.6g}, macs <= 700 is wanted" in told.user_attrs["refused"]
        with pytest.raises(StudyError, match=f"trial {trial.number} cannot be picked: infeasible: macs is"):
            study.pick(trial.number)
    assert len(study.store.finished_ids(study.id)) == 6


def test_what_is_known_late_keeps_off_the_front(url: str) -> None:
    """A bound on quality is violated by trained networks: they are kept with their values, and are infeasible."""
    free = pn.create_study("free", space=SPACE, objectives=COUNTED, storage=url)
    free.optimize(8, show_progress=False)
    bound = sorted(trial.values["accuracy"] for trial in free.trials)[4]
    study = pn.create_study(
        "bound", space=SPACE, objectives=COUNTED, constraints=[f"accuracy >= {bound}"], storage=url, seed=0
    )
    study.optimize(8, show_progress=False)
    assert not any(trial.state == "refused" for trial in study.trials)
    assert all(trial.values["accuracy"] >= bound for trial in study.pareto_front)
    for trial in study.trials:
        told = study.optuna.get_trials()[trial.number]
        assert told.state is TrialState.COMPLETE
        assert (next(iter(told.constraints.values())) <= 0) == trial.feasible
    assert any(not trial.feasible for trial in study.trials)
    feasible = {trial.number for trial in study.trials if trial.feasible}
    assert {trial.number for trial in study.optuna.best_trials} <= feasible


def test_optunas_sampler_learns_from_refusals(url: str) -> None:
    """Of the later proposals far fewer are refused than of the first ten, which are random."""
    space = pn.MLPSpace(layers=(1, 2), widths=list(range(4, 128, 4)), pruning=0.0, training=BRIEF)
    study = pn.create_study(
        "s", space=space, objectives=COUNTED, constraints=["parameters <= 2500"], storage=url, sampler="tpe"
    )
    study.optimize(20, show_progress=False)
    told = [trial.state is TrialState.PRUNED for trial in study.optuna.get_trials()]
    first, later = told[:10], told[10:]
    assert sum(first) >= 3
    assert sum(later) / len(later) < sum(first) / len(first)


def test_an_impossible_constraint_is_said(url: str) -> None:
    """After 50 refusals, with the nearest; and again by the next start, after one more."""
    study = pn.create_study(
        "s", space=SPACE, objectives=COUNTED, constraints=["parameters <= 10"], storage=url, sampler="random"
    )
    says = r"none of the 50 candidates .* holds parameters <= 10 \(the nearest had 314\)"
    with pytest.raises(StudyError, match=says):
        study.optimize(3, show_progress=False)
    assert not study.store.open_places(study.id)
    with pytest.raises(StudyError, match="none of the 51 candidates"):
        study.optimize(3, show_progress=False)


def test_a_refused_candidate_is_known(url: str) -> None:
    """Proposed again it is answered from the store, and refused again."""
    space = pn.MLPSpace(layers=1, widths=[4, 64], activations="relu", pruning=0.0, training=BRIEF)
    study = pn.create_study(
        "s", space=space, objectives=COUNTED, constraints=["parameters <= 1000"], storage=url, sampler="random"
    )
    with pytest.raises(StudyError, match="exhausted"):
        study.optimize(2, show_progress=False)
    assert sorted(trial.state for trial in study.trials) == ["complete", "refused"]
    repeated = [t for t in study.optuna.get_trials() if "duplicate_of" in t.user_attrs]
    refused = next(trial for trial in study.trials if trial.state == "refused")
    again = [t for t in repeated if t.user_attrs["duplicate_of"] == refused.number]
    assert again
    assert all(t.state is TrialState.PRUNED and t.constraints["parameters <= 1000"] > 0 for t in again)


def test_pruned_candidates_are_judged_by_what_is_left(url: str) -> None:
    """Of each layer's units it is known before training what leaves; where all compete it is known after."""
    space = pn.MLPSpace(layers=1, widths=64, activations="relu", pruning=[0.0, 0.75], training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, constraints=["parameters <= 2000"], storage=url)
    with pytest.raises(StudyError, match="exhausted"):
        study.optimize(2, show_progress=False)
    assert {trial.state: trial.candidate.pruning for trial in study.trials} == {"refused": 0.0, "complete": 0.75}


def test_a_network_that_records_tell_to_be_too_slow_is_not_timed(url: str) -> None:
    """With records of the same conditions a hopeless network is refused by what is predicted, and says so."""
    study = pn.create_study(
        "s", space=SPACE, objectives=COUNTED, constraints=["latency_ms <= 0.01"], storage=url, sampler="random"
    )
    bench = StoreBench(study.store, study.definition)
    for seed in range(60):
        architecture = SPACE.sample(bench.data.spec, seed=seed).deployed
        deployed = pn.Deployed(pn.build(architecture, seed=0).eval(), architecture)
        if seed == 0:
            taken = bench.time(deployed)
        blocks = len(architecture.blocks)
        bench.keep(architecture, replace(taken, latency_ms=0.1 * blocks, noise=0.0, sittings=3))
    with pytest.raises(StudyError, match="none of the 50 candidates"):
        study.optimize(2, show_progress=False)
    told = [trial for trial in study.trials if trial.evaluation.details["latency_ms"].get("predicted")]
    assert told
    for trial in told:
        assert "records tell with a median error of" in str(trial.reason)
        assert trial.values["latency_ms"] == pytest.approx(0.1 * len(trial.architecture.blocks), rel=0.3)


@pytest.mark.long
def test_workers_refuse_too(url: str) -> None:
    """Two processes bring the study to exactly what was asked, all feasible."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, constraints=["parameters <= 1500"], storage=url)
    study.optimize(5, workers=2, show_progress=False)
    assert len([trial for trial in study.trials if trial.feasible]) == 5


def test_constraints_from_the_command_line_and_a_file(tmp_path: Path, url: str, cli: Cli) -> None:
    """As options, as a list of the study file; another constraint is another definition."""
    search = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--trials", "2", "--epochs", "1")
    done = cli(*search, "--constraint", "parameters <= 9_000", "--constraint", "accuracy >= 0", "--storage", url)
    assert done.returncode == 0, done.stderr
    study = pn.load_study(storage=url)
    assert study.definition.constraints == ("parameters <= 9000", "accuracy >= 0")
    other = cli(*search, "--constraint", "parameters <= 8_000", "--storage", url)
    assert other.returncode == 1
    assert "constraints is ['parameters <= 9000', 'accuracy >= 0'] there" in other.stderr
    wrong = cli(*search, "--constraint", "parameters under 5", "--storage", url)
    assert wrong.returncode == 2
    assert "a constraint is a measure" in wrong.stderr
    file = tmp_path / "study.toml"
    text = (
        "study = 'file'\nconstraints = ['parameters <= 9_000']\nobjectives = ['accuracy', 'parameters']\ntrials = 1\n"
    )
    file.write_text(text + "[space]\ntype = 'mlp'\n[space.training]\nepochs = 1\n", encoding="utf-8")
    assert cli("run", str(file), "--storage", url).returncode == 0
    assert pn.load_study("file", storage=url).definition.constraints == ("parameters <= 9000",)


def test_shrinking_into_a_violation_is_refused(url: str) -> None:
    """A trial more by hand is judged like any other."""
    space = pn.MLPSpace(layers=1, widths=[32, 64], activations="relu", pruning=0.0, training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, constraints=["parameters >= 2000"], storage=url)
    study.optimize(2, show_progress=False)
    with pytest.raises(StudyError, match="cannot be picked: infeasible: parameters is"):
        study.shrink("best", pruning=0.9)


def test_a_bound_needs_what_this_machine_can_measure(url: str) -> None:
    """A backend that is missing is said when the study is made."""
    missing = [word for word in ("cuda", "executorch") if _missing(word)]
    assert missing
    for word in missing:
        with pytest.raises(UsageError):
            pn.create_study("s", space=SPACE, constraints=[f"latency:{word} <= 1"], storage=url)
    assert optuna.storages.RDBStorage(url).get_all_studies() == []


def _missing(word: str) -> bool:
    try:
        BACKENDS[word].check()
    except UsageError:
        return True
    return False
