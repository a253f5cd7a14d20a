"""Text: a table of texts and labels to classify, and a plain file for language modelling."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError, one_of
from .base import HEAD, Data, DividedTask, Target, Task, make_data
from .columns import read_csv
from .fields import check_least
from .files import decoded, file_bytes, file_fingerprint
from .splits import Split, check_classes, divide, shortened
from .tokens import check_vocabulary, make_tokenizer

HELD_OUT = 0.1  # of a text file for validation, and for test
LINES = 10_000  # that are made into tokens at once


@dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """A file of text as tokens. length: of an example. tokenizer, vocabulary: see ``make_tokenizer``."""

    file: str | Path
    length: int
    tokenizer: Literal["bytes", "bpe"] = "bytes"
    vocabulary: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, self.where, length=1)
        check_vocabulary(self.where, self.tokenizer, self.vocabulary)

    def fingerprint(self) -> str:
        return file_fingerprint(self.file)


@dataclass(frozen=True, kw_only=True)
class TextTable(TextTask, DividedTask):
    """A CSV file with a column of text and one of labels.

    length: tokens of an example; longer texts are cut, shorter ones filled up with id 0. tokenizer: ``bytes``, or
    ``bpe``, learned from the train split, with up to ``vocabulary`` ids.
    """

    name: ClassVar[str] = "text_table"
    text: str
    label: str
    length: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text == self.label:
            raise UsageError(f"text and label of {self.where} are two columns, {self.text!r} was given for both")

    def load(self) -> Data:
        texts, words = self._read()
        names = tuple(sorted(set(words)))
        code_of = {name: code for code, name in enumerate(names)}
        y = torch.tensor([code_of[word] for word in words])
        check_classes(y, names, f"column {self.label!r} of {self.file}")
        parts = divide(y, self.shares, seed=self.seed)
        train = [texts[row] for row in parts[0].tolist()]
        tokenizer = make_tokenizer(self.tokenizer, self.vocabulary, train, padding=True)
        x = self._padded(tokenizer.encode(texts))
        return make_data(
            (self.length,),
            [Target(HEAD, "classes", names=names)],
            [Split(x[rows], y[rows]) for rows in parts],
            done={"kind": "tokens", "length": self.length, "padding": 0, **tokenizer.done},
            vocabulary=tokenizer.vocabulary,
        )

    def _read(self) -> tuple[list[str], list[str]]:
        """Texts and labels, none of them empty."""
        frame = read_csv(self.file, typed=False)
        for column in (self.text, self.label):
            one_of(f"column of {self.file}", column, frame.columns)
        texts, words = frame[self.text].to_list(), frame[self.label].to_list()
        gaps = [str(row) for row, pair in enumerate(zip(texts, words, strict=True), start=1) if not all(pair)]
        if gaps:
            raise UsageError(
                f"each row of {self.file} needs a {self.text} and a {self.label}, one is missing in {len(gaps)} of "
                f"{len(texts)} rows (row {shortened(gaps)} under the header): fill them in or remove the rows"
            )
        return texts, words

    def _padded(self, encoded: list[Tensor]) -> Tensor:
        x = torch.zeros((len(encoded), self.length), dtype=torch.int64)
        for row, ids in zip(x, encoded, strict=True):
            row[: len(ids)] = ids[: self.length]
        return x


@dataclass(frozen=True, kw_only=True)
class TextFile(TextTask):
    """A plain text file, of which the next token is to be told at each position.

    The first 80 % of the characters are the train split, then come validation and test. length: tokens of an example.
    tokenizer: ``bytes``, or ``bpe``, learned from the train split, with up to ``vocabulary`` ids.
    """

    name: ClassVar[str] = "text_file"
    length: int = 64

    def load(self) -> Data:
        text = decoded(file_bytes(self.file), self.file)
        first, second = (round(len(text) * (1 - share)) for share in (2 * HELD_OUT, HELD_OUT))
        parts = [part.splitlines(keepends=True) for part in (text[:first], text[first:second], text[second:])]
        tokenizer = make_tokenizer(self.tokenizer, self.vocabulary, parts[0], padding=False)
        ids = [
            [torch.cat(tokenizer.encode(lines[at : at + LINES])) for at in range(0, len(lines), LINES)]
            for lines in parts
        ]
        return make_data(
            (self.length,),
            [Target(HEAD, "tokens")],
            [self._windows(torch.cat([torch.zeros(0, dtype=torch.int64), *part])) for part in ids],
            done={"kind": "tokens", "length": self.length, **tokenizer.done},
            vocabulary=tokenizer.vocabulary,
        )

    def _windows(self, ids: Tensor) -> Split:
        """Windows of ``length`` tokens one after the other, y one token later than x; both are views of one memory."""
        count = (len(ids) - 1) // self.length
        if count < 1:
            raise UsageError(
                f"each split needs at least {self.length + 1} tokens, one of {self.file} has {len(ids)}: give more "
                "text, or a smaller length"
            )
        used = count * self.length
        return Split(ids[:used].view(count, self.length), ids[1 : used + 1].view(count, self.length))
