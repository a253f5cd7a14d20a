"""The data that come with the package: their splits and their values."""

import pytest
import torch

from paretonas.objectives import TASKS, Data, Split
from paretonas.objectives.tasks import load_digits


@pytest.fixture(scope="module")
def digits() -> Data:
    return TASKS["digits"].load()


def splits(data: Data) -> list[Split]:
    return [data.train, data.validation, data.test]


def test_the_sizes_of_the_splits(digits: Data) -> None:
    """1,797 digits, split 60/20/20."""
    assert [len(split.y) for split in splits(digits)] == [1077, 360, 360]


def test_examples_are_as_the_task_says(digits: Data) -> None:
    """Shape, types, range and classes agree with the spec."""
    spec = TASKS["digits"].spec
    for split in splits(digits):
        assert split.x.shape == (len(split.y), *spec.input_shape)
        assert split.x.dtype == torch.float32
        assert split.y.dtype == torch.int64
        assert split.x.min() == 0.0
        assert split.x.max() == 1.0
        assert {*split.y.tolist()} == {*range(spec.classes)}


def test_the_splits_are_disjoint_and_complete(digits: Data) -> None:
    """Each picture of the collection is in one split, once."""
    from sklearn.datasets import load_digits as read

    pictures = [tuple(row.flatten().tolist()) for split in splits(digits) for row in split.x * 16]
    assert sorted(pictures) == sorted(tuple(row) for row in read(return_X_y=True)[0].tolist())
    assert len(set(pictures)) == 1797


def test_labels_stay_with_their_pictures(digits: Data) -> None:
    """The label of a picture is the one it has in the collection."""
    from sklearn.datasets import load_digits as read

    pixels, labels = read(return_X_y=True)
    known = {tuple(row): int(label) for row, label in zip(pixels.tolist(), labels, strict=True)}
    for split in splits(digits):
        assert [known[tuple(row.flatten().tolist())] for row in split.x * 16] == split.y.tolist()


def test_the_splits_are_stratified(digits: Data) -> None:
    """The share of each label differs between splits by less than half a percent."""
    shares = [torch.bincount(split.y) / len(split.y) for split in splits(digits)]
    for share in shares[1:]:
        assert (share - shares[0]).abs().max() < 0.005


def test_the_splits_are_the_same_each_time(digits: Data) -> None:
    """Two loads give the same examples in the same order, so that studies can be compared."""
    for one, other in zip(splits(digits), splits(load_digits()), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_loading_leaves_the_global_random_state() -> None:
    """What the caller draws next does not depend on the data."""
    before = torch.get_rng_state()
    load_digits()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_listed_by_its_name(name: str) -> None:
    """The name in the table is the task's own."""
    assert TASKS[name].name == name
