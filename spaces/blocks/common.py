"""What the blocks of all families use: activations and normalisations by name."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}


def make_activation(name: str) -> nn.Module:
    """An activation by its name; ``leaky_relu(0.2)`` has another slope than the usual 0.01."""
    kind, _, slope = name.removesuffix(")").partition("(")
    if slope and kind != "leaky_relu":
        raise ValueError(f"only a leaky_relu has a slope, {name!r} was given")
    return ACTIVATIONS[kind](float(slope)) if slope else ACTIVATIONS[kind]()


def canonical_activation(word: str) -> str:
    """One word for one slope: ``leaky_relu`` for ``leaky_relu(0.01)``; other words as they are."""
    kind, _, slope = word.removesuffix(")").partition("(")
    if kind != "leaky_relu" or not slope:
        return word
    try:
        return kind if float(slope) == nn.LeakyReLU().negative_slope else f"{kind}({float(slope)})"
    except ValueError:
        return word
