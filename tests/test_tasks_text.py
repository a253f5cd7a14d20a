"""Text to classify and text to go on with: tokens, windows, and what is refused."""

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from helpers import parts

from paretonas.errors import UsageError
from paretonas.objectives import TextFile, TextTable

WORDS = ("good", "bad", "fine", "poor", "sehr schön", "naïve")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Forty texts of two labels."""
    lines = [f'"{WORDS[at % 6]} film, number {at}",{("up", "down")[at % 2]}' for at in range(40)]
    file = tmp_path / "reviews.csv"
    file.write_text("\n".join(["review,stars", *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A thousand numbered lines, so that each place can be told."""
    file = tmp_path / "book.txt"
    file.write_text("".join(f"line {at} of a löng book\n" for at in range(1000)), encoding="utf-8")
    return file


def test_texts_become_bytes_with_padding(reviews: Path) -> None:
    """Ids are bytes and 1; shorter texts end in zeros, longer ones are cut; there is no augmentation."""
    data = TextTable(file=reviews, text="review", label="stars", length=22).load()
    assert (data.spec.input_shape, data.spec.vocabulary, data.spec.per_position) == ((22,), 257, False)
    assert data.spec.ineffective == ("augment",)
    assert data.targets[0].names == ("down", "up")
    assert [len(y) for _, y in parts(data)] == [24, 8, 8]
    texts = {}
    for x, y in parts(data):
        assert (x.dtype, y.dtype) == (torch.int64, torch.int64)
        assert y.float().mean() == 0.5
        for row, label in zip(x, y.tolist(), strict=True):
            text = bytes((row[row > 0] - 1).tolist()).decode(errors="ignore")
            texts[text] = label
    assert texts["good film, number 0"] == 1
    assert texts["bad film, number 1"] == 0
    assert texts["sehr schön film, numb"] == 1


def test_bpe_learns_from_the_train_split_only(reviews: Path) -> None:
    """Other words in rows that are not trained on change neither the tokenizer nor the train split."""
    task = TextTable(file=reviews, text="review", label="stars", tokenizer="bpe", vocabulary=400)
    before = task.load()
    header, *lines = reviews.read_text(encoding="utf-8").splitlines()
    train = {tuple(row) for row in parts(before)[0][0].tolist()}
    model = before.preprocessing["input"]["model"]
    changed = [
        line if tuple(_encoded(model, line.split('"')[1], 128)) in train else f'"zq zq zq zq",{line.split(",")[-1]}'
        for line in lines
    ]
    assert sum(line.startswith('"zq') for line in changed) == 16
    reviews.write_text("\n".join([header, *changed]) + "\n", encoding="utf-8")
    after = TextTable(file=reviews, text="review", label="stars", tokenizer="bpe", vocabulary=400).load()
    assert after.preprocessing == before.preprocessing
    assert torch.equal(parts(after)[0][0], parts(before)[0][0])
    assert _encoded(model, "zq zq zq zq", 128) in parts(after)[2][0].tolist()


def test_bpe_has_no_more_ids_than_asked_for(reviews: Path) -> None:
    """The bytes, the padding, and the pairs that were found; all ids are below the vocabulary of the spec."""
    spec = TextTable(file=reviews, text="review", label="stars", tokenizer="bpe", vocabulary=300).load().spec
    assert spec.vocabulary == 300
    few = TextTable(file=reviews, text="review", label="stars", tokenizer="bpe", vocabulary=10_000).load()
    assert few.spec.vocabulary is not None
    assert 300 < few.spec.vocabulary < 1000
    assert max(int(x.max()) for x, _ in parts(few)) < few.spec.vocabulary


def _encoded(model: object, text: str, length: int) -> list[int]:
    """The padded ids that the tokenizer of the card gives."""
    from tokenizers import Tokenizer

    ids = [value + 1 for value in Tokenizer.from_str(json.dumps(model)).encode(text).ids]
    return ids[:length] + [0] * (length - len(ids))


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_a_text_file_is_windows_one_token_apart(book: Path, tokenizer: Literal["bytes", "bpe"]) -> None:
    """Y is x one position later, in windows one after the other; both lie in one memory."""
    data = TextFile(file=book, length=32, tokenizer=tokenizer, vocabulary=300).load()
    assert (data.spec.input_shape, data.spec.per_position) == ((32,), True)
    assert data.spec.vocabulary == (256 if tokenizer == "bytes" else 300)
    assert [(head.name, head.outputs) for head in data.spec.heads] == [("head", data.spec.vocabulary)]
    assert data.targets[0].kind == "tokens"
    assert data.spec.ineffective == ("augment",)
    for x, y in parts(data):
        assert x.shape == y.shape == (len(x), 32)
        assert x.dtype == torch.int64
        assert torch.equal(x.flatten()[1:], y.flatten()[:-1])
        assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


def test_a_text_file_is_split_by_position(book: Path) -> None:
    """The first 80 % of the characters to train on, then validation, then test; nothing is lost but the ends."""
    data = TextFile(file=book, length=32).load()
    texts = [bytes(x.flatten().tolist()).decode() for x, _ in parts(data)]
    whole = book.read_text(encoding="utf-8")
    places = [whole.index(text) for text in texts]
    assert places == [0, round(len(whole) * 0.8), round(len(whole) * 0.9)]
    for text, share in zip(texts, (0.8, 0.1, 0.1), strict=True):
        assert share * len(whole) - 34 < len(text) <= share * len(whole)


def test_bpe_of_a_text_file_learns_from_its_beginning(book: Path) -> None:
    """Another end gives the same tokenizer, and any text is kept to the byte."""
    before = TextFile(file=book, tokenizer="bpe", vocabulary=400).load()
    text = book.read_text(encoding="utf-8")
    cut = round(len(text) * 0.8)
    book.write_text(text[:cut] + ("qz[PAD]ß" * len(text))[: len(text) - cut], encoding="utf-8")
    after = TextFile(file=book, tokenizer="bpe", vocabulary=400).load()
    assert after.preprocessing == before.preprocessing
    from tokenizers import Tokenizer

    model = Tokenizer.from_str(json.dumps(after.preprocessing["input"]["model"]))
    assert "qz[PAD]ßqz[PAD]ß" in model.decode(parts(after)[2][0].flatten().tolist())


TABLE_CASES = {
    "not UTF-8": (b"review,stars\ngr\xfcn,up\n", {}, r"byte 15 \(from 0\) of .*reviews.csv is 0xfc"),
    "empty": (b"", {}, "reviews.csv is empty"),
    "only a header": (b"review,stars\n", {}, "has no rows under its header review, stars"),
    "unknown text": (b"review,stars\na,up\n", {"text": "reviw"}, "did you mean 'review'"),
    "unknown label": (b"review,stars\na,up\n", {"label": "star"}, "did you mean 'stars'"),
    "no text": (b"review,stars\na,up\n,up\nc,\n", {}, r"missing in 2 of 3 rows \(row 2, 3 under the header\)"),
    "one label": (b"review,stars\n" + b"a,up\n" * 9, {}, "at least 2 classes, there is up"),
    "one of a label": (b"review,stars\n" + b"a,up\n" * 9 + b"b,down\n", {}, "'down' has 1; add"),
}


@pytest.mark.parametrize("case", TABLE_CASES)
def test_a_bad_table_of_texts_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    """With the place and what to do."""
    content, fields, message = TABLE_CASES[case]
    file = tmp_path / "reviews.csv"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as refusal:
        TextTable(**{"file": file, "text": "review", "label": "stars", **fields}).load()  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "book.txt is empty"),
        (b"good \xff text", r"byte 5 \(from 0\) of .*book.txt is 0xff, which is not: save the file as UTF-8"),
        (b"cut off \xc3", r"byte 8 \(from 0\)"),
        (b"too short", "each split needs at least 65 tokens, one of .*book.txt has"),
        (b"x", "each split needs at least 65 tokens"),
    ],
)
def test_a_bad_text_file_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, message: str, tokenizer: Literal["bytes", "bpe"]
) -> None:
    """With the byte's place, or how much is needed."""
    file = tmp_path / "book.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as refusal:
        TextFile(file=file, tokenizer=tokenizer).load()
    assert "\n" not in str(refusal.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """And a missing file is none either."""
    for file in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(UsageError, match="there is no file"):
            TextFile(file=file).load()
