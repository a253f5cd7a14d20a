"""Plain features of candidates as columns of numbers, which a model can learn from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Features = Mapping[str, float | str | bool]  # conditional: a name that is absent has no meaning for this candidate
Matrix = NDArray[np.float64]
MOST_WORDS = 32  # of one feature; a rarer word is no word
ABSENT = float("nan")


@dataclass(frozen=True)
class Inputs:
    """Numbers (rows, columns), each column standardised, and the feature (columns,) that each belongs to, in order."""

    columns: Matrix
    of: NDArray[np.intp]

    def rows(self, chosen: "NDArray[np.bool_] | NDArray[np.intp] | slice") -> "Inputs":
        """Some of the rows."""
        return Inputs(self.columns[chosen], self.of)


def encode(rows: Sequence[Features], numbers: Matrix) -> Inputs:
    """Features as columns, with columns of numbers that are known of each row, as costs are (rows, columns).

    Words are one-hot and, if all are numerals, numbers too; an absent number is the median of those there are, and
    said by a column of its own; how often a word occurs is told of features that share a list of words.
    """
    names = sorted(set[str]().union(*rows))
    values = list(zip(*(map(row.get, names, repeat(ABSENT)) for row in rows), strict=True))  # by name
    worded = [str in set(map(type, column)) for column in values]
    plain = iter(_numeric(np.array([c for c, words in zip(values, worded, strict=True) if not words], dtype=float)))
    groups: list[Sequence[Matrix]] = [[column] for column in numbers.T]
    alphabets: dict[tuple[str, ...], list[Matrix]] = {}
    for column, words in zip(values, worded, strict=True):
        if words:
            alphabet, hot = _one_hot([None if value is ABSENT else value for value in column])
            alphabets.setdefault(alphabet, []).append(hot)
            groups.append([*hot.T, *_numerals(alphabet, hot)])
        else:
            groups.append(next(plain))
    groups += [list(sum(shared[1:], start=shared[0]).T) for shared in alphabets.values() if len(shared) > 1]
    return _standardised(groups, len(rows))


def _standardised(groups: Sequence[Sequence[Matrix]], rows: int) -> Inputs:
    """Of columns (rows,) in groups, those that vary, each with mean 0 and deviation 1."""
    columns = np.array([column for group in groups for column in group], dtype=float).reshape(-1, rows)
    of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    spread = columns.std(1) if rows else np.zeros(len(columns))
    kept = (np.ptp(columns, axis=1) > 0) & (spread > 0) if rows else spread > 0
    columns = (columns[kept] - columns[kept].mean(1, keepdims=True)) / spread[kept, None] if kept.any() else columns[:0]
    return Inputs(np.ascontiguousarray(columns.T), np.unique(of[kept], return_inverse=True)[1])


def _one_hot(values: Sequence[object]) -> tuple[tuple[str, ...], Matrix]:
    """The words, at most MOST_WORDS, and which of them each row has: (rows, words)."""
    counts = {str(value): count for value, count in Counter(values).items() if value is not None}
    words = tuple(sorted(sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]))
    place = {word: index for index, word in enumerate(words)}
    at = {value: place.get(str(value), -1) if value is not None else -1 for value in set(values)}
    which = np.array([at[value] for value in values])
    return words, (which[:, None] == np.arange(len(words))).astype(float)


def _numerals(words: Sequence[str], hot: Matrix) -> Sequence[Matrix]:
    """The numbers that words are, as a column; none if one is no number."""
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return []
    return _numeric(np.where(hot.any(1), hot @ numbers, np.nan)[None])[0] if np.isfinite(numbers).all() else []


def _numeric(columns: Matrix) -> list[list[Matrix]]:
    """Of each feature (features, rows) a column of numbers, in logarithms if they span a decade, and one of absence.

    None of a feature without a finite number.
    """
    if not columns.size:
        return [[] for _ in columns]
    finite, absent = np.isfinite(columns), np.isnan(columns)
    there: NDArray[np.bool_] = np.any(finite, axis=1)
    low = np.where(finite, columns, np.inf).min(1, keepdims=True)
    high = np.where(finite, columns, -np.inf).max(1, keepdims=True)
    for feature in np.flatnonzero(absent.any(1) & there):
        columns[feature, absent[feature]] = np.median(columns[feature, finite[feature]])
    columns = np.clip(columns, low, high)
    wide = there & (low > 0)[:, 0] & (high >= 10 * low)[:, 0]
    columns[wide] = np.log(columns[wide])
    return [
        [] if not has_any else [column, missing.astype(float)] if missing.any() else [column]
        for column, missing, has_any in zip(columns, absent, there, strict=True)
    ]
