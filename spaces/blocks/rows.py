"""Blocks for rows of features, (N, F)."""

import torch
from torch import nn

from .common import make_activation

NORMS_1D: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}


class LinearBlock(nn.Module):
    """Linear map, normalisation, activation: (N, in_width) to (N, width)."""

    def __init__(
        self, in_width: int, width: int, *, norm: str = "batch", activation: str = "relu", uses: int = 1
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, width, bias=norm != "batch")
        self.norms = nn.ModuleList(NORMS_1D[norm](width) for _ in range(uses))
        self.activation = make_activation(activation)

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        x = self.norms[use](self.linear(x))
        return self.activation(x)  # type: ignore[no-any-return]


class ResidualLinear(nn.Module):
    """x + linear(activation(linear(norm(x)))) through ``hidden`` units (Gorishniy et al. 2021, section 3.2).

    (N, in_width) to the same.
    """

    def __init__(
        self, in_width: int, *, hidden: int = 64, norm: str = "batch", activation: str = "relu", uses: int = 1
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(NORMS_1D[norm](in_width) for _ in range(uses))
        self.enter = nn.Linear(in_width, hidden)
        self.activation = make_activation(activation)
        self.leave = nn.Linear(hidden, in_width)

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        return x + self.leave(self.activation(self.enter(self.norms[use](x))))  # type: ignore[no-any-return]


class ColumnEmbedding(nn.Module):
    """Category columns, the last of a row, to vectors (Gorishniy et al. 2021); the numeric ones pass unchanged.

    categories: codes of each such column, as ``"3,5,12"`` for codes 0-2, 0-4 and 0-11. features: numbers that a code
    becomes, but never more than the column has codes. (N, F) to (N, numeric columns + all these numbers).
    """

    def __init__(self, *, categories: str, features: int = 8) -> None:
        super().__init__()
        sizes = [(int(codes), min(features, int(codes))) for codes in categories.split(",")]
        self.embeddings = nn.ModuleList(
            nn.Embedding(*size, _weight=nn.init.kaiming_uniform_(torch.empty(size))) for size in sizes
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        numeric, codes = x.tensor_split([x.shape[1] - len(self.embeddings)], 1)
        vectors = [embedding(column) for embedding, column in zip(self.embeddings, codes.long().unbind(1), strict=True)]
        return torch.cat([numeric, *vectors], 1)


class Flatten(nn.Module):
    """Everything in one row, channel by channel: (N, ...) to (N, features)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)
