"""Text to token ids: bytes, or byte pairs learned from the train split."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UsageError
from ...spaces.architecture import Json


@dataclass(frozen=True)
class Tokenizer:
    """encode: the ids of each text, (L,) int64. vocabulary: ids are below it. done: all of it as JSON, for the card."""

    encode: Callable[[Sequence[str]], list[Tensor]]
    vocabulary: int
    done: Json


def make_tokenizer(kind: str, vocabulary: int, texts: Sequence[str], *, padding: bool) -> Tokenizer:
    """``bytes`` or ``bpe``. texts: of the train split. padding: id 0 is kept for it, and all others are one higher."""
    offset = int(padding)
    return _bytes(offset) if kind == "bytes" else _bpe(texts, vocabulary, offset)


def check_vocabulary(where: str, kind: str, vocabulary: int) -> None:
    """UsageError if byte pairs have no place beside the 256 bytes and the padding."""
    if kind == "bpe" and vocabulary < 258:
        raise UsageError(
            f"vocabulary of {where} must be at least 258, for the 256 bytes, the padding and a pair, {vocabulary} was "
            "given: give a larger one, or tokenizer 'bytes'"
        )


def _bytes(offset: int) -> Tokenizer:
    """The bytes of UTF-8 as ids."""

    def encode(texts: Sequence[str]) -> list[Tensor]:
        read = (torch.tensor(bytearray(text.encode()), dtype=torch.uint8) for text in texts)
        return [ids.to(torch.int64) + offset for ids in read]

    return Tokenizer(encode, 256 + offset, {"tokenizer": "bytes", "offset": offset})


def _bpe(texts: Sequence[str], vocabulary: int, offset: int) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) over bytes, so that any text is kept to the byte.

    There are fewer ids than asked for if the texts have no more pairs.
    """
    from tokenizers import Tokenizer as Model
    from tokenizers import decoders, models, pre_tokenizers, trainers

    model = Model(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - offset, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(texts, trainer)

    def encode(some: Sequence[str]) -> list[Tensor]:
        return [torch.tensor(found.ids, dtype=torch.int64) + offset for found in model.encode_batch_fast(list(some))]

    done = {"tokenizer": "bpe", "offset": offset, "model": json.loads(model.to_str())}
    return Tokenizer(encode, model.get_vocab_size() + offset, done)
