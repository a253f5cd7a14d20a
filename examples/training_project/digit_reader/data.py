"""Pictures of this project's own: digits that come out of the scanner upside down."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor


def pictures() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(x, y) to train on and to judge on; x: (N, 1, 8, 8) from 0 to 1, as nets/net.json says."""
    pixels, digits = load_digits(return_X_y=True)
    x = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8).rot90(2, (2, 3))
    y = torch.tensor(digits, dtype=torch.int64)
    train, test = train_test_split(range(len(y)), test_size=0.2, stratify=digits, random_state=0)
    return (x[train], y[train]), (x[test], y[test])
