"""Blocks for sequences of vectors, (N, L, width), as transformers have them."""

import torch
from torch import nn

from .common import make_activation

SEQUENCE_NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": nn.Identity}


def embedding_weights(count: int, width: int) -> torch.Tensor:
    """Vectors to begin with: normal numbers of spread 1 / sqrt(width), cut at twice that: (count, width).

    So scores that are tied to them begin on the scale of a linear layer's.
    """
    spread = width**-0.5
    return nn.init.trunc_normal_(torch.empty(count, width), std=spread, a=-2 * spread, b=2 * spread)


class LearnedPositions(nn.Module):
    """Add a learned vector for each position (Gehring et al. 2017): (N, L, width), L up to ``length``."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(embedding_weights(length, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight[: x.shape[1]]


class SinusoidalPositions(nn.Module):
    """Add waves of the position (Vaswani et al. 2017, section 3.5): (N, L, width), L up to ``length``.

    Divided by sqrt(width), so that they stand to the embeddings as there, where these are multiplied by it.
    """

    table: torch.Tensor  # made on the CPU, so that it is one and the same on all devices

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        position, number = torch.arange(length, device="cpu")[:, None], torch.arange(width, device="cpu")
        angle = position / 10000 ** ((number - number % 2) / width)
        waves = torch.where(number % 2 == 0, angle.sin(), angle.cos()) / width**0.5
        self.register_buffer("table", waves.to(torch.get_default_device()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table[: x.shape[1]]


POSITIONS: dict[str, type[nn.Module]] = {
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
    "none": nn.Identity,
}


class TokenEmbedding(nn.Module):
    """A vector for each token: ids (N, L) below ``vocabulary`` to (N, L, width), L up to ``length``.

    bottleneck: embed to so many numbers, then project them to ``width`` (Lan et al. 2020, ALBERT, section 3.1); 0 for
    none. positions: what is added, learned, sinusoidal or none. norm: of the sum, before the projection (Devlin et al.
    2019, BERT), layer, rms or none.
    """

    gives_sequence = True

    def __init__(
        self,
        width: int,
        *,
        vocabulary: int = 256,
        length: int = 128,
        bottleneck: int = 0,
        positions: str = "learned",
        norm: str = "none",
    ) -> None:
        super().__init__()
        inner = bottleneck or width
        self.tokens = nn.Embedding(vocabulary, inner, _weight=embedding_weights(vocabulary, inner))
        self.positions = POSITIONS[positions](length, inner)
        self.norm = SEQUENCE_NORMS[norm](inner)
        self.project = nn.Linear(bottleneck, width) if bottleneck else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.positions(self.tokens(x)))
        return x if self.project is None else self.project(x)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of all tokens from (N, L, width), with the weights of the embedding (Press & Wolf 2017)."""
        if self.project is not None:
            x = x @ self.project.weight
        return nn.functional.linear(x, self.tokens.weight)


class SignalPatches(nn.Module):
    """A vector for each window of ``size`` steps: (N, in_width, L) to (N, L // size, width).

    length: windows that there are at most. positions: what is added, learned, sinusoidal or none.
    """

    gives_sequence = True

    def __init__(
        self, in_width: int, width: int, *, size: int = 4, length: int = 64, positions: str = "learned"
    ) -> None:
        super().__init__()
        self.project = nn.Conv1d(in_width, width, size, stride=size)
        self.positions = POSITIONS[positions](length, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.positions(self.project(x).transpose(1, 2))  # type: ignore[no-any-return]


class ImagePatches(nn.Module):
    """A vector for each square of ``size`` x ``size`` pixels, row by row (Dosovitskiy et al. 2021, ViT).

    (N, in_width, H, W) to (N, (H // size) (W // size), width). length: squares that there are at most. positions: what
    is added, learned, sinusoidal or none.
    """

    gives_sequence = True

    def __init__(
        self, in_width: int, width: int, *, size: int = 4, length: int = 64, positions: str = "learned"
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_width, width, size, stride=size)
        self.positions = POSITIONS[positions](length, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.positions(self.project(x).flatten(2).transpose(1, 2))  # type: ignore[no-any-return]


class RotaryPositions(nn.Module):
    """Turn pairs of numbers by an angle that grows with the position (Su et al. 2021): (..., L, head_width).

    Number i is paired with number i + head_width / 2, which is the paper's up to the order of the numbers.
    """

    frequencies: torch.Tensor  # made on the CPU, so that they are the same on all devices

    def __init__(self, head_width: int) -> None:
        super().__init__()
        check_rotary(head_width)
        frequencies = 10000.0 ** (torch.arange(0, head_width, 2, device="cpu") / -head_width)
        self.register_buffer("frequencies", frequencies.to(torch.get_default_device()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * self.frequencies
        cos, sin = angle.cos(), angle.sin()
        first, second = x.chunk(2, -1)
        return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def check_rotary(head_width: int) -> None:
    """ValueError if the numbers of a head are no pairs."""
    if head_width % 2:
        raise ValueError(f"rotary positions turn pairs of numbers, the heads have an odd width of {head_width}")


class Attention(nn.Module):
    """Self-attention of several heads (Vaswani et al. 2017, section 3.2): (N, L, in_width) to the same.

    The rows of ``qkv`` are laid out (heads, 3, head_width): query, key and value of a head stand together.
    """

    def __init__(self, in_width: int, *, heads: int, head_width: int, causal: bool, rotary: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(in_width, heads * 3 * head_width)
        self.rotary = RotaryPositions(head_width) if rotary else None
        self.out = nn.Linear(heads * head_width, in_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(x).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)  # (3, N, heads, L, head_width)
        query, key = qkv[:2] if self.rotary is None else self.rotary(qkv[:2])
        mixed = nn.functional.scaled_dot_product_attention(query, key, qkv[2], is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Linear map to ``hidden`` units, activation, linear map back: (N, L, in_width) to the same."""

    def __init__(self, in_width: int, *, hidden: int, activation: str) -> None:
        super().__init__()
        self.enter = nn.Linear(in_width, hidden)
        self.activation = make_activation(activation)
        self.leave = nn.Linear(hidden, in_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.activation(self.enter(x)))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward network, each a residual branch: (N, L, in_width) to the same.

    norm: layer or rms (Zhang & Sennrich 2019). norm_place: ``post``, after each sum (Vaswani et al. 2017), or ``pre``,
    at the entry of each branch (Xiong et al. 2020). causal: a position sees only itself and what came before it.
    rotary: queries and keys are turned by their position (Su et al. 2021), for which head_width is even.
    """

    takes_sequence = True

    def __init__(
        self,
        in_width: int,
        *,
        heads: int = 4,
        head_width: int = 16,
        hidden: int = 256,
        norm: str = "layer",
        norm_place: str = "pre",
        activation: str = "gelu",
        causal: bool = False,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.pre = {"pre": True, "post": False}[norm_place]
        self.attention = Attention(in_width, heads=heads, head_width=head_width, causal=causal, rotary=rotary)
        self.attention_norm = SEQUENCE_NORMS[norm](in_width)
        self.feed_forward = FeedForward(in_width, hidden=hidden, activation=activation)
        self.feed_forward_norm = SEQUENCE_NORMS[norm](in_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pre:
            x = x + self.attention(self.attention_norm(x))
            return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]
        x = self.attention_norm(x + self.attention(x))
        return self.feed_forward_norm(x + self.feed_forward(x))  # type: ignore[no-any-return]


class SequenceNorm(nn.Module):
    """Normalise each position, layer or rms: (N, L, in_width) to the same."""

    takes_sequence = True

    def __init__(self, in_width: int, *, norm: str = "layer") -> None:
        super().__init__()
        self.norm = SEQUENCE_NORMS[norm](in_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)  # type: ignore[no-any-return]


class MeanPositions(nn.Module):
    """Mean over the positions: (N, L, width) to (N, width)."""

    takes_sequence = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


class FirstPosition(nn.Module):
    """What stands at the first position (Devlin et al. 2019, BERT): (N, L, width) to (N, width)."""

    takes_sequence = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]
