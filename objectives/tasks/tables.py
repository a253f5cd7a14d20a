"""A table from a CSV or Parquet file, with one or several target columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError, one_of
from .augment import augment_rows
from .base import Data, DividedTask, Target, head_names, make_data
from .columns import Answer, categorical_codes, check_text, numeric_values, read_answer, read_table
from .fields import Names, as_names
from .files import file_fingerprint
from .splits import Labels, Split, check_in_train, check_rows, divide, shortened, strata_of

if TYPE_CHECKING:
    import polars as pl

KINDS = ("auto", "classes", "number")


@dataclass(frozen=True, kw_only=True)
class Table(DividedTask):
    """Rows of numbers and categories, from which one or several columns are to be told.

    file: .csv or .parquet. target: the column, or a list of them. kind: what it is, or a list of as many words; auto
    takes text, true/false and up to 20 different whole numbers for classes. missing: refuse or drop the rows where a
    value is missing. categorical: columns of numbers that stand for categories; text and true/false are so anyway.
    ignore: columns that are left out, such as row numbers.
    """

    name: ClassVar[str] = "table"
    file: str | Path
    target: Names
    kind: Names = "auto"
    missing: Literal["refuse", "drop"] = "refuse"
    categorical: Sequence[str] = ()
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for word in as_names(self.kind):
            one_of(f"kind of {self.where}", word, KINDS)
        if not isinstance(self.kind, str) and len(self.kind) != len(self.targets):
            raise UsageError(
                f"the kinds of {self.where} are one word, or one for each target: {len(self.kind)} was given for "
                f"{len(self.targets)}"
            )
        used = [*self.targets, *self.categorical, *self.ignore]
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise UsageError(
                f"a column of {self.where} is named once, under target, categorical or ignore: {', '.join(twice)} is "
                "named more often"
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return as_names(self.target)

    def fingerprint(self) -> str:
        return file_fingerprint(self.file)

    def load(self) -> Data:
        frame, dropped = self._complete(self._read())
        check_rows(len(frame), str(self.file))
        kinds = as_names(self.kind) * (len(self.targets) if isinstance(self.kind, str) else 1)
        answers = [
            read_answer(frame[column], head, kind)
            for column, head, kind in zip(self.targets, head_names(self.targets), kinds, strict=True)
        ]
        labels = [answer.values for answer in answers if answer.names]
        parts = divide(strata_of(labels, len(frame), parts=3), self.shares, seed=self.seed)
        for answer in answers:
            if answer.names:
                check_in_train(answer.values[parts[0]], answer.names, f"target {answer.column!r}")
        return self._data(frame, answers, parts, dropped)

    def _read(self) -> "pl.DataFrame":
        """The columns that are used, in the order of the file."""
        frame = read_table(self.file)
        for name in (*self.targets, *self.categorical, *self.ignore):
            one_of(f"column of {self.file}", name, frame.columns)
        frame = frame.drop(self.ignore)
        for series in frame.drop(self.categorical):
            check_text(series)
        return frame

    def _complete(self, frame: "pl.DataFrame") -> tuple["pl.DataFrame", int]:
        """The rows without a missing value, and how many others there were."""
        whole = frame.drop_nulls()
        dropped = len(frame) - len(whole)
        if dropped and self.missing == "refuse":
            gaps = [f"{name!r} in {count}" for name, count in frame.null_count().row(0, named=True).items() if count]
            raise UsageError(
                f"{self.file} has missing or infinite values in {dropped} of {len(frame)} rows ({shortened(gaps)}): "
                "fill them in, ignore the columns, or give missing = 'drop'"
            )
        return whole, dropped

    def _data(self, frame: "pl.DataFrame", answers: list[Answer], parts: list[Tensor], dropped: int) -> Data:
        """The examples: numeric columns standardised, then category codes, by what the train rows have."""
        features = [name for name in frame.columns if name not in self.targets]
        if not features:
            raise UsageError(f"{self.file} needs a column besides its targets and what is ignored: there is none")
        coded = [name for name in features if name in self.categorical or not frame[name].dtype.is_numeric()]
        plain = [name for name in features if name not in coded]
        numbers, scaling = numeric_values(frame, plain, parts[0])
        codes, vocabularies = categorical_codes(frame, coded, parts[0])
        x = torch.cat([numbers, codes], 1)
        settled = [answer.settle(parts[0]) for answer in answers]
        splits = [Split(x[rows], _labels(settled, rows)) for rows in parts]
        return make_data(
            (len(features),),
            [target for target, _ in settled],
            splits,
            done={"kind": "row", "numeric": scaling, "categorical": vocabularies, "dropped_rows": dropped},
            augment=partial(augment_rows, numeric=len(plain)) if plain else None,
            categories=tuple(len(values) + 1 for values in vocabularies.values()),
        )


def _labels(settled: list[tuple[Target, Tensor]], rows: Tensor) -> Labels:
    labels = {target.head: values[rows] for target, values in settled}
    return labels if len(labels) > 1 else next(iter(labels.values()))
