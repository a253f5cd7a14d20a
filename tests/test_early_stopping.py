"""Early stopping in a study of several objectives, what it saves, and budgets in epochs."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from optuna.trial import TrialState

import paretonas as pn
from paretonas.errors import Refused, StudyError, UsageError
from paretonas.objectives import Measurement
from paretonas.search.definition import Definition
from paretonas.search.early_stopping import EarlyStopping
from paretonas.search.traits import traits
from paretonas.spaces import Candidate, Training

COUNTED = ["accuracy", "parameters"]
EPOCHS = 6
# Four of five candidates hardly learn at their rate: no forecast of theirs reaches what the others do
SPACE = pn.MLPSpace(
    layers=1,
    widths=[8, 12, 16, 24, 32],
    activations=["relu", "tanh"],
    pruning=0.0,
    training=pn.TrainingSpace(epochs=EPOCHS, learning_rate=[1e-6, 1e-5, 3e-6, 2e-5, 1e-2]),
)


def searched(url: str, *, trials: int = 24, name: str = "s", **changes: object) -> pn.Study:
    study = pn.create_study(name, space=SPACE, objectives=COUNTED, storage=url, sampler="random", **changes)  # type: ignore[arg-type]
    study.optimize(trials, show_progress=False)
    return study


@pytest.fixture(scope="module", params=["forecast", "rungs"])
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A study whose rule had much to stop. To be read only."""
    folder = tmp_path_factory.mktemp("stopped")
    return searched(f"sqlite:///{folder / 'nas.db'}", stopping=request.param)


def test_a_stopped_trial_says_why_and_was_not_trained_to_its_end(stopped: pn.Study) -> None:
    ended = [trial for trial in stopped.trials if trial.state == "stopped"]
    assert ended
    for trial in ended:
        assert 0 < len(trial.learning_curve) < EPOCHS
        assert f"of {EPOCHS}" in (trial.reason or "")
        assert trial.reason.startswith("stopped: ")  # type: ignore[union-attr]
        assert set(COUNTED) <= trial.values.keys()
        assert trial.values["accuracy"] == trial.learning_curve[-1].score
        with pytest.raises(StudyError, match="cannot be picked: stopped"):
            stopped.pick(trial.number)


def test_what_is_stopped_is_not_what_the_front_needs(stopped: pn.Study) -> None:
    """Slow learners are stopped, and what learns and is on the front ran to its end."""
    rates = {trial.number: trial.candidate.training.learning_rate for trial in stopped.trials}
    ended = [trial.number for trial in stopped.trials if trial.state == "stopped"]
    assert sum(rates[number] < 1e-3 for number in ended) >= 0.75 * len(ended)
    assert all(len(trial.learning_curve) == EPOCHS for trial in stopped.pareto_front)
    assert max(trial.values["accuracy"] for trial in stopped.pareto_front) > 0.9


def test_optuna_learns_from_what_was_stopped_and_keeps_it_off_its_best(stopped: pn.Study) -> None:
    """COMPLETE with the values it had reached, and a violated constraint in both forms that are read."""
    trials = {trial.number: trial for trial in stopped.optuna.get_trials()}
    numbers = {trial.number for trial in stopped.trials if trial.state == "stopped"}
    for number in numbers:
        assert trials[number].state is TrialState.COMPLETE
        assert trials[number].user_attrs["stopped"]
        assert max(trials[number].system_attrs["constraints"]) > 0
    assert not numbers & {trial.number for trial in stopped.optuna.best_trials}


def test_what_was_spent_and_saved_is_the_whole(stopped: pn.Study) -> None:
    spent = stopped.spending
    assert spent.epochs == sum(len(trial.learning_curve) for trial in stopped.trials)
    assert spent.epochs + spent.saved == EPOCHS * len(stopped.trials)
    assert spent.saved == spent.stopped > 0
    assert spent.trials == sum(trial.state == "stopped" for trial in stopped.trials)
    assert f"{spent.epochs} epochs were trained and {spent.saved} saved" in str(spent)


def test_stopping_changes_nothing_of_what_ran_to_its_end(stopped: pn.Study, url: str) -> None:
    """A candidate that was not stopped has the figures that it has in a study without stopping."""
    whole = {trial.candidate.key: trial for trial in searched(url, stopping="none").trials}
    assert {trial.state for trial in whole.values()} == {"complete"}
    for trial in stopped.trials:
        if trial.state == "complete":
            assert trial.values == whole[trial.candidate.key].values


@pytest.mark.parametrize("sampler", ["ehvi", "tpe", "nsga2"])
def test_the_same_seed_stops_the_same(tmp_path: Path, sampler: str) -> None:
    def run(folder: Path, legs: list[int]) -> list[tuple[str, str, dict[str, float]]]:
        folder.mkdir()
        study = pn.create_study(
            "s", space=SPACE, objectives=COUNTED, storage=f"sqlite:///{folder / 'nas.db'}", sampler=sampler
        )
        for trials in legs:
            study.optimize(trials, show_progress=False)
            study = pn.load_study("s", storage=f"sqlite:///{folder / 'nas.db'}")
        return [(trial.candidate.key, trial.state, dict(trial.values)) for trial in study.trials]

    assert run(tmp_path / "a", [14]) == run(tmp_path / "b", [6, 14])


def test_a_budget_of_epochs_is_spent_and_not_more_than_one_candidate_more(url: str) -> None:
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(n_epochs=20, show_progress=False)
    assert 20 <= study.spending.epochs < 20 + EPOCHS
    trials = len(study.trials)
    study.optimize(n_epochs=20, show_progress=False)
    assert len(study.trials) == trials
    study.optimize(trials + 1, n_epochs=10_000, show_progress=False)  # whichever is reached first
    assert len(study.trials) == trials + 1


@pytest.mark.long
def test_two_workers_share_the_budget(url: str) -> None:
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(n_epochs=24, workers=2, show_progress=False)
    assert 24 <= study.spending.epochs < 24 + 2 * EPOCHS


@pytest.mark.parametrize("budget", [{"n_trials": 0}, {"n_epochs": 0}, {"timeout": 0}, {"n_epochs": -3}])
def test_a_budget_of_nothing_is_refused(url: str, budget: dict[str, Any]) -> None:
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    with pytest.raises(UsageError, match=f"{next(iter(budget))} must be above 0"):
        study.optimize(**budget)
    with pytest.raises(UsageError, match="n_trials, n_epochs or timeout"):
        study.optimize()


def test_the_rule_knows_what_was_trained(stopped: pn.Study) -> None:
    """Of the candidate as of all that ended, in the words of the sampler."""
    trials = [trial for trial in stopped.trials if trial.state in ("complete", "stopped")]
    watch = EarlyStopping(stopped).watch(trials[0].candidate)
    assert watch.curve.features == traits(trials[0].candidate)
    assert [one.features for one in watch.others] == [traits(trial.candidate) for trial in trials]
    assert len({one.features["learning_rate"] for one in watch.others}) > 1


def test_what_cannot_beat_a_perfect_network_is_not_trained(url: str) -> None:
    """Whatever its accuracy: a known network is right in all cases and no costlier. Which costs less is trained."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(1, show_progress=False)
    [only] = study.trials
    study.store.add_measurement(only.evaluation.id, "accuracy", 1.0, {})
    stopping = EarlyStopping(pn.load_study("s", storage=url))
    candidate = Candidate(only.architecture, training=Training(epochs=EPOCHS, learning_rate=0.02))

    def costs(parameters: float) -> dict[str, Measurement]:
        return {"parameters": Measurement(parameters)}

    with pytest.raises(Refused, match=f"trial {only.number} has accuracy 1, parameters .* which no network") as refusal:
        stopping.watch(candidate).begin(costs(only.values["parameters"]))
    assert refusal.value.kind == "dominated"
    stopping.watch(candidate).begin(costs(only.values["parameters"] - 1))
    stopping.watch(candidate).begin({})  # a cost that is not known yet refuses nothing


def test_dominated_candidates_take_no_place_and_are_counted_as_saved(url: str) -> None:
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(1, show_progress=False)
    [only] = study.trials
    study.store.add_measurement(only.evaluation.id, "accuracy", 1.0, {})
    study.store.add_measurement(only.evaluation.id, "parameters", 1.0, {})  # nothing is smaller
    study = pn.load_study("s", storage=url)  # which has read nothing yet
    with pytest.raises(StudyError, match="exhausted"):
        study.optimize(2, show_progress=False)
    refused = [trial for trial in study.trials if trial.state == "refused"]
    assert len(refused) == len(study.trials) - 1 > 30  # nearly all 49 others of the space
    assert all("no network of these costs can beat" in (trial.reason or "") for trial in refused)
    assert {trial.evaluation.kind for trial in refused} == {"dominated"}
    assert study.spending.dominated == EPOCHS * len(refused)


def test_definitions_of_earlier_releases_stop_nothing() -> None:
    asked = Definition(SPACE, pn.Digits(), tuple(COUNTED), "tpe", 0, 1, "cpu").to_json()
    del asked["stopping"]
    assert Definition.from_json({**asked, "version": 4}).stopping == "none"


def test_a_study_is_opened_with_what_it_was_made_with(url: str) -> None:
    """Sampler and rule that are not asked for are those of the study; others are refused."""
    first = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, sampler="tpe", stopping="none")
    again = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    assert again.definition == first.definition
    with pytest.raises(StudyError, match="stopping is 'none' there and 'rungs' here"):
        pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, stopping="rungs")
    fresh = pn.create_study("t", space=SPACE, objectives=COUNTED, storage=url).definition
    assert (fresh.sampler, fresh.stopping) == ("ehvi", "forecast")
    with pytest.raises(UsageError, match="unknown stopping rule 'median': there is forecast, rungs, none"):
        pn.create_study("u", space=SPACE, objectives=COUNTED, storage=url, stopping="median")


def test_the_command_line_spends_epochs_and_says_so(
    cli: Callable[..., CompletedProcess[str]], url: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        f"study = 's'\nstorage = '{url}'\nobjectives = ['accuracy', 'parameters']\nsampler = 'random'\n"
        f"total_epochs = 30\n[space]\ntype = 'mlp'\nlayers = 1\nwidths = [8, 12]\npruning = 0.0\n"
        f"activations = ['relu', 'tanh']\n[space.training]\nepochs = {EPOCHS}\nlearning_rate = [1e-6, 1e-5, 1e-2]\n"
    )
    answer = cli("run", str(file), "--quiet")
    assert answer.returncode == 0, answer.stderr
    assert "epochs were trained" in answer.stdout
    document = json.loads(cli("run", str(file), "--total-epochs", "36", "--quiet", "--json").stdout)
    assert 36 <= document["spending"]["epochs"] < 36 + EPOCHS
    assert document["stopped"] == sum(trial.state == "stopped" for trial in pn.load_study(storage=url).trials)
    whole = cli("run", str(file), "--total-epochs", "100000", "--quiet")  # more than the space has
    assert whole.returncode == 1
    assert "exhausted" in whole.stderr
    assert "Pareto front of s" in whole.stdout
    assert cli("run", str(file), "--total-epochs", "0").returncode == 2
    assert cli("run", "--stopping", "median").returncode == 2
