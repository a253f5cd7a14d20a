"""Data from the user's own function: what it may give, and what is refused."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from paretonas.errors import ParetonasError, UsageError
from paretonas.objectives import Data, OwnTask, Split, as_task

HEAD = """
import torch
from paretonas.objectives import Data, Digits, Split, Target
from paretonas.spaces import DataSpec

def draw(seed):
    return torch.Generator().manual_seed(seed)

def x(rows=12, *shape):
    return torch.rand((rows, *(shape or (3,))), generator=draw(rows))

def y(rows=12, classes=3):
    return torch.arange(rows) % classes
"""
Make = Callable[[str], OwnTask]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Write a module whose function returns an expression, trust it, and give its task."""
    names: list[str] = []

    def call(expression: str) -> OwnTask:
        names.append(f"own_data_{tmp_path.name}_{len(names)}".replace("-", "_"))
        (tmp_path / f"{names[-1]}.py").write_text(
            f"{HEAD}\ndef make(**a):\n    return {expression}\n", encoding="utf-8"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PARETONAS_TRUST", f"{names[-1]}:make")
        return OwnTask(function=f"{names[-1]}:make")

    yield call
    for name in names:
        sys.modules.pop(name, None)


def parts(data: Data) -> list[Split]:
    return [split for split in (data.train, data.validation, data.test) if isinstance(split, Split)]


def test_pairs_of_tensors_are_data(make: Make) -> None:
    """Whole numbers are classes; there is no augmentation."""
    data = make("[(x(r), y(r)) for r in (12, 6, 5)]").load()
    assert (data.spec.input_shape, data.spec.vocabulary) == ((3,), None)
    assert [head.outputs for head in data.spec.heads] == [3]
    assert data.targets[0].names == ("0", "1", "2")
    assert data.spec.ineffective == ("augment",)
    assert [len(split) for split in parts(data)] == [12, 6, 5]


def test_numbers_are_standardised_by_the_train_split(make: Make) -> None:
    """As those of a table."""
    data = make("tuple((x(r).double(), 5 + 3 * x(r)[:, 0]) for r in (12, 6, 5))").load()
    assert data.spec.ineffective == ("augment", "label_smoothing")
    train = parts(data)[0]
    assert isinstance(train.y, torch.Tensor)
    assert train.x.dtype == train.y.dtype == torch.float32
    assert abs(train.y.mean().item()) < 1e-6
    assert abs(train.y.std(correction=0).item() - 1) < 1e-6
    assert torch.allclose(train.y * data.targets[0].std + data.targets[0].mean, 5 + 3 * train.x[:, 0])


def test_several_heads_and_tokens(make: Make) -> None:
    """A dict of labels has a head for each; tokens are whole numbers, their vocabulary what there is."""
    data = make(
        "[(torch.arange(r * 4).view(r, 4) % 7, {'next': torch.arange(r * 4).view(r, 4) % 9}) for r in (9, 8, 8)]"
    )
    spec = data.load().spec
    assert (spec.vocabulary, spec.per_position, spec.input_shape) == (9, True, (4,))
    assert [(head.name, head.outputs) for head in spec.heads] == [("next", 9)]
    both = make("[(x(r), {'size': x(r)[:, 0], 'kind': y(r) > 0}) for r in (12, 6, 5)]").load()
    assert [(target.head, target.kind) for target in both.targets] == [("size", "number"), ("kind", "classes")]


def test_data_and_arguments_are_passed_on(make: Make) -> None:
    """A Data comes back as it is; arguments go to the function by name."""
    data = make("Digits().load()").load()
    assert len(data.train) == 1077
    task = make("[(x(a['rows']), y(a['rows']))] * 3")
    assert len(OwnTask(function=task.function, arguments={"rows": 7}).load().train) == 7


def one_in_a_test() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What a function of a script gives."""
    return [(torch.rand(6, 2), torch.arange(6) % 2)] * 3


def test_the_function_itself_is_its_name() -> None:
    """Who gives it trusts it."""
    task = OwnTask(function=one_in_a_test)
    assert task.function == f"{__name__}:one_in_a_test"
    assert as_task(task.to_json()) == task
    assert len(task.load().train) == 6


def test_code_that_nobody_trusts_is_not_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to load it nor for its key."""
    task = make("1 / 0")
    monkeypatch.delenv("PARETONAS_TRUST")
    for ask in (task.load, task.fingerprint):
        with pytest.raises(ParetonasError, match="allow it"):
            ask()
    assert str(task.function).split(":", maxsplit=1)[0] not in sys.modules


def test_the_key_follows_the_code(make: Make) -> None:
    """Another text of the module gives another key."""
    assert make("[(x(9), y(9))] * 3").fingerprint() != make("[(x(8), y(8))] * 3").fingerprint()


WRONG = {
    "nothing": ("None", "is a Data, or three pairs"),
    "two pairs": ("[(x(), y())] * 2", r"three pairs \(x, y\).*; list of 2 came"),
    "no pairs": ("[x(), x(), x()]", "three pairs"),
    "no tensor": ("[(x().numpy(), y())] * 3", r"x of .* is a tensor \(N, …\) in each split, ndarray came in train"),
    "no example": ("[(x(), y()), (x(0), y(0)), (x(), y())]", "needs at least one example, validation has none"),
    "another shape": (
        "[(x(), y()), (x(12, 4), y()), (x(), y())]",
        r"float32 \(12, 4\) came in validation, float32 \(12, 3\)",
    ),
    "another length": ("[(x(), y(11))] * 3", r"y of 'head' in .* is a tensor \(12,\) in train, int64 \(11,\) came"),
    "pixels": (
        "[((x() * 255).byte(), y())] * 3",
        r"float32, or int64 \(N, length\) from 0 for tokens, uint8 \(12, 3\)",
    ),
    "negative tokens": ("[((x() * 9).long() - 20, y())] * 3", "from 0 for tokens"),
    "not finite": ("[(x() / 0, y())] * 3", "there is some NaN or infinity"),
    "y no tensor": ("[(x(), y().tolist())] * 3", "list of 12 came"),
    "y not finite": ("[(x(), x()[:, 0] / 0)] * 3", "needs finite numbers"),
    "constant number": ("[(x(), x()[:, 0] * 0 + 3)] * 3", "not all the same in train: there is nothing to learn"),
    "negative class": ("[(x(), y() - 1)] * 3", "counts from 0, -1 came"),
    "one class": ("[(x(), y() * 0)] * 3", "at least 2 classes, only 0 came"),
    "class not in train": ("[(x(), y(12, 2)), (x(), y(12, 3)), (x(), y())]", "it has none of '2'"),
    "other heads": ("[(x(), {'a': y()}), (x(), {'b': y()}), (x(), {'a': y()})]", "same heads in y of each split"),
    "other kind": ("[(x(), y()), (x(), y().float()), (x(), y())]", "float32 .12,. came in validation"),
    "spec of another shape": (
        "Data(DataSpec((4,), 3), (Target('head', 'classes', names=('a', 'b', 'c')),), *[Split(x(), y())] * 3, {})",
        r"is of shape \(4,\) by its spec, and of \(3,\) in the train split",
    ),
    "numbers at each position": (
        "[(torch.ones(12, 4).long(), torch.rand(12, 4))] * 3",
        "y of 'head' in .* is int64 where each position is answered, float32 .12, 4. came in train",
    ),
    "positions beside examples": (
        "[(torch.arange(48).view(12, 4), {'next': torch.arange(48).view(12, 4), 'kind': y()})] * 3",
        r"'next' \(tokens\), 'kind' \(classes\): make them two studies",
    ),
    "a long name": (
        "[(x(), {'a': y(), 'b' * 101: y()})] * 3",
        "name of a head has up to 100 characters, 'b+'… has 101",
    ),
    "an error": ("1 / 0", "could not give the data: ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_things_are_refused_in_one_sentence(make: Make, case: str) -> None:
    """With what came and where."""
    expression, message = WRONG[case]
    with pytest.raises(UsageError, match=message) as refusal:
        make(expression).load()
    assert "\n" not in str(refusal.value)


def test_a_file_that_was_edited_after_it_was_loaded_is_refused(make: Make) -> None:
    """The old function would run under the new file's fingerprint."""
    task = make("[(x(), y())] * 3")
    before = task.fingerprint()
    file = Path(str(sys.modules[str(task.function).split(":")[0]].__file__))
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "# new\n", encoding="utf-8")
    for ask in (task.load, task.fingerprint, lambda: task.key):
        with pytest.raises(UsageError, match=r"was edited after .*:make of it was loaded: start Python again"):
            ask()
    file.write_text(text, encoding="utf-8")
    assert task.fingerprint() == before


def test_what_is_no_function_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant of the module, or nothing of that name."""
    name = str(make("None").function).split(":", maxsplit=1)[0]
    monkeypatch.setenv("PARETONAS_TRUST", f"{name}:HEAD,{name}:torch,{name}:none")
    with pytest.raises(UsageError, match="is to be a function that gives data"):
        OwnTask(function=f"{name}:torch").load()
    with pytest.raises(UsageError, match="none"):
        OwnTask(function=f"{name}:none").load()
