"""Candidates that cannot be trained: recorded with their reason, avoided by the sampler, and the study goes on."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState
from simulated import Outcome, tried
from torch import nn

import paretonas as pn
from paretonas.errors import CandidateFailed, InvalidSpace, StudyError, UntrustedCode, UsageError
from paretonas.objectives import Digits
from paretonas.search.data import load_data
from paretonas.search.evaluate import evaluate
from paretonas.search.trial import Trial
from paretonas.spaces.choices import Suggester
from paretonas.spaces.module import ModuleArchitecture

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=1)
COUNTED = ["accuracy", "parameters"]


def failed_trials(study: pn.Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.state == "failed"]


def assert_told_as_violated(study: pn.Study, trial: Trial) -> None:
    """Optuna knows the trial as pruned, with its constraint violated and the reason beside it."""
    told = study.optuna.get_trials()[trial.number]
    assert told.state is TrialState.PRUNED
    assert max(told.constraints.values()) > 0
    assert told.user_attrs["failed"] == trial.reason
    assert trial.number not in {best.number for best in study.optuna.best_trials}
    assert trial.number not in {point.number for point in study.pareto_front}


def test_a_candidate_that_diverges_is_recorded(url: str) -> None:
    """A loss that is no number ends the candidate at once, as ``diverged``, and the study goes on to the next."""
    training = pn.TrainingSpace(epochs=3, learning_rate=1e30)
    space = pn.MLPSpace(layers=2, widths=[4, 8], norms="none", training=training)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False)
    assert len(failed_trials(study)) == 2
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("diverged: the loss became nan in epoch 1 of 3 (train)")
        assert trial.learning_curve == []
        assert_told_as_violated(study, trial)
    with pytest.raises(StudyError, match="nothing to pick from: of 2 trials that ended none succeeded"):
        study.pick("knee")


def test_a_candidate_that_cannot_train_is_recorded(url: str) -> None:
    """The reason is kept in words: batch normalisation cannot train on batches of one."""
    space = pn.MLPSpace(layers=1, widths=[4, 8], training=pn.TrainingSpace(epochs=1, batch_size=1))
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False)
    assert len(failed_trials(study)) == 2
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("invalid: batch normalisation needs several values of each channel")
        assert_told_as_violated(study, trial)


def test_a_candidate_that_does_not_fit_the_input_is_recorded(url: str) -> None:
    """A pool below one pixel is ``invalid``; the reason names the block and the shape that comes to it."""
    space = pn.ConvSpace(stages=(1, 5), layers=5, widths=[4, 8], training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(6, show_progress=False)
    assert len(study.trials) == 6
    assert failed_trials(study)
    assert study.pareto_front
    for trial in failed_trials(study):
        pools = [index for index, block in enumerate(trial.candidate.architecture.blocks) if block.op == "max_pool"]
        assert len(pools) > 3  # 8x8 halves three times
        width = trial.candidate.architecture.blocks[pools[3] - 1].width
        assert (trial.reason or "").startswith(
            f"invalid: block {pools[3]} (max_pool) cannot take the shape {width}x1x1 that comes to it"
        )
        assert trial.learning_curve == []
        assert_told_as_violated(study, trial)


def test_a_candidate_too_large_for_memory_is_recorded(mixed: pn.Study) -> None:
    """An allocation that the system refuses is ``out_of_memory``, and the study goes on with smaller ones."""
    failed = failed_trials(mixed)
    assert len(failed) == 2
    assert min(trial.number for trial in failed) < max(trial.number for trial in mixed.trials)
    for trial in failed:
        assert trial.candidate.architecture.blocks[1].width == 10**12
        assert (trial.reason or "").startswith("out_of_memory: ")
        assert "\n" not in (trial.reason or "")
        assert_told_as_violated(mixed, trial)


def test_a_failed_trial_has_no_weights(mixed: pn.Study) -> None:
    """Loading one says why it failed."""
    with pytest.raises(StudyError, match=r"trial \d+ has no weights: out_of_memory"):
        failed_trials(mixed)[0].load()


def test_the_dashboard_sees_failures_as_infeasible(mixed: pn.Study) -> None:
    """The attribute that optuna-dashboard reads is violated for failed trials and absent from the others."""
    failed = {trial.number for trial in failed_trials(mixed)}
    for told in mixed.optuna.get_trials():
        fails = told.user_attrs.get("duplicate_of", told.number) in failed
        assert told.system_attrs.get("constraints") == ([1.0] if fails else None)


@dataclass(frozen=True, kw_only=True)
class FragileSpace(pn.MLPSpace):
    """Forgets, for one value of a gene, to flatten the images."""

    name: ClassVar = "fragile"

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
        candidate = super().suggest(trial, data)
        if trial.suggest_categorical("flattened", [True, False]):
            return candidate
        blocks = tuple(block.replace() for block in candidate.architecture.blocks if block.op != "flatten")
        return pn.Candidate(
            pn.Architecture(data.input_shape, blocks, candidate.architecture.heads), 0.0, candidate.training
        )


def test_a_broken_proposal_of_ones_own_space_is_recorded(url: str) -> None:
    """A network that a user's space put together wrongly is ``invalid``; the others are trained."""
    space = FragileSpace(layers=1, widths=[4, 8], sharing="none", training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(6, show_progress=False)
    assert {trial.state for trial in study.trials} == {"complete", "failed"}
    for trial in study.trials:
        flattened = study.optuna.get_trials()[trial.number].params["flattened"]
        assert (trial.state == "complete") is flattened
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("invalid: block 0 (linear) cannot take the shape 1x8x8 that comes to it")
        assert_told_as_violated(study, trial)


@dataclass(frozen=True, kw_only=True)
class RarelyBrokenSpace(pn.MLPSpace):
    """Fails to put together half of a study's proposals; samples without a study are fine."""

    name: ClassVar = "rarely_broken"

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
        if isinstance(trial, optuna.Trial) and trial.suggest_int("seldom", 0, 1) == 0:
            pn.Block("linear", width=0)
        return super().suggest(trial, data)


def test_a_proposal_that_cannot_be_put_together_does_not_stop_the_study(url: str) -> None:
    """An architecture that raises while it is suggested costs at most its own trial, not the study's future."""
    study = pn.create_study("s", space=RarelyBrokenSpace(training=BRIEF), objectives=COUNTED, storage=url)
    for _ in range(10):
        with suppress(pn.ParetonasError):
            study.optimize(4, show_progress=False)
    assert len(study.trials) == 4


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"widths": 10**12}, "out_of_memory"),
        ({"norms": "none", "training": pn.TrainingSpace(epochs=1, learning_rate=1e30)}, "diverged"),
        ({"training": pn.TrainingSpace(epochs=1, batch_size=1)}, "invalid"),
    ],
)
def test_evaluate_says_what_kind_of_failure_it_was(changes: dict[str, Any], kind: str) -> None:
    """The same kinds come out of ``evaluate`` without a study."""
    space = pn.MLPSpace(**{"layers": 1, "widths": 8, "training": BRIEF, **changes})
    candidate = space.sample(pn.DataSpec((1, 8, 8), 10))
    with pytest.raises(CandidateFailed) as caught:
        evaluate(candidate, load_data(Digits()), ("accuracy",), seed=0)
    assert caught.value.kind == kind
    assert "\n" not in caught.value.reason


def suggests_what_cannot_be(trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
    """Of seven ways one is a candidate."""
    way = trial.suggest_categorical("way", list(range(7)))
    width = trial.suggest_int("width", 1, 64)
    blocks = [pn.Block("flatten"), pn.Block("linear", width=width)]
    architecture = data.architecture(blocks)
    training = pn.Training(epochs=1, finetune_epochs=1)
    if way == 1:
        training = pn.Training(dropout=2.0)
    if way == 2:
        return pn.Candidate(architecture, 1.0)
    if way == 3:
        return pn.Candidate("network")  # type: ignore[arg-type]
    if way == 4:
        return pn.Candidate(data.architecture([pn.Block("linear", width=width)]), 0.5, training)
    if way == 5:
        return "candidate"  # type: ignore[return-value]
    if way == 6:
        return pn.Candidate(ModuleArchitecture.of(f"{__name__}:fragile_factory", {"width": object()}, data))  # type: ignore[dict-item]
    return pn.Candidate(architecture, 0.0, training)


def test_what_a_function_makes_wrong_is_its_candidates_fault(url: str) -> None:
    """Whatever cannot be, whether it is suggested, pruned or written, is infeasible, and the study goes on."""
    study = pn.create_study("s", space=suggests_what_cannot_be, objectives=COUNTED, storage=url)
    for way in range(7):
        study.optuna.enqueue_trial({"way": way, "width": 8})
    study.optimize(4, show_progress=False)
    told = study.optuna.get_trials()
    said = [told[number].user_attrs.get("failed", "") for number in range(7)]
    assert said[0] == ""
    assert said[1] == "invalid: dropout of the training must be at least 0 and below 1, 2.0 was given"
    assert said[2] == "invalid: a pruning ratio is at least 0 and below 1, 1.0 was given"
    assert said[3].startswith("invalid: a candidate is of an Architecture")
    assert said[4].startswith("invalid: block 0 (linear) cannot take the shape")
    assert said[5].startswith("invalid: ")
    assert said[6].startswith(("invalid: an argument", "crashed: TypeError"))
    assert study.pareto_front
    assert len(study.trials) == 4


def suggests_untrusted(trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
    """A network that the store may name and nobody trusts."""
    del trial
    return pn.Candidate(ModuleArchitecture.of("elsewhere:make_net", {}, data))


def suggests_no_space(trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
    """A space that cannot be, whatever is suggested."""
    return pn.MLPSpace(layers=(2, 1)).suggest(trial, data)


@pytest.mark.parametrize(
    ("function", "error"), [(suggests_untrusted, UntrustedCode), (suggests_no_space, InvalidSpace)]
)
def test_what_is_about_the_study_ends_it(url: str, function: Any, error: type[Exception]) -> None:
    """No trial is spoilt by code that nobody trusts or by a space that cannot be."""
    study = pn.create_study("s", space=function, objectives=COUNTED, storage=url)
    with pytest.raises(error):
        study.optimize(2, show_progress=False)
    assert study.trials == []
    assert study.store.open_places(study.id) == []


def test_missing_code_ends_the_study(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot import what is searched spoils no trial."""
    file = tmp_path / "soon_gone.py"
    file.write_text("def suggest(trial, data):\n    raise ValueError\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    study = pn.create_study(
        "s", space={"type": "function", "function": "soon_gone:suggest"}, objectives=COUNTED, storage=url
    )
    file.unlink()
    with pytest.raises(UsageError, match="there is no module 'soon_gone'"):
        study.optimize(1, show_progress=False)
    file.write_text("1 / 0", encoding="utf-8")
    with pytest.raises(StudyError, match="soon_gone:suggest cannot be imported: ZeroDivisionError: division by zero"):
        study.optimize(1, show_progress=False)
    assert study.optuna.get_trials() == []


# A study of which nothing succeeds


BROKEN = {"factory": True}


def fragile_factory(width: int) -> nn.Module:
    """A linear classifier, unless it is broken; then the reason has the width in it."""
    if BROKEN["factory"]:
        msg = f"the width {width} is not what I want\nand this is why"
        raise RuntimeError(msg)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))


def moody_factory(width: int) -> nn.Module:
    """Fails in two ways."""
    kind = RuntimeError if width % 2 else KeyError
    raise kind(width)


@pytest.fixture
def broken() -> Iterator[dict[str, bool]]:
    BROKEN["factory"] = True
    yield BROKEN
    BROKEN["factory"] = True


def test_a_factory_that_raises_is_recorded(url: str, broken: dict[str, bool]) -> None:
    """Its exception is the trial's reason, in one line."""
    assert broken["factory"]
    study = pn.create_study("s", space=pn.ModuleSpace(fragile_factory, width=5), objectives=COUNTED, storage=url)
    study.optimize(1, show_progress=False)
    (trial,) = study.trials
    assert trial.reason == "crashed: RuntimeError: the width 5 is not what I want"
    assert_told_as_violated(study, trial)


def test_ten_failures_of_one_kind_stop_the_study(url: str, broken: dict[str, bool]) -> None:
    """The numbers in the reason do not matter. The same line tries one more, and goes on once the cause is mended."""
    space = pn.ModuleSpace(fragile_factory, width=(1, 1000), training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    for ended in (10, 11):
        with pytest.raises(StudyError, match=f"all {ended} trials of 's' failed in the same way.* the width .* mend"):
            study.optimize(30, show_progress=False)
        assert len(failed_trials(study)) == len(study.trials) == ended
        assert study.store.open_places(study.id) == []
    broken["factory"] = False
    study.optimize(13, show_progress=False)
    assert len(study.trials) == 13
    assert len(study.pareto_front) > 0


def test_failures_of_several_kinds_do_not_stop_the_study(url: str) -> None:
    """Only what always fails in the same way is hopeless."""
    space = pn.ModuleSpace(moody_factory, width=(1, 1000))
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url, sampler="random")
    study.optimize(12, show_progress=False)
    assert len(failed_trials(study)) == 12


@pytest.mark.parametrize(("most", "ended", "failed"), [(0.5, 20, 14), (0.7, 21, 15)])
def test_a_study_of_which_too_many_fail_stops(url: str, most: float, ended: int, failed: int) -> None:
    """Of the newest 20 more than the share that is allowed; the same line tries one more, and stops again."""
    space = pn.ModuleSpace(moody_factory, width=(1, 1000))
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url, sampler="random")
    good: list[Outcome] = [{"accuracy": 0.5, "parameters": 1.0}]
    outcomes = iter([*good * 6, *["crashed"] * 13])
    tried(study, 19, lambda _: next(outcomes))
    for more in range(2):
        count = failed + more
        said = rf"{count} of the newest 20 trials of 's' failed \({count} crashed; .*, more than {most:.0%}"
        with pytest.raises(StudyError, match=said):
            study.optimize(40, show_progress=False, max_failed=most)
        assert len(study.trials) == ended + more
    study.optimize(23, show_progress=False, max_failed=1)
    assert len(study.trials) == 23


def test_a_candidate_has_its_time(url: str) -> None:
    """Then it failed as ``timeout``, and the study goes on; the limit belongs to the study."""
    training = pn.TrainingSpace(epochs=10_000, batch_size=16)
    space = pn.MLPSpace(layers=1, widths=[4, 8], training=training)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url, trial_timeout=1.5)
    study.optimize(2, show_progress=False)
    assert len(failed_trials(study)) == 2
    for trial in failed_trials(study):
        assert trial.reason == "timeout: it was not ready after 1.5 seconds"
        assert 1.5 <= (trial.evaluation.seconds or 0.0) < 60
        assert_told_as_violated(study, trial)
    with pytest.raises(StudyError, match=r"trial_timeout is 1.5 there and None here"):
        pn.create_study("s", space=space, objectives=COUNTED, storage=url)


@dataclass(frozen=True, kw_only=True)
class HopelessSpace(pn.MLPSpace):
    """Fails whenever a study asks."""

    name: ClassVar = "hopeless"

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
        if isinstance(trial, optuna.Trial):
            pn.Block("linear", width=-trial.suggest_int("width", 1, 10**6))
        return super().suggest(trial, data)


def test_proposals_that_always_fail_stop_the_study(url: str) -> None:
    """A function that raises before there is a network is named too, instead of an exhausted space."""
    study = pn.create_study("s", space=HopelessSpace(), objectives=COUNTED, storage=url)
    with pytest.raises(
        StudyError, match=r"all 10 trials of 's' failed in the same way, .* width of block 'linear' must"
    ):
        study.optimize(3, show_progress=False)
    assert study.trials == []
    assert study.store.open_places(study.id) == []
