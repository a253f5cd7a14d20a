"""The columns of a table as tensors, by statistics of the train rows only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UsageError
from ...spaces.architecture import Json
from .base import Target
from .files import decoded, file_bytes
from .splits import check_classes, shortened

if TYPE_CHECKING:
    import polars as pl

NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"]
MOST_CLASSES = 20  # different whole numbers that ``auto`` takes for classes


def read_csv(file: str | Path, *, typed: bool) -> "pl.DataFrame":
    """A CSV file, UTF-8, with a header. typed: tell numbers, true/false and missing values from text.

    UsageError says why it cannot be read.
    """
    import polars as pl

    content = file_bytes(file)
    decoded(content, file)
    try:
        if typed:
            frame = _tidied(pl.read_csv(BytesIO(content), infer_schema_length=None, null_values=NULLS))
        else:
            frame = pl.read_csv(BytesIO(content), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(file, error) from error
    return _not_empty(frame, file)


def read_table(file: str | Path) -> "pl.DataFrame":
    """A CSV or Parquet file, by its ending; whatever is missing or no finite number is null."""
    import polars as pl

    suffix = Path(file).suffix.lower()
    if suffix == ".csv":
        frame = read_csv(file, typed=True)
    elif suffix in (".parquet", ".pq"):
        try:
            frame = _not_empty(pl.read_parquet(BytesIO(file_bytes(file))), file)
        except pl.exceptions.PolarsError as error:
            raise _unreadable(file, error) from error
    else:
        raise UsageError(f"a table is a .csv or .parquet file, {file} was given: save it as one of them")
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    return frame.with_columns(
        *(pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in floats),
        pl.col(pl.Categorical, pl.Enum).cast(pl.String),
    )


def _tidied(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Names and text without blanks around them, as in ``a, 1, x``; what is left of them may be missing or a number."""
    import polars as pl

    columns = []
    for series in frame:
        name = series.name.strip()
        if series.dtype == pl.String:
            text = series.str.strip_chars()
            text = text.set(text.is_in(NULLS), None)
            numbers = text.cast(float, strict=False)
            columns.append((numbers if numbers.null_count() == text.null_count() < len(text) else text).alias(name))
        else:
            columns.append(series.alias(name))
    return pl.DataFrame(columns)


def check_text(series: "pl.Series") -> None:
    """UsageError for a column of text that looks like numbers with something else among them."""
    import polars as pl

    if series.dtype != pl.String or series.n_unique() <= MOST_CLASSES:
        return
    others = series.is_not_null() & series.cast(float, strict=False).is_null()
    if others.sum() < len(series) / 2:
        row = int(others.arg_max() or 0)
        raise UsageError(
            f"column {series.name!r} is of numbers but for {int(others.sum())} rows, such as {series[row]!r} in row "
            f"{row + 1}: leave them empty if they are missing, or list the column under categorical or ignore"
        )


def _unreadable(file: str | Path, error: Exception) -> UsageError:
    text = str(error).split("\n", maxsplit=1)[0]
    return UsageError(f"the table {file} cannot be read ({text}): look at its header, quotes and numbers of fields")


def _not_empty(frame: "pl.DataFrame", file: str | Path) -> "pl.DataFrame":
    if not len(frame):
        raise UsageError(f"the table {file} has no rows under its header {', '.join(frame.columns)}: add examples")
    return frame


@dataclass(frozen=True)
class Answer:
    """A target column before the split. values: (N,), classes int64, or numbers float64 where there are no names."""

    column: str
    head: str
    values: Tensor
    names: tuple[str, ...]

    def settle(self, train: Tensor) -> tuple[Target, Tensor]:
        """The target, and its y for all rows; numbers are standardised by the train rows."""
        if self.names:
            return Target(self.head, "classes", names=self.names), self.values
        mean, std = _mean_std(self.values[train], f"target {self.head!r}")
        return Target(self.head, "number", mean, std), ((self.values - mean) / std).to(torch.float32)


def read_answer(series: "pl.Series", head: str, kind: str) -> Answer:
    """A target column. kind: classes, number, or auto. UsageError if it is constant or of another kind."""
    import polars as pl

    where, column = f"target {series.name!r}", series.name
    _check_dtype(series)
    if kind == "auto" and series.dtype.is_numeric():
        told = f"{where} (up to {MOST_CLASSES} whole numbers are classes unless its kind is 'number')"
    else:
        told = where
    if series.n_unique() == 1:
        raise UsageError(
            f"{where} is {series[0]!r} in all {len(series)} rows: there is nothing to tell, choose another"
        )
    if kind == "classes" or (kind == "auto" and _looks_like_classes(series)):
        distinct = series.unique().sort()
        names = tuple(distinct.cast(pl.String).to_list())
        code_of = {value: code for code, value in enumerate(distinct.to_list())}
        codes = torch.tensor([code_of[value] for value in series.to_list()])
        check_classes(codes, names, told)
        return Answer(column, head, codes, names)
    if not series.dtype.is_numeric():
        raise UsageError(f"{where} is of kind 'number', and the column holds {_words(series)}: choose kind 'classes'")
    return Answer(column, head, _floats(series), ())


def _looks_like_classes(series: "pl.Series") -> bool:
    if not series.dtype.is_numeric():
        return True
    return series.n_unique() <= MOST_CLASSES and bool((series.cast(float) % 1 == 0).all())


def numeric_values(frame: "pl.DataFrame", names: Sequence[str], train: Tensor) -> tuple[Tensor, Json]:
    """The columns, standardised, (N, len(names)) float32; and mean and std of the train rows, by column."""
    scaling: Json = {}
    columns = [torch.empty((len(frame), 0))]
    for name in names:
        values = _floats(frame[name])
        mean, std = _mean_std(values[train], f"column {name!r}")
        scaling[name] = {"mean": mean, "std": std}
        columns.append(((values - mean) / std).to(torch.float32).unsqueeze(1))
    return torch.cat(columns, 1), scaling


def categorical_codes(frame: "pl.DataFrame", names: Sequence[str], train: Tensor) -> tuple[Tensor, Json]:
    """The columns as codes, (N, len(names)) float32: 1 is the first of the train rows' values, 0 any other value.

    Also these values in order, by column.
    """
    import polars as pl

    vocabularies: Json = {}
    columns = [torch.empty((len(frame), 0))]
    for name in names:
        _check_dtype(frame[name])
        words = frame[name].cast(pl.String).to_list()
        vocabularies[name] = sorted({words[row] for row in train.tolist()})
        codes = {word: code for code, word in enumerate(vocabularies[name], start=1)}
        columns.append(torch.tensor([codes.get(word, 0) for word in words], dtype=torch.float32).unsqueeze(1))
    return torch.cat(columns, 1), vocabularies


def _floats(series: "pl.Series") -> Tensor:
    return torch.tensor(series.cast(float).to_numpy(), dtype=torch.float64)


def _mean_std(values: Tensor, where: str) -> tuple[float, float]:
    """Of the train rows; the standard deviation of equal values counts as 1."""
    mean, std = values.mean().item(), values.std(correction=0).item() or 1.0
    if not (math.isfinite(mean) and math.isfinite(std)):
        raise UsageError(f"the numbers of {where} are too large for their mean and spread: rescale them")
    return mean, std


def _check_dtype(series: "pl.Series") -> None:
    import polars as pl

    known = series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean)
    if not known:
        raise UsageError(
            f"columns hold numbers, text or true/false, {series.name!r} holds {_words(series)}: convert or ignore it"
        )


def _words(series: "pl.Series") -> str:
    return f"{series.dtype} such as {shortened([repr(value) for value in series.unique().sort()[:2]])}"
