"""Tables from CSV and Parquet files: their columns as tensors, their targets, and what is refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from paretonas.errors import UsageError
from paretonas.objectives import Data, Split, Table

ROWS = 60
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write columns of ROWS rows as a CSV or Parquet file; more columns, or other ones, by name."""

    def call(suffix: str = "csv", **columns: Any) -> Path:
        draw = torch.Generator().manual_seed(0)
        age = torch.randint(20, 80, (ROWS,), generator=draw).tolist()
        base = {
            "age": age,
            "town": [("Berlin", "Graz", "Zürich")[at % 3] for at in range(ROWS)],
            "income": [1000.5 + 10 * value for value in age],
            "member": [at % 2 == 0 for at in range(ROWS)],
            "bought": [("no", "yes")[at % 4 == 0] for at in range(ROWS)],
        }
        frame = pl.DataFrame({name: values for name, values in {**base, **columns}.items() if values is not None})
        file = tmp_path / f"table.{suffix}"
        if suffix == "csv":
            frame.write_csv(file)
        else:
            frame.write_parquet(file)
        return file

    return call


def parts(data: Data) -> list[Split]:
    found = [data.train, data.validation, data.test]
    assert all(isinstance(split, Split) for split in found)
    return [split for split in found if isinstance(split, Split)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_rows_of_numbers_then_category_codes(write: Write, suffix: str) -> None:
    """Text and true/false are categories, last and from 1; the spec counts the code 0 of unseen values too."""
    data = Table(file=write(suffix), target="bought").load()
    assert data.spec.input_shape == (4,)
    assert data.spec.categories == (4, 3)
    assert data.spec.ineffective == ()
    assert [len(split) for split in parts(data)] == [36, 12, 12]
    for split in parts(data):
        assert split.x.dtype == torch.float32
        assert {*split.x[:, 2].tolist()} <= {1.0, 2.0, 3.0}
        assert {*split.x[:, 3].tolist()} == {1.0, 2.0}
    assert data.preprocessing["input"]["categorical"] == {
        "town": ["Berlin", "Graz", "Zürich"],
        "member": ["false", "true"],
    }
    assert data.preprocessing["targets"] == {"head": {"kind": "classes", "classes": ["no", "yes"]}}


def test_csv_and_parquet_give_the_same(write: Write) -> None:
    """The same columns in another format are the same data."""
    one, other = (Table(file=write(suffix), target="bought").load() for suffix in ("csv", "parquet"))
    for split, same in zip(parts(one), parts(other), strict=True):
        assert torch.equal(split.x, same.x)
        assert isinstance(split.y, torch.Tensor)
        assert isinstance(same.y, torch.Tensor)
        assert torch.equal(split.y, same.y)


def test_numbers_are_standardised_by_the_train_split(write: Write) -> None:
    """The train split has mean 0 and deviation 1, the others nearly; the numbers used are in the card."""
    data = Table(file=write(), target="bought").load()
    train, _, test = parts(data)
    assert torch.allclose(train.x[:, :2].mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(train.x[:, :2].std(0, correction=0), torch.ones(2), atol=1e-6)
    assert test.x[:, :2].mean(0).abs().min() > 1e-3
    scale = data.preprocessing["input"]["numeric"]["age"]
    ages = train.x[:, 0] * scale["std"] + scale["mean"]
    assert torch.allclose(ages, ages.round(), atol=1e-4)


def test_test_rows_change_nothing_of_what_the_train_split_says(write: Write) -> None:
    """Other values in rows that are not trained on leave the train split and its statistics as they were."""
    values = torch.arange(ROWS, dtype=torch.float64)
    before = Table(file=write(mark=values.tolist(), shade=["a"] * ROWS), target="bought", categorical=["age"]).load()
    scale = before.preprocessing["input"]["numeric"]["mark"]
    held = [round(row * scale["std"] + scale["mean"]) for row in parts(before)[2].x[:, 1].tolist()]
    changed = [1e6 if row in held else float(row) for row in range(ROWS)]
    shades = ["z" if row in held else "a" for row in range(ROWS)]
    after = Table(file=write(mark=changed, shade=shades), target="bought", categorical=["age"]).load()
    assert after.preprocessing == before.preprocessing
    assert torch.equal(parts(after)[0].x, parts(before)[0].x)
    assert {*parts(after)[2].x[:, -1].tolist()} == {0.0}
    assert after.spec.categories == before.spec.categories


def test_a_number_is_standardised_and_knows_its_unit(write: Write) -> None:
    """Regression: y is (value - mean) / std of the train split, and label smoothing has no effect."""
    data = Table(file=write(), target="income").load()
    target = data.targets[0]
    assert (target.kind, data.spec.heads[0].outputs) == ("number", 1)
    assert data.spec.ineffective == ("label_smoothing",)
    y = parts(data)[0].y
    assert isinstance(y, torch.Tensor)
    assert y.dtype == torch.float32
    assert abs(y.mean().item()) < 1e-6
    assert abs(y.std(correction=0).item() - 1) < 1e-6
    assert torch.allclose((y * target.std + target.mean) % 10, torch.tensor(0.5), atol=1e-2)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([at % 3 for at in range(ROWS)], "classes"),
        ([float(at % 3) for at in range(ROWS)], "classes"),
        ([at % 2 == 0 for at in range(ROWS)], "classes"),
        ([at % 30 for at in range(ROWS)], "number"),
        ([at % 3 + 0.5 for at in range(ROWS)], "number"),
    ],
)
def test_auto_tells_classes_from_numbers(write: Write, values: list[Any], kind: str) -> None:
    """Text, true/false and few whole numbers are classes."""
    assert Table(file=write(y=values), target="y").load().targets[0].kind == kind


def test_the_kind_can_be_said(write: Write) -> None:
    """Few whole numbers as a number; and classes are sorted as numbers, not as text."""
    file = write(y=[(2, 10, 3)[at % 3] for at in range(ROWS)])
    assert Table(file=file, target="y", kind="number").load().targets[0].kind == "number"
    assert Table(file=file, target="y").load().targets[0].names == ("2", "3", "10")


def test_a_target_with_a_long_name_is_refused(write: Write) -> None:
    """Its measures would not fit into the store; a single target is called head, whatever its column."""
    long = "x" * 101
    file = write(**{long: [0, 1] * (ROWS // 2)})
    with pytest.raises(UsageError, match=r"the name of a target column has up to 100 characters, 'x+'… has 101"):
        Table(file=file, target=[long, "bought"]).load()
    assert Table(file=file, target=long).load().targets[0].head == "head"


def test_several_targets_are_several_heads(write: Write) -> None:
    """Each has its kind; names that a module cannot have are changed."""
    file = write(**{"type": [at % 3 for at in range(ROWS)], "2nd hand": [at % 4 for at in range(ROWS)]})
    data = Table(file=file, target=["income", "type", "2nd hand"], kind=["number", "auto", "auto"]).load()
    assert [target.head for target in data.targets] == ["income", "type_", "target_2nd_hand"]
    assert [head.outputs for head in data.spec.heads] == [1, 3, 4]
    assert data.spec.input_shape == (4,)
    for split in parts(data):
        assert isinstance(split.y, dict)
        assert list(split.y) == ["income", "type_", "target_2nd_hand"]
        assert len(torch.unique(split.y["type_"])) == 3
        assert len(torch.unique(split.y["target_2nd_hand"])) == 4


def test_splits_are_stratified_and_seeded(write: Write) -> None:
    """A quarter of each split bought; the seed decides which rows."""
    file = write()
    one, same, other = (Table(file=file, target="bought", seed=seed).load() for seed in (0, 0, 1))
    for split in parts(one):
        assert isinstance(split.y, torch.Tensor)
        assert split.y.float().mean() == 0.25
    assert torch.equal(parts(one)[0].x, parts(same)[0].x)
    assert not torch.equal(parts(one)[0].x, parts(other)[0].x)


def test_columns_of_numbers_can_be_categories_or_left_out(write: Write) -> None:
    """By name."""
    file = write(number=list(range(ROWS)), zone=[at % 5 for at in range(ROWS)])
    data = Table(file=file, target="bought", categorical=["zone"], ignore=["number"]).load()
    assert list(data.preprocessing["input"]["numeric"]) == ["age", "income"]
    assert data.spec.categories == (4, 3, 6)


def test_a_constant_column_is_zero(write: Write) -> None:
    """It tells nothing and does no harm."""
    data = Table(file=write(age=[7] * ROWS), target="bought").load()
    assert all((split.x[:, 0] == 0).all() for split in parts(data))


def test_without_numeric_columns_there_is_no_augmentation(write: Write) -> None:
    """Its strength is no gene then; else noise comes on numeric columns only."""
    file = write(age=None, income=None)
    data = Table(file=file, target="bought").load()
    assert (data.spec.ineffective, data.augment) == (("augment",), None)
    mixed = Table(file=write(), target="bought").load()
    x = parts(mixed)[0].x
    assert mixed.augment is not None
    changed = mixed.augment(x, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(changed[:, 2:], x[:, 2:])
    assert (changed[:, :2] != x[:, :2]).all()


def test_rows_with_missing_values_are_dropped_if_wished(write: Write) -> None:
    """And counted in the card; a missing value in an ignored column is none."""
    file = write(age=[None, float("nan"), float("inf"), *range(3, ROWS)])
    data = Table(file=file, target="bought", missing="drop").load()
    assert sum(len(split) for split in parts(data)) == ROWS - 3
    assert data.preprocessing["input"]["dropped_rows"] == 3
    assert len(Table(file=file, target="bought", ignore=["age"]).load().test) == 12


def test_blanks_around_values_are_no_part_of_them(tmp_path: Path) -> None:
    """After commas, as many people write them; numbers stay numbers and missing values are missing."""
    file = tmp_path / "t.csv"
    rows = [f"{at}, {at}.5 , {('red', 'blue ')[at % 2]}, {('no', 'yes')[at % 3 == 0]}" for at in range(30)]
    file.write_text("\n".join(["a, b,c , y", *rows]) + "\n")
    data = Table(file=file, target="y").load()
    assert list(data.preprocessing["input"]["numeric"]) == ["a", "b"]
    assert data.preprocessing["input"]["categorical"] == {"c": ["blue", "red"]}
    file.write_text("\n".join(["a, b,c , y", *rows, "1, NA, , yes"]) + "\n")
    with pytest.raises(UsageError, match=r"in 1 of 31 rows \('b' in 1, 'c' in 1\)"):
        Table(file=file, target="y").load()


def test_numbers_with_a_word_among_them_are_not_taken_for_categories(write: Write) -> None:
    """The row is named; listed as categorical they are what they are said to be; a few steps are categories."""
    values = [*range(ROWS - 2), "?", "12o"]
    file = write(size=[str(value) for value in values])
    with pytest.raises(UsageError, match=r"'size' is of numbers but for 2 rows, such as '\?' in row 59: leave them"):
        Table(file=file, target="bought").load()
    assert Table(file=file, target="bought", categorical=["size"]).load().spec.categories[2] > 30
    steps = Table(file=write(size=["1", "2", "3+"] * (ROWS // 3)), target="bought").load()
    assert steps.preprocessing["input"]["categorical"]["size"] == ["1", "2", "3+"]


MANY = [f"v{at}" for at in range(ROWS)]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing values": (
        {"age": [None, None, *range(2, ROWS)], "town": ["NA", *["x"] * (ROWS - 1)]},
        {},
        r"missing or infinite values in 2 of 60 rows \('age' in 2, 'town' in 1\): fill them in",
    ),
    "only missing values": ({"age": [None] * ROWS}, {"missing": "drop"}, "needs at least 3 examples.* it has 0"),
    "constant target": ({"bought": ["no"] * ROWS}, {}, "target 'bought' is 'no' in all 60 rows"),
    "constant number": ({"income": [1.5] * ROWS}, {"target": "income"}, "target 'income' is 1.5 in all 60 rows"),
    "class with one example": (
        {"bought": ["maybe", *["no", "yes"] * 29, "no"]},
        {},
        "each class of target 'bought' needs at least 3 examples, .*: 'maybe' has 1; add",
    ),
    "few whole numbers": (
        {"bought": [10, *[1, 2] * 29, 1]},
        {},
        r"target 'bought' \(up to 20 whole numbers are classes unless its kind is 'number'\) needs .*: '10' has 1",
    ),
    "a class for each row": ({"bought": MANY}, {}, r"'v0' has 1, .* and 55 more; add"),
    "unknown target": ({}, {"target": "bougth"}, "unknown column of .*table.csv 'bougth': did you mean 'bought'"),
    "unknown category": ({}, {"categorical": ["twon"]}, "did you mean 'town'"),
    "unknown ignored": ({}, {"ignore": ["agee"]}, "did you mean 'age'"),
    "text as a number": ({}, {"target": "town", "kind": "number"}, "of kind 'number', and the column holds String"),
    "nothing to tell it from": (
        {},
        {"ignore": ["age", "town", "income", "member"]},
        "needs a column besides its targets and what is ignored",
    ),
    "few rows": ({"age": [1, None, *[None] * (ROWS - 2)]}, {"missing": "drop"}, "needs at least 3 examples.* it has 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_table_is_refused_in_one_sentence(write: Write, case: str) -> None:
    """With the columns, the rows and what to do."""
    columns, fields, message = CASES[case]
    with pytest.raises(UsageError, match=message) as refusal:
        Table(file=write(**columns), **{"target": "bought", **fields}).load()
    assert "\n" not in str(refusal.value)


def test_columns_of_other_types_are_refused(write: Write) -> None:
    """Dates are neither numbers nor categories."""
    days = [datetime(2020, 1, 1, tzinfo=UTC)] * ROWS
    with pytest.raises(UsageError, match="'day' holds Datetime"):
        Table(file=write("parquet", day=days), target="bought").load()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"a,y\n", "has no rows under its header a, y"),
        ("t.csv", b"a,y\n1,2\n1,2,3\n", r"t.csv cannot be read \("),
        ("t.csv", b'a,y\n1,"2\n1,2\n', r"t.csv cannot be read \("),
        ("t.csv", b"a,y\n1,M\xfcller\n", r"byte 7 \(from 0\) of .*t.csv is 0xfc, which is not"),
        ("t.csv", b"a,y\n1,1\n2,0\n", "needs at least 3 examples, .* it has 2"),
        ("t.parquet", b"", "t.parquet is empty"),
        ("t.parquet", b"PAR1 no table at all", r"t.parquet cannot be read \("),
        ("t.xlsx", b"PK", "a table is a .csv or .parquet file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Empty, ragged, of another encoding or another format."""
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as refusal:
        Table(file=file, target="y").load()
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By load and by key."""
    task = Table(file=tmp_path / "t.csv", target="y")
    with pytest.raises(UsageError, match="there is no file"):
        task.load()
    with pytest.raises(UsageError, match="there is no file"):
        _ = task.key
