"""A study as a TOML file: what it may say, and how it is told what is wrong."""

import subprocess
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.objectives import Table
from paretonas.search.definition import differences
from paretonas.search.study_file import KINDS, StudyFile

FULL = """
study = "s"
task = "digits"
objectives = ["accuracy", "macs"]
storage = "sqlite:///x.db"
artifacts = "weights"
sampler = "random"
seed = 3
threads = 2
device = "cpu"
trials = 7
timeout = 90
workers = 2

[space]
type = "conv"
layers = { low = 2, high = 4 }
widths = [8, 16]
pruning = { low = 0.0, high = 0.5 }

[space.training]
epochs = 4
optimizer = ["adamw", "sgd"]
"""
Cli = Callable[..., subprocess.CompletedProcess[str]]


def written(folder: Path, text: str) -> Path:
    file = folder / "study.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_says_all_that_a_script_can(tmp_path: Path) -> None:
    """Every key arrives, and the space is the one that a script would make."""
    training = pn.TrainingSpace(epochs=4, optimizer=["adamw", "sgd"])
    space = pn.ConvSpace(layers=(2, 4), widths=[8, 16], pruning=(0.0, 0.5), training=training)
    read = StudyFile.read(written(tmp_path, FULL))
    assert read.space.to_json() == space.to_json()
    assert (read.study, read.objectives, read.storage) == ("s", ("accuracy", "macs"), "sqlite:///x.db")
    assert (read.artifacts, read.sampler, read.seed, read.threads) == ("weights", "random", 3, 2)
    assert (read.trials, read.timeout, read.workers) == (7, 90, 2)
    assert KINDS.keys() == StudyFile.__dataclass_fields__.keys()


def test_upkeep_is_said_in_a_file_and_reaches_the_study(tmp_path: Path, url: str) -> None:
    """What is part of the definition is; truth is written as in TOML, and no other value stands for it."""
    text = f"storage = '{url}'\ntrial_timeout = 90\nkeep = 'front'\nrepeat = true\nmax_failed = 0.9\nlease = 20\n"
    read = StudyFile.read(written(tmp_path, text))
    assert (read.max_failed, read.lease, read.checkpoint_every) == (0.9, 20, 30)
    definition = read.create().definition
    assert (definition.trial_timeout, definition.keep, definition.repeat) == (90, "front", True)
    for wrong in ("repeat = 1", "lease = true", "keep = true"):
        with pytest.raises(UsageError, match=f"{wrong.split()[0]} of .* must be"):
            StudyFile.read(written(tmp_path, wrong))


def test_the_defaults_are_those_of_a_script() -> None:
    """A field that is an argument of ``create_study`` or ``Study.optimize`` has its default there."""
    arguments = {**signature(pn.create_study).parameters, **signature(pn.Study.optimize).parameters}
    names = ("trial_timeout", "keep", "repeat", "max_failed", "lease", "checkpoint_every", "workers", "moves")
    for name in names:
        assert getattr(StudyFile(), name) == arguments[name].default


def test_an_empty_file_is_the_default_job(tmp_path: Path) -> None:
    """What is not said has the defaults of the command line."""
    assert StudyFile.read(written(tmp_path, "")) == StudyFile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trils = 3", "unknown key of .*study.toml 'trils': did you mean 'trials'"),
        ("trials = 'many'", "trials of .* must be a whole number, 'many' was given"),
        ("trials = true", "trials of .* must be a whole number, True was given"),
        ("space = 'conv'", "space of .* must be a table"),
        ("[space]\nlayers = 2", "a space needs a type: there is conv, mlp"),
        ("task = 3", "task of .* must be a word, or a table with a type and the task's fields, 3 was given"),
        ("task = 'digit'", "unknown task 'digit': did you mean 'digits'"),
        ("[task]\nfile = 'x.csv'", "a task needs a type, .* was given: there is digits"),
        ("[task]\ntype = 'tabel'", "unknown task 'tabel': did you mean 'table'"),
        ("[task]\ntype = 'table'\ntraget = 'y'", "unknown field of task 'table' 'traget': did you mean 'target'"),
        ("[task]\ntype = 'table'\ntarget = 'y'", "task 'table' needs file"),
        ("[task]\ntype = 'table'\ntarget = 'y'\nfile = 3", "file of task 'table' must be a path, 3 was given"),
        ("[space]\ntype = 'conv'\nwdths = 2", "unknown field of ConvSpace 'wdths': did you mean 'widths'"),
        ("[space]\ntype = 'conv'\nlayers = { low = 3, high = 2 }", "ConvSpace.layers: .*swap its ends"),
        ("[space]\ntype = 'conv'\nlayers = { low = 3 }", "ConvSpace.layers: a choice is"),
        ("[space]\ntype = 'mlp'\n[space.training]\nspeed = 1", "unknown field of TrainingSpace 'speed'"),
        ("trials = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    """The message names the key, what came and the nearest that there is."""
    with pytest.raises(UsageError, match=message) as caught:
        StudyFile.read(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_task_is_a_table_whose_paths_are_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are taken from the study file's folder, wherever the command runs; others stay."""
    folder = tmp_path / "studies"
    folder.mkdir()
    text = "[task]\ntype = 'table'\nfile = '{}'\ntarget = 'y'\nignore = ['data/x.csv']"
    for given, expected in (
        ("data/x.csv", folder / "data/x.csv"),
        ("../x.csv", tmp_path / "x.csv"),
        ("/data/x.csv", Path("/data/x.csv")),
        ("~/x.csv", Path.home() / "x.csv"),
    ):
        file = written(folder, text.format(given))
        monkeypatch.chdir(tmp_path)
        for where in (file, Path("studies/study.toml")):
            task = StudyFile.read(where).task
            assert isinstance(task, Table)
            assert Path(str(task.file)) == expected.resolve()
            assert task.ignore == ("data/x.csv",)


def test_a_study_is_named_after_its_words(tmp_path: Path, url: str) -> None:
    """Without a name a study is called after its data and its space; objectives come from the data."""
    text = "task = 'digits_parity'\n[space]\ntype = 'mlp'"
    study = StudyFile.read(written(tmp_path, text)).with_changes(storage=url).create()
    assert study.name == "digits_parity-mlp"
    assert study.definition.objectives == ("digit.accuracy", "parity.accuracy", "parameters", "latency_ms")


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path, cli: Cli) -> None:
    """Exit code 2, and the file is named."""
    answer = cli("run", str(tmp_path / "none.toml"))
    assert answer.returncode == 2
    assert "none.toml cannot be read" in answer.stderr


def test_hyperparameters_are_suggested_with_the_structure() -> None:
    """Genes that are not constant differ between samples; fine-tuning is asked for only where something is pruned."""
    training = pn.TrainingSpace(learning_rate=pn.Range(1e-3, 1e-1, log=True), finetune_epochs=[1, 2, 3])
    data = pn.DataSpec((16,), 3)
    pruned = [pn.MLPSpace(pruning=0.5, training=training).sample(data, seed=seed).training for seed in range(20)]
    whole = [pn.MLPSpace(pruning=0.0, training=training).sample(data, seed=seed).training for seed in range(20)]
    assert len({one.learning_rate for one in pruned}) == 20
    assert {one.finetune_epochs for one in pruned} == {1, 2, 3}
    assert {one.finetune_epochs for one in whole} == {pn.Training().finetune_epochs}


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("learning_rate", (0.0, 1.0), "learning_rate: numbers above 0 are needed, 0.0 was given"),
        ("optimizer", "lion", "unknown value of TrainingSpace.optimizer 'lion'"),
        ("label_smoothing", 1.0, "label_smoothing: numbers of at least 0 and below 1"),
        ("epochs", 0, "epochs: whole numbers of at least 1"),
    ],
)
def test_a_hyperparameter_out_of_its_range_is_refused(field: str, given: object, message: str) -> None:
    """The message names the field, the rule and what came."""
    with pytest.raises(UsageError, match=message):
        pn.TrainingSpace(**{field: given})  # type: ignore[arg-type]


def test_another_kind_of_space_is_one_difference() -> None:
    """Two spaces of different types are told apart by their type, not field by field."""
    stored, asked = ({"space": space.to_json(), "seed": 0} for space in (pn.ConvSpace(), pn.MLPSpace()))
    assert differences(stored, asked) == ["space is of type 'conv' there and 'mlp' here"]
    asked = {"space": pn.ConvSpace(layers=3).to_json(), "seed": 1}
    assert differences(stored, asked) == [
        "seed is 0 there and 1 here",
        "space.layers is {'low': 2, 'high': 5, 'step': None, 'log': False} there and 3 here",
    ]
