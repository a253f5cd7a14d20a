"""How important a unit is: the six criteria against known answers, and against Torch-Pruning's."""

from typing import Any

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn

from paretonas.errors import UsageError
from paretonas.objectives.gradients import loss_gradients
from paretonas.objectives.tasks import Data, Split, Target
from paretonas.spaces import (
    Architecture,
    Block,
    DataSpec,
    Head,
    Network,
    build,
    prune,
    pruned_architecture,
    unit_scores,
)
from paretonas.spaces.groups import Unit, network_axes, width_groups
from paretonas.spaces.importance import CRITERIA

MEAN = Block("global_average_pool")
PLAIN = Block("conv", width=3, kernel=1, norm="none")


def images(*blocks: Block, channels: int = 1, classes: int = 3) -> Architecture:
    return Architecture((channels, 6, 6), blocks, (Head(classes),))


def made(architecture: Architecture, **weights: Any) -> Network:
    """A network with some of its tensors given; a name's dots are written as two underscores."""
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    for name, values in weights.items():
        tensor = network.state_dict()[name.replace("__", ".")]
        tensor.copy_(torch.tensor(values).view(tensor.shape))
    return network


FILTERS = [[3.0, -4.0], [0.0, 6.0], [3.0, 3.0]]  # of three channels that see two
READERS = [[1.0, 2.0, 3.0], [-1.0, 0.5, 1.0]]  # of two classes that see the three channels


def three_channels() -> Network:
    return made(images(PLAIN, MEAN, channels=2, classes=2), block0__conv__weight=FILTERS, head__weight=READERS)


# known answers


def test_l1_is_the_sum_of_absolute_weights() -> None:
    """3 + 4, 6 and 3 + 3."""
    assert unit_scores(three_channels(), "l1")[0].tolist() == [7, 6, 6]


def test_l2_is_the_euclidean_norm() -> None:
    """Of (3, 4) it is 5, though its l1 norm is the largest."""
    torch.testing.assert_close(unit_scores(three_channels(), "l2")[0], torch.tensor([5.0, 6.0, 18**0.5]))


def test_geometric_median_is_the_distance_to_all_others() -> None:
    """(3, -4), (0, 6) and (3, 3): the last one lies between the others and can be replaced by them."""
    far, low, near = 109**0.5, 7.0, 18**0.5
    expected = torch.tensor([far + low, far + near, low + near])
    torch.testing.assert_close(unit_scores(three_channels(), "geometric_median")[0], expected)


def test_taylor_is_the_absolute_sum_of_weight_times_gradient_of_those_that_read() -> None:
    """The columns of the head: 1 * 1 - 1 * 2, 2 * 3 + 0.5 * 4 and 3 * -1 + 1 * 1."""
    gradients = {"head.weight": torch.tensor([[1.0, 3.0, -1.0], [2.0, 4.0, 1.0]])}
    assert unit_scores(three_channels(), "taylor", gradients=[gradients])[0].tolist() == [1, 8, 2]


def test_taylor_of_several_examples_is_the_root_of_the_mean_square() -> None:
    """Of changes by 1, 8, -2 and by -1, -6, 14: what goes up here and down there matters all the same."""
    first = torch.tensor([[1.0, 3.0, -1.0], [2.0, 4.0, 1.0]])
    second = torch.tensor([[-1.0, -3.0, 5.0], [0.0, 0.0, -1.0]])
    gradients = [{"head.weight": first}, {"head.weight": second}]
    expected = torch.tensor([1.0, 50**0.5, 10.0])
    torch.testing.assert_close(unit_scores(three_channels(), "taylor", gradients=gradients)[0], expected)


def test_bn_scale_is_the_absolute_scale_of_the_normalisation() -> None:
    """All of a group count: here those of both uses of a shared layer, and of the layer that is added to."""
    conv = Block("conv", width=3)
    network = made(
        images(conv, conv, conv.replace(shares=1), MEAN),
        block0__norms__0__weight=[1.0, -2.0, 0.5],
        block1__norms__0__weight=[0.0, 1.0, -1.0],
        block1__norms__1__weight=[-4.0, 0.0, 0.0],
    )
    assert unit_scores(network, "bn_scale") == {0: pytest.approx([5.0, 3.0, 1.5])}


def test_bn_scale_is_l1_where_nothing_is_normalised() -> None:
    """A group without batch normalisation has its norms."""
    assert unit_scores(three_channels(), "bn_scale")[0].tolist() == [7, 6, 6]


def test_random_follows_from_the_seed_alone() -> None:
    """One seed gives the same again, another one others, and the global random state stays."""
    network = build(images(PLAIN, PLAIN.replace(width=50), MEAN))
    assert isinstance(network, Network)
    before = torch.get_rng_state()
    first, again, other = (unit_scores(network, "random", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[group], again[group]) for group in first)
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_each_criterion_ranks_all_units_that_may_leave(criterion: str) -> None:
    """And none of the input."""
    blocks = [
        Block("conv", width=4),
        Block("inverted_residual", width=4, hidden=6, squeeze=2, skip="identity"),
        Block("conv", width=6, groups=2),
        MEAN,
        Block("linear", width=5),
    ]
    network = build(images(*blocks), seed=0)
    assert isinstance(network, Network)
    ones = {name: torch.ones_like(parameter) for name, parameter in network.named_parameters()}
    scores = unit_scores(network, criterion, gradients=[ones])
    sizes = {group: len(score) for group, score in scores.items()}
    assert sizes == {(1, "hidden"): 6, (1, "squeeze"): 2, 4: 5}  # channels 0 to 2 meet a grouped convolution
    assert all(score.isfinite().all() and (score >= 0).all() for score in scores.values())


def test_a_sequence_is_ranked_by_all_that_is_added_to_it() -> None:
    """Columns of the embedding and of its positions, rows of both branches; what reads it does not count."""
    blocks = (
        Block("embedding", width=2, vocabulary=3, length=2),
        Block("transformer", heads=1, head_width=1, hidden=1),
        Block("mean_positions"),
    )
    network = made(
        Architecture((2,), blocks, (Head(2),), vocabulary=3),
        block0__tokens__weight=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        block0__positions__weight=[[0.1, 0.2], [0.3, 0.4]],
        block1__attention__out__weight=[10.0, 20.0],
        block1__feed_forward__leave__weight=[100.0, 200.0],
        block1__feed_forward__enter__weight=[1000.0, 1000.0],
    )
    torch.testing.assert_close(unit_scores(network)[0], torch.tensor([119.4, 232.6]))


# bad input


def test_taylor_needs_gradients() -> None:
    """Without them it says where they come from."""
    with pytest.raises(UsageError, match="needs the gradients of the loss"):
        unit_scores(three_channels(), "taylor")
    with pytest.raises(UsageError, match="needs the gradients of the loss"):
        unit_scores(three_channels(), "taylor", gradients=[])


def test_an_unknown_criterion_is_refused() -> None:
    """With the word that was meant."""
    with pytest.raises(UsageError, match="did you mean 'taylor'"):
        unit_scores(three_channels(), "tailor")


# Torch-Pruning, over a network with residual sums and one with none

RESIDUAL = images(
    Block("conv", width=12),
    Block("residual", width=12, hidden=8),
    Block("max_pool"),
    Block("residual", width=16, hidden=10, stride=2, skip="projection"),
    Block("residual", width=16, hidden=16),
    MEAN,
    channels=3,
)
CHAIN = images(Block("conv", width=12), Block("conv", width=16, kernel=5), MEAN, Block("linear", width=10), channels=3)


def random_network(architecture: Architecture) -> Network:
    """With normalisations that are not all the same."""
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    draw = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.dim() == 1:
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
    return network.eval()


def theirs(network: Network, tensor: str, importance: Any, *, reads: bool = False) -> Tensor:
    """Torch-Pruning's importance of all units that leave with those of a layer; summed over what adds to them."""
    graph = tp.DependencyGraph().build_dependency(network, torch.rand(2, *network.architecture.input_shape))

    def group(layer: nn.Module) -> Any:
        kind = "linear" if isinstance(layer, nn.Linear) else "conv"
        cut = getattr(tp, f"prune_{kind}_{'in' if reads else 'out'}_channels")
        units = layer.get_parameter("weight").shape[int(reads)]
        return graph.get_pruning_group(layer, cut, idxs=list(range(units)))

    layer = network.get_submodule(tensor.removesuffix(".weight"))
    made = (tp.prune_conv_out_channels, tp.prune_linear_out_channels)
    layers = {layer} if reads else {dep.layer for dep, _ in group(layer) if dep.handler in made}
    return torch.stack([importance(group(each)) for each in layers]).sum(0)


def makers(network: Network) -> dict[Unit, str]:
    """A weight whose rows make the units, for each group that may lose some."""
    axes = [axis for axis in network_axes(network.architecture) if axis.dim == 0 and axis.number != "in_width"]
    return {axis.group: axis.tensor for axis in reversed(axes) if network.state_dict()[axis.tensor].dim() > 1}


@pytest.mark.parametrize("architecture", [RESIDUAL, CHAIN], ids=["residual", "chain"])
@pytest.mark.parametrize(("criterion", "power"), [("l1", 1), ("l2", 2)])
def test_norms_are_those_of_torch_pruning(architecture: Architecture, criterion: str, power: int) -> None:
    """Summed over the layers that its graph finds to add to one sum; it leaves the root of the l2 norm out."""
    network = random_network(architecture)
    scores = unit_scores(network, criterion)
    assert scores.keys() == width_groups(architecture).prunable.keys() == makers(network).keys()
    first = tp.importance.MagnitudeImportance(p=power, group_reduction="first", normalizer=None)
    for group, tensor in makers(network).items():
        torch.testing.assert_close(scores[group] ** power, theirs(network, tensor, first))


@pytest.mark.parametrize("architecture", [RESIDUAL, CHAIN], ids=["residual", "chain"])
def test_scales_are_those_of_torch_pruning(architecture: Architecture) -> None:
    """Relative to the mean of the group, which it takes over the normalisations and we as a sum."""
    network = random_network(architecture)
    scores = unit_scores(network, "bn_scale")
    for group, tensor in makers(network).items():
        expected = theirs(network, tensor, tp.importance.BNScaleImportance())
        expected = expected / expected.mean()
        torch.testing.assert_close(scores[group] / scores[group].mean(), expected)


def test_geometric_medians_are_those_of_torch_pruning() -> None:
    """Of weights from 0 up: it takes the distances of absolute weights, where the paper has those of the weights."""
    network = random_network(CHAIN)
    for parameter in network.parameters():
        parameter.data.abs_()
    first = tp.importance.FPGMImportance(p=1, group_reduction="first", normalizer=None)
    for group, tensor in makers(network).items():
        torch.testing.assert_close(unit_scores(network, "geometric_median")[group], theirs(network, tensor, first))


def test_taylor_is_that_of_torch_pruning() -> None:
    """Of the weights that read a unit, as one variable."""
    network = random_network(CHAIN)
    loss = nn.functional.cross_entropy(network(torch.rand(8, 3, 6, 6)), torch.arange(8) % 3)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    first = tp.importance.TaylorImportance(multivariable=True, group_reduction="first", normalizer=None)
    scores = unit_scores(network, "taylor", gradients=[gradients])
    readers: dict[Unit, str] = {0: "block1.conv.weight", 1: "block3.linear.weight", 3: "head.weight"}
    for group, reader in readers.items():
        torch.testing.assert_close(scores[group], theirs(network, reader, first, reads=True))


@pytest.mark.parametrize("architecture", [RESIDUAL, CHAIN], ids=["residual", "chain"])
def test_torch_pruning_leaves_the_same_shapes(architecture: Architecture) -> None:
    """At half of each layer; and of a chain the very same weights stay."""
    network, other = random_network(architecture), random_network(architecture)
    pruner = tp.pruner.BasePruner(
        other,
        torch.rand(1, *architecture.input_shape),
        importance=tp.importance.MagnitudeImportance(p=1, group_reduction="first"),
        pruning_ratio=0.5,
        ignored_layers=[other.head],
    )
    pruner.step()
    ours, their = prune(network, pruned_architecture(architecture, 0.5)).state_dict(), other.state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in their.items()}
    if architecture is CHAIN:
        assert all(torch.equal(tensor, their[name]) for name, tensor in ours.items())


# gradients of the loss


KIND, SIZE = torch.arange(60) % 3, torch.linspace(-1, 1, 60)
IMAGES = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def two_heads() -> Data:
    """Sixty random images, each with a class and a number."""
    split = Split(IMAGES, {"kind": KIND, "size": SIZE})
    spec = DataSpec((1, 6, 6), (Head(3, "kind"), Head(1, "size")))
    targets = (Target("kind", "classes", names=("a", "b", "c")), Target("size", "number"))
    return Data(spec, targets, split, split, split, {})


def judged(data: Data) -> Network:
    network = build(data.spec.architecture([Block("conv", width=4), MEAN]), seed=0)
    assert isinstance(network, Network)
    return network


def test_gradients_are_those_of_each_example() -> None:
    """Their mean is that of the mean loss of both heads, with the kept statistics of the normalisation."""
    data = two_heads()
    network = judged(data).eval()
    each = list(loss_gradients(network, data, examples=1000))
    assert len(each) == 60
    outputs = network(IMAGES)
    loss = nn.functional.cross_entropy(outputs["kind"], KIND) + nn.functional.mse_loss(outputs["size"][:, 0], SIZE)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(torch.stack([gradients[name] for gradients in each]).mean(0), parameter.grad)


def test_gradients_leave_the_network_as_it_was() -> None:
    """Weights, statistics, modes of its parts, gradients of its own, and the global random state, also on the way."""
    data = two_heads()
    network = judged(data).train()
    network.get_submodule("block0.norms").eval()
    first, *others = network.parameters()
    first.grad = torch.ones_like(first)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes, state = [module.training for module in network.modules()], torch.get_rng_state()
    with torch.no_grad():
        for _ in loss_gradients(network, data, examples=3):
            assert [module.training for module in network.modules()] == modes
            assert not torch.is_grad_enabled()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in others)


def test_gradients_are_of_rows_that_follow_from_the_seed() -> None:
    """The same again, others for another seed, and only as many as asked for."""
    data = two_heads()
    network = judged(data)
    first, again, other = (list(loss_gradients(network, data, examples=8, seed=seed)) for seed in (1, 1, 2))
    assert len(first) == 8
    for one, same, another in zip(first, again, other, strict=True):
        assert torch.equal(one["block0.conv.weight"], same["block0.conv.weight"])
        assert not torch.equal(one["block0.conv.weight"], another["block0.conv.weight"])


def test_gradients_need_an_example() -> None:
    """None to begin with is refused."""
    data = two_heads()
    with pytest.raises(UsageError, match="at least 1 example"):
        next(loss_gradients(judged(data), data, examples=0))
