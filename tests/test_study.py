"""What a study promises: how many candidates, which, in what order, none twice, and the same again."""

import gc
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, ClassVar

import optuna
import psutil
import pytest
import torch
from optuna.trial import TrialState

import paretonas as pn
from paretonas.errors import InvalidSpace, StudyError, UsageError
from paretonas.objectives import Digits
from paretonas.search.data import load_data
from paretonas.search.definition import Definition
from paretonas.search.evaluate import evaluate
from paretonas.search.leases import Lease
from paretonas.search.recovery import clean_up
from paretonas.search.worker import Budget, work
from paretonas.spaces import Candidate
from paretonas.spaces.choices import Suggester
from paretonas.storage import Store

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=1)
SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 8, 16], training=BRIEF)
COUNTED = ["accuracy", "parameters"]  # nothing that a clock says: two studies can be compared number by number


NEW = ("trial_timeout", "keep", "repeat")  # fields of definitions from version 6 on
Proposals = list[tuple[dict[str, Any], list[float] | None]]


def proposals(study: pn.Study) -> Proposals:
    """What was proposed and what it gave, in order; interrupted proposals are left out."""
    finished = [trial for trial in study.optuna.get_trials() if trial.state is not TrialState.FAIL]
    return [(trial.params, trial.values) for trial in finished]


def states(study: pn.Study) -> set[TrialState]:
    return {trial.state for trial in study.optuna.get_trials(deepcopy=False)}


# How many


def test_a_study_finishes_distinct_candidates(small: pn.Study) -> None:
    """``n_trials`` candidates come to an end, all different, and nothing is left running or waiting."""
    assert len(small.trials) == 8
    assert len({trial.candidate.key for trial in small.trials}) == 8
    assert {trial.state for trial in small.trials} == {"complete"}
    assert states(small) == {TrialState.COMPLETE}


def test_n_trials_is_the_total(url: str) -> None:
    """The same call again does nothing, also from a study opened anew; a larger number goes on to it."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False)
    before = study.optuna.get_trials()
    study.optimize(2, show_progress=False)
    study.optimize(1, show_progress=False)
    again = pn.load_study(storage=url)
    again.optimize(2, show_progress=False)
    assert again.optuna.get_trials() == before
    again.optimize(3, show_progress=False)
    assert [trial.number for trial in again.trials[:2]] == [trial.number for trial in before[:2]]
    assert len(again.trials) == 3


def test_a_timeout_ends_the_search(url: str) -> None:
    """No candidate begins after the timeout; the one in hand finishes."""
    space = pn.MLPSpace(training=pn.TrainingSpace(epochs=5, finetune_epochs=1))
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    began = time.monotonic()
    study.optimize(timeout=4, show_progress=False)  # enough for one to begin, also on a busy machine
    spent = time.monotonic() - began
    longest = max(trial.evaluation.seconds or 0.0 for trial in study.trials)
    assert study.trials
    assert states(study) == {TrialState.COMPLETE}
    assert 4 <= spent < 4 + longest + 5


@pytest.mark.long
def test_two_workers_together_do_exactly_what_was_asked(url: str) -> None:
    """Two processes finish six trials, none twice, none left running, and the caller trains nothing itself."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    study.optimize(6, workers=2, show_progress=False)
    assert len(study.trials) == 6
    assert len({trial.candidate.key for trial in study.trials}) == 6
    assert {trial.state for trial in study.trials} == {"complete"}
    assert states(study) <= {TrialState.COMPLETE, TrialState.FAIL}  # FAIL: both proposed the same at the same time
    told = [trial for trial in study.optuna.get_trials() if "duplicate_of" not in trial.user_attrs]
    assert [trial.number for trial in told] == [trial.number for trial in study.trials]
    assert study.store.open_places(study.id) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "n_trials, n_epochs or timeout"),
        ({"n_trials": 0}, "n_trials must be above 0, 0 was given"),
        ({"n_trials": 1, "timeout": -1.0}, "timeout must be above 0, -1.0 was given"),
        ({"n_trials": 1, "workers": 0}, "workers must be above 0, 0 was given"),
        ({"n_trials": 1, "lease": 0}, "lease must be above 0, 0 was given"),
        ({"n_trials": 1, "max_failed": 2}, "max_failed is a share of the trials, from 0 to 1, 2 was given"),
    ],
)
def test_how_far_to_search_is_checked(small: pn.Study, asked: dict[str, Any], message: str) -> None:
    """No end, or one that is not positive, is refused."""
    with pytest.raises(UsageError, match=message):
        small.optimize(**asked)


# The same again


@pytest.mark.parametrize("sampler", ["ehvi", "tpe", "nsga2", "random"])
def test_the_same_seed_gives_the_same_study(tmp_path: Path, sampler: str) -> None:
    """Two studies of one seed, in two stores, propose the same candidates in the same order with the same values."""
    one, other, changed = (
        pn.create_study(
            name,
            space=SPACE,
            objectives=COUNTED,
            storage=f"sqlite:///{tmp_path / name}.db",
            sampler=sampler,
            seed=seed,
        )
        for name, seed in (("one", 7), ("other", 7), ("changed", 8))
    )
    trials = 13 if sampler == "tpe" else 4  # TPE draws at random for the first ten
    one.optimize(trials, show_progress=False)
    other.optimize(trials, show_progress=False)
    changed.optimize(2, show_progress=False)
    assert proposals(one) == proposals(other)
    assert proposals(one)[:2] != proposals(changed)[:2]


@dataclass(frozen=True, kw_only=True)
class InterruptedSpace(pn.MLPSpace):
    """Sends this process a Ctrl-C, once, while a proposal is made."""

    name: ClassVar = "interrupted"
    at: ClassVar[int | None] = None

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> Candidate:
        candidate = super().suggest(trial, data)
        if isinstance(trial, optuna.Trial) and trial.number == InterruptedSpace.at:
            InterruptedSpace.at = None
            signal.raise_signal(signal.SIGINT)
        return candidate


def interrupted_study(folder: Path) -> pn.Study:
    space = InterruptedSpace(layers=(1, 3), widths=[4, 8, 16], training=BRIEF)
    return pn.create_study("s", space=space, objectives=COUNTED, storage=f"sqlite:///{folder / 'nas.db'}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Proposals:
    """What the study of the next test proposes when nobody interrupts it; TPE draws at random for the first ten."""
    study = interrupted_study(tmp_path_factory.mktemp("undisturbed"))
    study.optimize(13, show_progress=False)
    return proposals(study)


@pytest.mark.parametrize("at", [None, 3, 11])
def test_an_interrupted_study_proposes_what_the_undisturbed_one_did(
    tmp_path: Path, undisturbed: Proposals, at: int | None
) -> None:
    """Stopped between two trials or in the middle of one and opened anew, a study goes on as if nothing had been."""
    if at is None:
        interrupted_study(tmp_path).optimize(5, show_progress=False)
    else:
        InterruptedSpace.at = at
        with pytest.raises(KeyboardInterrupt):
            interrupted_study(tmp_path).optimize(13, show_progress=False)
    resumed = interrupted_study(tmp_path)
    resumed.optimize(13, show_progress=False)
    assert proposals(resumed) == undisturbed


def test_imported_code_is_not_searched_for_garbage_until_the_end(url: str) -> None:
    """A full collection after the first candidate looks at a small part of what there is."""
    seen: list[tuple[int, int]] = []
    study = pn.create_study("thin", space=SPACE, storage=url)
    work(study, Budget(3), on_trial=lambda: seen.append((gc.get_freeze_count(), len(gc.get_objects()))))
    (first, all_objects), (second, looked_at) = seen[0], seen[-1]
    assert first < second
    assert looked_at < all_objects / 5
    assert gc.get_freeze_count() == 0


def test_a_candidate_evaluated_again_gives_the_same_network(small: pn.Study) -> None:
    """``evaluate`` with the trial's candidate and seed reaches exactly its accuracy, counts and weights."""
    for trial in small.trials:
        again = evaluate(
            trial.candidate, load_data(Digits()), ("accuracy", "parameters", "macs"), seed=trial.evaluation.seed
        )
        assert {name: measured.value for name, measured in again.measured.items()} == {
            name: value for name, value in trial.values.items() if name in again.measured
        }
        kept = trial.load().state_dict()
        assert kept.keys() == again.deployed.network.state_dict().keys()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in again.deployed.network.state_dict().items())


def test_the_last_epoch_ends_at_the_trials_accuracy(small: pn.Study) -> None:
    """The learning curve ends at the accuracy that the trial reports."""
    for trial in small.trials:
        assert trial.learning_curve[-1].score == trial.values["accuracy"]


def test_test_metrics_are_kept(small: pn.Study) -> None:
    """Each is of the test split, the same when asked again, and found in the store from then on."""
    trial = small.trials[0]
    metrics = trial.test_metrics()
    assert metrics.keys() == {"test_accuracy"}
    assert 0 <= metrics["test_accuracy"] <= 1
    assert trial.test_metrics() == metrics
    again = small.pick(trial.number)
    assert again.evaluation.values["test_accuracy"] == metrics["test_accuracy"]
    assert again.values.keys() == {"accuracy", "parameters", "macs", "latency_ms"}


# None twice


def test_an_exhausted_space_ends_with_each_network_tried_once(mixed: pn.Study) -> None:
    """Every network of a tiny space is trained once and never more; then the study says that the space is exhausted."""
    assert len(mixed.trials) == 6
    assert len({trial.candidate.key for trial in mixed.trials}) == 6
    curves = [[(point.phase, point.number) for point in trial.learning_curve] for trial in mixed.trials]
    assert sorted(curves) == [[], [], *[[("train", 0)]] * 4]
    assert mixed.store.open_places(mixed.id) == []


def test_workers_end_as_one_does_where_the_space_is_exhausted(
    url: str, tmp_path: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    """The command shows the front of what there is, and says so in the words of one worker."""
    file = tmp_path / "study.toml"
    file.write_text(
        f"study = 's'\nstorage = '{url}'\nobjectives = ['accuracy', 'parameters']\nworkers = 2\ntrials = 20\n[space]\n"
        "type = 'mlp'\nlayers = 1\nwidths = [4, 8]\nactivations = 'relu'\npruning = 0.0\n[space.training]\nepochs = 1\n"
    )
    whole = cli("run", str(file), "--quiet")
    assert whole.returncode == 1
    known = "all that the space of 's' makes is known or impossible: the space is exhausted"
    assert whole.stderr.strip().splitlines()[-1] == f"paretonas: {known}; widen it, or pick from the front"
    assert "Pareto front of s" in whole.stdout
    assert len(pn.load_study(storage=url).trials) == 2


def test_a_duplicate_is_answered_with_what_is_known(mixed: pn.Study) -> None:
    """A proposal that is known carries ``duplicate_of`` and ends as the original did, with its values."""
    optuna_trials = mixed.optuna.get_trials()
    originals = {trial.number for trial in mixed.trials}
    duplicates = [trial for trial in optuna_trials if trial.number not in originals]
    assert len(duplicates) >= 100
    for duplicate in duplicates:
        original = optuna_trials[duplicate.user_attrs["duplicate_of"]]
        assert original.number in originals
        assert original.params == duplicate.params
        assert (duplicate.state, duplicate.values) == (original.state, original.values)


def test_a_candidate_of_another_study_is_taken_over(url: str) -> None:
    """In another study of the store the same candidate is not trained again: its values and weights are taken."""
    first = pn.create_study("first", space=SPACE, objectives=COUNTED, storage=url, sampler="random")
    first.optimize(3, show_progress=False)
    second = pn.create_study("second", space=SPACE, objectives=["accuracy", "macs"], storage=url, sampler="random")
    second.optimize(3, show_progress=False)
    originals = {trial.candidate.key: trial for trial in first.trials}
    assert len(second.trials) == 3
    for trial in second.trials:
        original = originals[trial.candidate.key]
        assert trial.evaluation.reused == original.evaluation.id
        assert trial.learning_curve == []
        assert {name: trial.values[name] for name in ("accuracy", "macs")} == {
            name: original.values[name] for name in ("accuracy", "macs")
        }
        kept = original.load().state_dict()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in trial.load().state_dict().items())
        assert "reused_from" in second.optuna.get_trials()[trial.number].user_attrs
    third = pn.create_study("third", space=SPACE, objectives=COUNTED, storage=url, seed=1, sampler="random")
    third.optimize(2, show_progress=False)
    assert {trial.evaluation.reused for trial in third.trials} == {None}


def test_who_wants_the_noise_trains_again(url: str) -> None:
    """A study that repeats takes nothing over, and claims nothing from others."""
    for name, repeat in (("first", False), ("second", True)):
        study = pn.create_study(name, space=SPACE, objectives=COUNTED, storage=url, sampler="random", repeat=repeat)
        study.optimize(2, show_progress=False)
    assert [trial.evaluation.reused for trial in study.trials] == [None, None]
    assert all(trial.learning_curve for trial in study.trials)
    assert [trial.values for trial in study.trials] == [
        trial.values for trial in pn.load_study("first", storage=url).trials
    ]


def test_one_network_is_trained_once_at_a_time(url: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Of two studies on a store that propose the same at the same time one trains, the other waits and takes over."""
    search = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--sampler", "random", "--trials", "2",
              "--epochs", "30", "--storage", url, "--quiet")  # fmt: skip
    both = [start(*search, "--study", name) for name in ("one", "other")]
    assert [process.communicate(timeout=300)[1] for process in both] == ["", ""]
    trials = [trial for name in ("one", "other") for trial in pn.load_study(name, storage=url).trials]
    assert len(trials) == 4
    assert len({trial.candidate.key for trial in trials}) == 2
    trained = [trial.candidate.key for trial in trials if trial.learning_curve]
    assert len(trained) == len(set(trained)) == 2
    assert sum(trial.evaluation.reused is not None for trial in trials) == 2


def test_what_is_taken_over_can_be_loaded(url: str, tmp_path: Path) -> None:
    """A study with an artifact folder of its own never refers to weights that are not in it."""
    for name in ("first", "second"):
        study = pn.create_study(name, space=SPACE, objectives=COUNTED, storage=url, artifacts=tmp_path / name)
        study.optimize(1, show_progress=False)
    assert study.trials[0].load().state_dict()


def test_a_candidate_that_another_worker_has_in_hand_is_passed_over(tmp_path: Path) -> None:
    """A proposal that another live worker is training fails as its duplicate, the next one is another, and what the
    other one has in hand is waited for.
    """
    alone, shared = (
        pn.create_study(
            "s", space=SPACE, objectives=COUNTED, storage=f"sqlite:///{tmp_path / name}.db", sampler="random"
        )
        for name in ("alone", "shared")
    )
    alone.optimize(2, show_progress=False)
    other = psutil.Process(os.getppid())
    theirs = Store(shared.store.url, worker=f"{platform.node()}/{other.pid}/{other.create_time():.2f}")
    place = theirs.take_place(shared.id, 3)
    assert place is not None
    taken = shared.optuna.ask()
    theirs.begin(place, alone.trials[1].candidate, trial=taken.number, task="digits", seed=0, threads=1, device="cpu")
    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(shared.optimize, 3, show_progress=False)
        while len(shared.store.finished_ids(shared.id)) < 2:
            assert not searching.done()
            time.sleep(0.1)
        time.sleep(2)
        assert not searching.done()  # the third one may yet be its to finish
        theirs.fail(place, kind="diverged", reason="as the test says", seconds=0.0)
        searching.result(60)
    assert len(shared.trials) == 3
    told = shared.optuna.get_trials()
    assert [trial.number for trial in told if trial.state is TrialState.RUNNING] == [taken.number]
    assert [trial.user_attrs["duplicate_of"] for trial in told if trial.state is TrialState.FAIL] == [taken.number]


# Definitions


def test_a_study_opened_again_has_the_same_definition(url: str) -> None:
    """Options, ranges, steps and logarithms survive the store, and propose the same candidates."""
    space = pn.ConvSpace(
        layers=[1, 3],
        widths=pn.Range(4, 16, step=4),
        kernels=[1, 3],
        hidden_layers=(0, 2),
        hidden_widths=pn.Range(4, 64, log=True),
        pruning=0.25,
        training=pn.TrainingSpace(epochs=2, learning_rate=0.05),
    )
    objectives = ["latency_ms", "accuracy", "macs"]
    made = pn.create_study(
        "s", space=space, objectives=objectives, storage=url, sampler="nsga2", seed=3, threads=2, device="cuda"
    )
    loaded = pn.load_study("s", storage=url)
    assert loaded.definition.to_json() == made.definition.to_json()
    assert loaded.definition.objectives == tuple(objectives)
    spec = pn.DataSpec((1, 8, 8), 10)
    for seed in range(20):
        assert loaded.definition.space.sample(spec, seed=seed) == space.sample(spec, seed=seed)


def test_a_definition_is_plain_json() -> None:
    """A definition that went through JSON says the same."""
    made = Definition(SPACE, Digits(), ("accuracy", "macs"), "random", 5, 2, "cpu")
    assert Definition.from_json(json.loads(json.dumps(made.to_json()))).to_json() == made.to_json()


def test_a_definition_of_a_newer_release_is_refused() -> None:
    """Another version, missing parts and unknown parts are named."""
    data = Definition(SPACE, Digits(), ("accuracy", "macs"), "tpe", 0, 1, "cpu").to_json()
    with pytest.raises(StudyError, match="version 6 or below is needed, this one has version 7"):
        Definition.from_json({**data, "version": 7})
    with pytest.raises(StudyError, match="missing or unknown parts: rungs, seed"):
        Definition.from_json({**{name: part for name, part in data.items() if name != "seed"}, "rungs": 3})


def test_a_definition_of_version_5_has_no_limit_and_keeps_all() -> None:
    """What could not be chosen then is what it was."""
    data = Definition(
        SPACE, Digits(), ("accuracy", "macs"), "tpe", 0, 1, "cpu", trial_timeout=9.0, keep="none"
    ).to_json()
    kept = {name: part for name, part in data.items() if name not in ("trial_timeout", "keep", "repeat")}
    earlier = Definition.from_json({**kept, "version": 5})
    assert (earlier.trial_timeout, earlier.keep, earlier.repeat) == (None, "all", False)
    assert Definition.from_json(data).trial_timeout == 9.0


def test_a_definition_of_version_3_has_no_constraints_and_the_objectives_of_today() -> None:
    """What was ``onnx_latency_ms`` is a backend of the latency."""
    data = Definition(SPACE, Digits(), ("accuracy", "latency:onnxruntime"), "tpe", 0, 1, "cpu").to_json()
    kept = {name: part for name, part in data.items() if name not in ("constraints", *NEW)}
    earlier = Definition.from_json({**kept, "objectives": ["accuracy", "onnx_latency_ms"], "version": 3})
    assert earlier.objectives == ("accuracy", "latency:onnxruntime")
    assert earlier.constraints == ()


def test_a_definition_of_version_2_has_no_teacher_and_its_rate_of_fine_tuning() -> None:
    """What could not be chosen then is what it was."""
    data = Definition(SPACE, Digits(), ("accuracy", "macs"), "tpe", 0, 1, "cpu").to_json()
    training = {name: part for name, part in data["space"]["training"].items() if name != "finetune_rate"}
    space = {**{name: part for name, part in data["space"].items() if name != "compression"}, "training": training}
    kept = {name: part for name, part in data.items() if name not in ("teacher", "moves", "constraints", *NEW)}
    earlier = Definition.from_json({**kept, "space": space, "version": 2})
    assert (earlier.teacher, earlier.moves) == ("", 0.0)
    assert earlier.space.training.finetune_rate == 0.3
    assert Definition.from_json(data).space.training.finetune_rate == 1.0


def test_a_study_of_that_name_with_another_definition_is_refused(url: str) -> None:
    """The error names each difference; the study stays as it was."""
    made = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    with pytest.raises(StudyError) as caught:
        pn.create_study("s", space=SPACE.replace_training(epochs=2), objectives=COUNTED, storage=url, seed=1)
    assert "seed is 0 there and 1 here" in str(caught.value)
    assert "space.training.epochs is 1 there and 2 here" in str(caught.value)
    assert pn.load_study(storage=url).definition.to_json() == made.definition.to_json()


def test_a_study_is_found_by_name(url: str) -> None:
    """The name may be left out while there is one study; later the error lists all there are."""
    pn.create_study("one", space=SPACE, objectives=COUNTED, storage=url)
    assert pn.load_study(storage=url).name == "one"
    pn.create_study("two", space=SPACE, objectives=COUNTED, storage=url)
    assert pn.load_study("two", storage=url).name == "two"
    with pytest.raises(StudyError, match="the name of a study is needed: there is 'one', 'two'"):
        pn.load_study(storage=url)
    with pytest.raises(StudyError, match=r"no study 'three' is in .*: there is 'one', 'two'"):
        pn.load_study("three", storage=url)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "a study's name has 1 to 200 characters"),
        ({"space": "conv"}, "a study searches a space such as ConvSpace"),
        ({"space": {"type": "cnv"}}, "unknown search space 'cnv': did you mean 'conv'"),
        ({"task": "imagenet"}, "unknown task 'imagenet': .*there is digits"),
        ({"task": {"type": "digits", "size": 8}}, "unknown field of task 'digits' 'size'"),
        ({"task": 3}, "a task is a word, a table with a type and fields, or a Task"),
        ({"sampler": "grid"}, "unknown sampler 'grid': there is ehvi, tpe, tpe_multivariate, nsga2, nsga3, gp, random"),
        ({"device": "tpu"}, r"unknown device 'tpu': did you mean 'cpu'\? there is cpu, cuda"),
        ({"objectives": ["accuracy", "flops"]}, "unknown objective 'flops': .*there is accuracy, "),
        ({"objectives": ["digit.acuracy", "macs"]}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"objectives": ["accuracy"]}, "at least one quality metric and at least one cost"),
        ({"objectives": ["accuracy", "f1"]}, "the costs are parameters, macs, nonzero_parameters"),
        ({"objectives": ["macs", "parameters"]}, "at least one quality metric and at least one cost"),
        ({"objectives": ["accuracy", "macs", "macs"]}, "each once"),
        ({"threads": 0}, "threads must be at least 1, 0 was given"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"trial_timeout": 0}, "trial_timeout is a number of seconds above 0, 0 was given"),
        ({"trial_timeout": "1h"}, "trial_timeout is a number of seconds above 0, '1h' was given"),
        ({"keep": "best"}, "unknown keep 'best': there is all, front, none"),
        ({"repeat": 1}, "repeat is True or False, 1 was given"),
    ],
)
def test_a_malformed_study_is_refused_before_anything_is_made(
    url: str, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    """The error says the rule and what came, and no store is left behind."""
    asked: dict[str, Any] = {"name": "s", "space": SPACE, "objectives": COUNTED, "storage": url, **changed}
    with pytest.raises(UsageError, match=message):
        pn.create_study(asked.pop("name"), **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_space_that_does_not_fit_is_refused(url: str) -> None:
    """If no candidate can take the data, the study is not made."""
    with pytest.raises(InvalidSpace, match="nothing of the conv space fits the 1x8x8 input of digits"):
        pn.create_study("s", space=pn.ConvSpace(layers=5, stages=5), storage=url)
    with pytest.raises(StudyError, match="there is none"):
        pn.load_study(storage=url)


def test_a_space_that_mostly_does_not_fit_gives_a_warning(url: str) -> None:
    """The warning says how much of the space fits."""
    with pytest.warns(UserWarning, match=r"only \d+% of the conv space fits the 1x8x8 input of digits"):
        pn.create_study("s", space=pn.ConvSpace(layers=8, stages=(3, 8)), storage=url)


def test_a_space_that_the_store_could_not_give_back_is_refused(url: str, tmp_path: Path) -> None:
    """A space of a class that no other process could find leaves no study behind that nobody can open."""

    @dataclass(frozen=True, kw_only=True)
    class HiddenSpace(pn.MLPSpace):
        name: ClassVar = "hidden"

    with pytest.raises(UsageError, match="HiddenSpace is inside of something: move it to the top level"):
        pn.create_study("s", space=HiddenSpace(training=BRIEF), objectives=COUNTED, storage=url)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True, kw_only=True)
class TanhSpace(pn.MLPSpace):
    """Its own suggestions, under the name of a known space."""

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> Candidate:
        flat = pn.Block("flatten")
        tanh = pn.Block("linear", width=trial.suggest_int("units", 2, 4), activation="tanh")
        return Candidate(pn.Architecture(data.input_shape, (flat, tanh), data.heads), 0.0)


def test_a_space_of_ones_own_is_used(url: str) -> None:
    """A subclass is not replaced by the known space whose name it has, nor is it when the study is opened again."""
    pn.create_study("s", space=TanhSpace(training=BRIEF), objectives=COUNTED, storage=url)
    study = pn.load_study("s", storage=url)
    study.optimize(1, show_progress=False)
    assert type(study.definition.space) is TanhSpace
    assert [block.op for block in study.trials[0].architecture.blocks] == ["flatten", "linear"]
    assert study.trials[0].architecture.blocks[1].args["activation"] == "tanh"


def test_a_name_that_plain_optuna_took_is_refused(url: str) -> None:
    """An Optuna study of the same name with other objectives is an error of the study, not a crash."""
    optuna.create_study(study_name="s", storage=url)
    with pytest.raises(StudyError):
        pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url).optimize(1, show_progress=False)


def test_a_device_that_is_not_there_leaves_nothing_running(url: str) -> None:
    """Without CUDA a study on cuda says so before anything is tried."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, device="cuda")
    with pytest.raises(UsageError, match="this machine has no CUDA device"):
        study.optimize(1, show_progress=False)
    assert states(study) == set()
    assert study.store.open_places(study.id) == []


def test_two_workers_can_clean_up_at_once(url: str) -> None:
    """Proposals that an earlier search left are closed also when two workers start in the same moment."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    for _ in range(10):
        SPACE.suggest(study.optuna.ask(), pn.DataSpec((1, 8, 8), 10))

    def cleaned() -> int:
        opened = pn.load_study(storage=url)
        with Lease(opened) as lease:
            return clean_up(opened, lease)

    with ThreadPoolExecutor(2) as pool:
        outcomes = [pool.submit(cleaned) for _ in range(2)]
        assert max(outcome.result() for outcome in outcomes) > 0
    assert states(study) == {TrialState.FAIL}
    assert all("interrupted" in trial.user_attrs for trial in study.optuna.get_trials())


def test_the_callers_threads_are_left_as_they_were(url: str) -> None:
    """A search in this process takes the study's threads and gives back what the caller had."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        study = pn.create_study("s", space=pn.MLPSpace(layers=0, training=BRIEF), objectives=COUNTED, storage=url)
        study.optimize(1, show_progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
