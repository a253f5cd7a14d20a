"""Tasks in general: by name, as JSON, their keys, splits and parts; and the digits that come with the package."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import parts
from torch.utils.data import Dataset

from paretonas.errors import UsageError
from paretonas.objectives import (
    MNIST1D,
    TASKS,
    AudioFolder,
    Data,
    Digits,
    DigitsParity,
    ImageFolder,
    LazySplit,
    OwnTask,
    Split,
    Table,
    Target,
    Task,
    TextFile,
    TextTable,
    Vision,
    as_task,
)
from paretonas.objectives.tasks.splits import check_classes, divide, strata_of
from paretonas.spaces import DataSpec

EXAMPLES: list[Task] = [
    Digits(),
    DigitsParity(),
    Vision(data="kmnist", root="sets", validation=0.2),
    ImageFolder(folder="pictures", size=16, in_memory=False),
    Table(file="t.csv", target=["price", "kind"], kind=["number", "auto"], categorical=["town"], missing="drop"),
    TextTable(file="t.csv", text="review", label="stars", tokenizer="bpe", vocabulary=500),
    TextFile(file="t.txt", length=32),
    AudioFolder(folder="words", rate=8000, seconds=2),
    MNIST1D(seed=3),
    OwnTask(function="my.module:make", arguments={"rows": 3, "names": ["a"]}),
]
PLACE = "/data/x"


@pytest.fixture(scope="module")
def digits() -> Data:
    return Digits().load()


def test_the_sizes_of_the_digits(digits: Data) -> None:
    """1,797 digits, split 60/20/20."""
    assert [len(digits.train), len(digits.validation), len(digits.test)] == [1077, 360, 360]


def test_digits_are_as_their_description_says(digits: Data) -> None:
    """Shape, types, range and classes agree with the spec and the target."""
    assert [head.outputs for head in digits.spec.heads] == [10]
    assert digits.targets == (Target("head", "classes", names=tuple("0123456789")),)
    for x, y in parts(digits):
        assert x.shape == (len(y), *digits.spec.input_shape)
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        assert (x.min().item(), x.max().item()) == (0.0, 1.0)
        assert {*y.tolist()} == {*range(10)}


def test_the_digits_are_those_they_always_were(digits: Data) -> None:
    """The first labels of each split, so that earlier studies can be compared."""
    assert [y[:8].tolist() for _, y in parts(digits)] == [
        [7, 8, 9, 6, 7, 1, 7, 4],
        [5, 0, 5, 9, 7, 1, 8, 1],
        [7, 6, 3, 7, 7, 3, 2, 8],
    ]


def test_each_picture_is_in_one_split_with_its_label(digits: Data) -> None:
    """The splits are disjoint and complete."""
    from sklearn.datasets import load_digits as read

    pixels, labels = read(return_X_y=True)
    known = {tuple(row): int(label) for row, label in zip(pixels.tolist(), labels, strict=True)}
    found = [
        (tuple(row.flatten().tolist()), label)
        for x, y in parts(digits)
        for row, label in zip(x * 16, y.tolist(), strict=True)
    ]
    assert len(found) == len(known) == 1797
    assert dict(found) == known


def test_the_digits_are_stratified(digits: Data) -> None:
    """The share of each label differs between splits by less than half a percent."""
    shares = [torch.bincount(y) / len(y) for _, y in parts(digits)]
    for share in shares[1:]:
        assert (share - shares[0]).abs().max() < 0.005


def test_parity_asks_two_things_of_the_same_pictures(digits: Data) -> None:
    """The heads are digit and parity, and parity is whether the digit is odd."""
    both = DigitsParity().load()
    assert [(head.name, head.outputs) for head in both.spec.heads] == [("digit", 10), ("parity", 2)]
    for split, (x, y) in zip((both.train, both.validation, both.test), parts(digits), strict=True):
        assert isinstance(split, Split)
        assert isinstance(split.y, dict)
        assert torch.equal(split.x, x)
        assert torch.equal(split.y["digit"], y)
        assert torch.equal(split.y["parity"], y % 2)


def test_loading_leaves_the_global_random_state() -> None:
    """What the caller draws next does not depend on the data."""
    before = torch.get_rng_state()
    Digits().load()
    MNIST1D().load()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_listed_by_its_name(name: str) -> None:
    """The name in the table is the task's own."""
    assert TASKS[name].name == name


def test_every_task_is_tried_here() -> None:
    """The examples of this file are one of each task."""
    assert [type(task) for task in EXAMPLES] == list(TASKS.values())


@pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: task.name)
def test_a_task_survives_json(task: Task) -> None:
    """What to_json wrote gives an equal task, and nothing but JSON types is in it."""
    import json

    written = json.loads(json.dumps(task.to_json()))
    assert written == task.to_json()
    assert as_task(written) == task
    assert hash(as_task(written)) == hash(task)


def test_paths_become_absolute() -> None:
    """A worker in another folder finds the file; a path object is as good as text."""
    assert Table(file="t.csv", target="y").file == str(Path.cwd() / "t.csv")
    assert TextFile(file=Path("a") / "t.txt").file == str(Path.cwd() / "a" / "t.txt")
    assert str(Vision(data="mnist", root="~/sets").root) == str(Path.home() / "sets")


def test_the_key_of_a_task_without_fields_is_its_name() -> None:
    """Digits are digits everywhere."""
    assert (Digits().key, DigitsParity().key) == ("digits", "digits_parity")


def test_a_key_follows_the_fields_and_the_content(tmp_path: Path) -> None:
    """Another field or another content of the file gives another key; the same ones give the same."""
    file = tmp_path / "t.csv"
    file.write_text("a,y\n1,2\n")
    task = Table(file=file, target="y")
    assert task.key.startswith("table-")
    assert len(task.key) == len("table-") + 16
    assert Table(file=file, target="y").key == task.key
    assert Table(file=file, target="y", seed=1).key != task.key
    before = task.key
    file.write_text("a,y\n1,3\n")
    assert Table(file=file, target="y").key == task.key != before


def test_a_word_is_a_task() -> None:
    """A word, a table of fields and a task are all tasks."""
    assert as_task("digits") == as_task({"type": "digits"}) == as_task(Digits()) == Digits()
    assert as_task("mnist1d") == MNIST1D()
    assert as_task({"type": "vision", "data": "svhn"}) == Vision(data="svhn")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ({"type": "tables"}, "did you mean 'table'"),
        ({"file": "t.csv"}, "needs a type"),
        (7, "a task is a word"),
        (None, "a task is a word"),
        ({"type": ["table"]}, "unknown task"),
        ("table", "'table' needs file and target: give type = 'table', file = …, target = …"),
        ({"type": "table", "file": PLACE}, "'table' needs target"),
        ({"type": "table", "file": PLACE, "traget": "y"}, "did you mean 'target'"),
        ({"type": "digits", "seed": 1}, "unknown field of task 'digits' 'seed'"),
        ({"type": "table", "file": 3, "target": "y"}, "file of task 'table' must be a path, 3 was given"),
        ({"type": "table", "file": "", "target": "y"}, "must be a path"),
        ({"type": "table", "file": PLACE, "target": 3}, "must be a name or a list of names"),
        ({"type": "table", "file": PLACE, "target": []}, "must be a name or a list of names"),
        ({"type": "table", "file": PLACE, "target": "y", "kind": "clases"}, "did you mean 'classes'"),
        ({"type": "table", "file": PLACE, "target": "y", "kind": ["auto", "auto"]}, "2 was given for 1"),
        ({"type": "table", "file": PLACE, "target": "y", "categorical": "a"}, "must be a list of names"),
        ({"type": "table", "file": PLACE, "target": "y", "ignore": ["y"]}, "y is named more often"),
        ({"type": "table", "file": PLACE, "target": "y", "seed": True}, "must be a whole number"),
        ({"type": "table", "file": PLACE, "target": "y", "seed": -1}, "from 0 and below"),
        ({"type": "table", "file": PLACE, "target": "y", "test": float("nan")}, "must be a number"),
        ({"type": "table", "file": PLACE, "target": "y", "test": 0}, "above 0 and below 1 together, 0.2 and 0"),
        ({"type": "table", "file": PLACE, "target": "y", "test": 0.8}, "0.2 and 0.8 was given"),
        ({"type": "table", "file": PLACE, "target": "y", "missing": "dorp"}, "did you mean 'drop'"),
        ({"type": "vision", "data": "mnits"}, "did you mean 'mnist'"),
        ({"type": "vision", "data": "mnist", "download": "yes"}, "must be true or false"),
        ({"type": "image_folder", "folder": PLACE, "size": 0}, "size of task 'image_folder' must be at least 1"),
        ({"type": "image_folder", "folder": PLACE, "in_memory": 1}, "must be true, false or left out"),
        ({"type": "text_file", "file": PLACE, "length": 1.5}, "must be a whole number"),
        ({"type": "text_file", "file": PLACE, "tokenizer": "bpe", "vocabulary": 100}, "at least 258"),
        ({"type": "text_table", "file": PLACE, "text": "a", "label": "a"}, "two columns"),
        ({"type": "audio_folder", "folder": PLACE, "hop_ms": 0}, "hop_ms of task 'audio_folder' must be above 0"),
        ({"type": "audio_folder", "folder": PLACE, "hop_ms": 50}, "no longer than the window"),
        ({"type": "audio_folder", "folder": PLACE, "mels": 400}, "too many for a window of 25 ms"),
        ({"type": "own", "function": "no colon"}, "own code is named as in"),
        ({"type": "own", "function": "a:b", "arguments": {"a": {1}}}, "must be a table of JSON values"),
    ],
)
def test_what_is_no_task_is_refused_in_one_sentence(given: Any, message: str) -> None:
    """Unknown, missing and mistyped fields, with the nearest name where there is one."""
    with pytest.raises(UsageError) as refusal:
        as_task(given)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_split_gives_rows_in_order_and_by_number() -> None:
    """Batches in file order are complete, the last one smaller; with an order they are these rows."""
    split = Split(torch.arange(20.0).view(10, 2), {"a": torch.arange(10), "b": torch.arange(10) * 2})
    sizes, found = [], []
    for x, y in split.batches(4):
        assert isinstance(y, dict)
        assert torch.equal(y["b"], y["a"] * 2)
        assert torch.equal(x[:, 0], y["a"] * 2.0)
        sizes.append(len(x))
        found += y["a"].tolist()
    assert (sizes, found) == ([4, 4, 2], list(range(10)))
    chosen = [y["a"].tolist() for _, y in split.batches(2, torch.tensor([7, 3, 9])) if isinstance(y, dict)]
    assert chosen == [[7, 3], [9]]
    assert len(split.to(torch.device("cpu"))) == 10


class Rows(Dataset[Any]):
    """A dataset that reads its rows from tensors."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> Any:
        y = self.split.y
        return self.split.x[row], {head: y[head][row] for head in y} if isinstance(y, dict) else y[row]


@pytest.mark.parametrize("order", [None, torch.tensor([3, 3, 8, 0, 5])])
@pytest.mark.parametrize("several", [False, True])
def test_a_lazy_split_gives_the_same_batches(*, order: torch.Tensor | None, several: bool) -> None:
    """As the split in memory does, and without a trace in the random state."""
    labels = torch.arange(10)
    split = Split(torch.rand(10, 3), {"a": labels, "b": labels.float()} if several else labels)
    lazy = LazySplit(Rows(split)).to(torch.device("cpu"))
    before = torch.get_rng_state()
    assert len(lazy) == len(split)
    for (x, y), (lazy_x, lazy_y) in zip(split.batches(4, order), lazy.batches(4, order), strict=True):
        assert torch.equal(x, lazy_x)
        for head in ("a", "b") if several else ("",):
            one, other = (labels[head] if isinstance(labels, dict) else labels for labels in (y, lazy_y))
            assert torch.equal(one, other)
            assert one.dtype == other.dtype
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("counts", [[3, 3], [100, 10, 3], [4, 1000], [5] * 50])
@pytest.mark.parametrize("shares", [(0.2, 0.2), (0.45, 0.45), (0.1,), (0.01, 0.9)])
def test_rows_are_dealt_out_by_stratum(counts: list[int], shares: tuple[float, ...]) -> None:
    """Each row goes to one part, each stratum is in each part, and the parts have their shares."""
    strata = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    dealt = divide(strata, shares, seed=0)
    assert torch.equal(torch.cat(dealt).sort().values, torch.arange(len(strata)))
    for part, share in zip(dealt[1:], shares, strict=True):
        for stratum, count in enumerate(counts):
            assert abs(int((strata[part] == stratum).sum()) - count * share) < 2
    assert all({*strata[part].tolist()} == {*range(len(counts))} for part in dealt)


def test_the_seed_decides_who_goes_where() -> None:
    """The same seed deals out alike, another one otherwise."""
    strata = torch.zeros(100, dtype=torch.int64)
    first, again, other = (divide(strata, (0.2, 0.2), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_several_labels_are_stratified_together_if_they_can_be() -> None:
    """Each combination is a stratum; where one is too rare, the first label decides."""
    one, other = torch.tensor([0, 1]).repeat(6), torch.tensor([0, 0, 0, 1, 1, 1]).repeat(2)
    together = strata_of([one, other], 12, parts=2)
    assert len(torch.unique(together)) == 4
    assert torch.equal(strata_of([one, other], 12, parts=6), one)
    assert strata_of([], 4, parts=3).tolist() == [0, 0, 0, 0]


def test_a_class_with_one_example_is_refused() -> None:
    """It is named, and how many it needs."""
    labels = torch.tensor([0] * 5 + [1])
    with pytest.raises(UsageError, match=r"needs at least 3 examples, .*: 'rare' has 1; add examples or take"):
        check_classes(labels, ["often", "rare"], "the table")
    with pytest.raises(UsageError, match="at least 2 classes, there is often"):
        check_classes(labels[:5], ["often"], "the table")


def test_a_split_without_examples_is_refused(digits: Data) -> None:
    """It is named."""
    empty = Split(torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))
    with pytest.raises(UsageError, match="the validation split has none"):
        Data(digits.spec, digits.targets, digits.train, empty, digits.test, {})


def test_data_need_a_target_for_each_head(digits: Data) -> None:
    """Else no one knows how to judge a head."""
    spec = DataSpec((1, 8, 8), 10)
    with pytest.raises(UsageError, match=r"the heads are \['head'\], the targets \['digit'\]"):
        Data(spec, (Target("digit", "classes"),), digits.train, digits.validation, digits.test, {})


def test_data_go_to_a_device_as_they_are(digits: Data) -> None:
    """All but the splits stays."""
    there = digits.to(torch.device("cpu"))
    assert (there.spec, there.targets, there.preprocessing) == (digits.spec, digits.targets, digits.preprocessing)
    assert len(there.test) == len(digits.test)
