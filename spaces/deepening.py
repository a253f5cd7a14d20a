"""A layer more, which changes nothing until it is trained.

Behind a convolution or a linear layer with a ReLU comes another one whose weights are the identity (Chen et al. 2016,
"Net2Net", section 2.3; ReLU of what a ReLU gave is the same). Its batch normalisation begins with the mean and the
variance that a rectified normal number has, so that it stays near the identity where it is trained on batches. Behind
all others comes a residual branch that gives 0 at first: its last normalisation or its last layer is 0 (Goyal et al.
2017, section 5.1). That is exact in training too.
"""

import math

import torch
from torch import nn

from ..errors import InvalidArchitecture
from .architecture import Architecture
from .block import Block, Json
from .builder import Network, calls

POOLS = ("max_pool", "average_pool")
LAST = {  # of the branch: the normalisation if there is one, or the layers
    "residual": ("norms2", "conv2"),
    "inverted_residual": ("norms3", "reduce"),
    "residual_linear": ("", "leave"),
    "transformer": ("", "attention.out", "feed_forward.leave"),
}


def new_block(architecture: Architecture, at: int) -> Block:
    """What can come behind block ``at``: like the layer there, or the one before the pooling there.

    Its numbers are those of that layer. It is of the same kind if it can then be the identity, else an
    ``inverted_residual`` (of maps) or a ``residual_linear`` (of rows). A transformer block behind one that normalises
    after each sum normalises before each branch. InvalidArchitecture where there is no such layer: behind what makes
    rows of maps or of sequences, sequences of the input, and behind blocks of the user's own.
    """
    pattern = at
    while pattern >= 0 and _kind(architecture.blocks[pattern]) in POOLS:
        pattern = architecture.source(pattern)
    like = Block("flatten") if pattern < 0 else architecture.blocks[pattern]
    rectified = like.args.get("activation") == "relu"
    kind = _kind(like)
    if kind in ("conv", "residual", "separable", "inverted_residual"):
        return _of_maps(like, kind, rectified=rectified, next_to=pattern == at)
    if kind == "linear" and not (rectified and like.args["norm"] != "layer"):
        numbers: Json = {name: like.args[name] for name in ("norm", "activation")}
        return Block("residual_linear", hidden=int(like.args["width"]), **numbers)
    if kind in ("linear", "residual_linear"):
        return like.replace()
    if kind == "transformer":
        return like.replace(norm_place="pre")
    raise InvalidArchitecture(
        f"no layer can come behind block {at} ({architecture.blocks[at].op}): a new one is made like the layer "
        "there or before the pooling there, which must be a convolutional, linear, residual or transformer block"
    )


def _of_maps(like: Block, kind: str, *, rectified: bool, next_to: bool) -> Block:
    """A block that keeps the size of the map. next_to: whether no pooling stands between it and the one it is like."""
    side = int(like.args["kernel"]) | 1  # odd
    if kind == "conv" and rectified and next_to:
        return like.replace(kernel=side, stride=1)
    copied = ("width", "hidden", "squeeze", "norm", "activation")
    numbers: Json = {"hidden": like.width, **{name: like.args[name] for name in copied if name in like.args}}
    op = "residual" if kind == "residual" and rectified else "inverted_residual"
    return Block(op + like.op.removeprefix(kind), kernel=side, skip="identity", **numbers)


@torch.no_grad()
def begin_as_identity(network: Network, index: int) -> None:
    """Set the weights of a block that ``new_block`` made, in place, so that what leaves it is what came."""
    block, module = network.architecture.blocks[index], network.get_submodule(f"block{index}")
    if _kind(block) in LAST:
        norm, *layers = LAST[_kind(block)]
        for name in [f"{norm}.0"] if norm and block.args["norm"] == "batch" else layers:
            for parameter in module.get_submodule(name).parameters():
                parameter.zero_()
        return
    layer = module.get_submodule(_kind(block))
    assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    if isinstance(layer, nn.Linear):
        nn.init.eye_(layer.weight)
    else:
        nn.init.dirac_(layer.weight, groups=layer.groups)
    if layer.bias is not None:
        layer.bias.zero_()
    if block.args["norm"] == "batch":
        before = calls(network.architecture)[index - 1]
        norms = [
            network.get_submodule(f"{name}.norms.{use}")
            for name, use in ((before.module, before.use), (f"block{index}", 0))
        ]
        _undo(norms[1], norms[0])


def _undo(norm: nn.Module, before: nn.Module) -> None:
    """Let a batch normalisation give what comes to it: the ReLU of what ``before`` gives.

    Of max(0, b + w z), z standard normal, the mean is b P + |w| p and the mean square (b^2 + w^2) P + b |w| p, where P
    and p are the distribution and the density of z at b / |w|.
    """
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert isinstance(before, nn.BatchNorm1d | nn.BatchNorm2d)
    bias, scale = before.bias.double(), before.weight.double().abs().clamp_min(1e-12)
    z = bias / scale
    below, density = torch.special.ndtr(z), (-(z**2) / 2).exp() / math.sqrt(2 * math.pi)
    mean = bias * below + scale * density
    square = (bias**2 + scale**2) * below + bias * scale * density
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((square - mean**2).clamp_min(0))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)


def _kind(block: Block) -> str:
    """The op of a block for images, whether it is over them or over signals."""
    return block.op.removesuffix("1d")
