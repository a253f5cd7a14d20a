"""Which layers are missed least: those that do nothing are found first, by the loss and by what they change."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from paretonas.errors import UsageError
from paretonas.objectives import Data, Digits, Split, cheapest_layers, layers, train
from paretonas.objectives.training import loss_of
from paretonas.spaces import Architecture, Block, Head, Move, Network, Training, build, moved, possible_moves

CONV = Block("conv", width=8)
LINEAR = Block("linear", width=16, norm="none")
LAYER = Block("transformer", heads=2, head_width=8, hidden=32)
NETWORKS = {
    "convolutions": (CONV, CONV, Block("max_pool"), CONV, Block("global_average_pool")),
    "shared convolutions": (CONV, CONV, CONV.replace(shares=1), Block("global_average_pool")),
    "linear layers": (Block("flatten"), LINEAR, LINEAR, LINEAR),
    "residual layers": (Block("flatten"), LINEAR, *[Block("residual_linear", hidden=16)] * 2),
    "a transformer": (
        Block("patches2d", width=16, size=2),
        LAYER,
        LAYER,
        Block("sequence_norm"),
        Block("mean_positions"),
    ),
}


@cache
def digits() -> Data:
    return Digits().load()


@cache
def trained(name: str) -> Network:
    """A network that has learnt something on digits. To be read only."""
    network = build(Architecture((1, 8, 8), NETWORKS[name], (Head(10),)), seed=0)
    for _ in train(network, digits(), Training(epochs=3), seed=0):
        pass
    assert isinstance(network, Network)
    return network


def first_examples(count: int) -> Any:
    """The digits, of the train split the first few."""
    train = digits().train
    assert isinstance(train, Split)
    assert isinstance(train.y, torch.Tensor)
    return replace(digits(), train=Split(train.x[:count], train.y[:count]))


@pytest.mark.parametrize("by", ["loss", "similarity"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_that_does_nothing_leaves_first(name: str, by: str) -> None:
    """Planted behind each layer in turn."""
    for move in possible_moves(trained(name).architecture):
        if move.kind == "insert_layer":
            planted = moved(trained(name), move)
            assert cheapest_layers(planted, digits(), 1, by=by) == (move.at + 1,)


@pytest.mark.parametrize("by", ["loss", "similarity"])
def test_each_index_is_that_of_the_network_as_it_is_then(by: str) -> None:
    """Two planted layers leave one after the other, and what is left is the network without them."""
    network = moved(moved(trained("linear layers"), Move("insert_layer", 3)), Move("insert_layer", 1))
    for index in cheapest_layers(network, digits(), 2, by=by):
        network = moved(network, Move("remove_layer", index))
    original = trained("linear layers").state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in network.state_dict().items())


def test_the_layer_whose_removal_leaves_the_lowest_loss_leaves() -> None:
    """As computed by hand, on a train split of 200 examples."""
    network, few = trained("convolutions"), first_examples(200)
    losses = {}
    for index in (1, 3):
        with torch.no_grad():
            answers = moved(network, Move("remove_layer", index)).eval()(few.train.x)
        losses[index] = loss_of(answers, few.train.y, few).item()
    assert layers._losses(network, (1, 3), few) == pytest.approx({i: 200 * loss for i, loss in losses.items()})
    assert cheapest_layers(network, few, 1) == (min(losses, key=lambda index: losses[index]),)
    assert cheapest_layers(network, few, 2) in ((1, 2), (3, 1))  # block 3 is then block 2, if 1 leaves first


def test_maps_are_compared_as_a_whole_and_sequences_position_by_position() -> None:
    """One minus the cosine, as computed by hand on a train split of 200 examples."""
    few = first_examples(200)
    for name, index, vectors in (("convolutions", 1, (200, 8 * 8 * 8)), ("a transformer", 2, (200, 16, 16))):
        network = copy.deepcopy(trained(name)).eval()
        with torch.no_grad():
            came = few.train.x
            for before in range(index):
                came = network.get_submodule(f"block{before}")(came)
            left = network.get_submodule(f"block{index}")(came)
        alike = nn.functional.cosine_similarity(came.reshape(vectors), left.reshape(vectors), dim=-1)
        assert layers._changes(network, [index], few)[index] == pytest.approx(200 * (1 - alike.mean().item()), rel=1e-4)


def test_similarity_is_the_mean_cosine_of_input_and_output() -> None:
    """A layer that turns every row by a known angle changes it by less than one that turns it further."""
    turns = []
    for angle in (1.2, 0.4, 0.8):
        matrix = torch.eye(6)
        sine, cosine = torch.tensor(angle).sin(), torch.tensor(angle).cos()
        for pair in (0, 2, 4):
            matrix[pair : pair + 2, pair : pair + 2] = torch.tensor([[cosine, -sine], [sine, cosine]])
        turns.append(matrix)
    turning = Block("residual_linear", hidden=6, norm="none", activation="relu")
    network = build(Architecture((6,), (turning,) * 3, (Head(10),)), seed=0)
    with torch.no_grad():
        for index, matrix in enumerate(turns):
            block = network.get_submodule(f"block{index}")
            block.enter.weight.copy_(torch.eye(6))  # type: ignore[union-attr, operator]
            block.enter.bias.fill_(100.0)  # type: ignore[union-attr, operator]
            block.leave.weight.copy_(matrix - torch.eye(6))  # type: ignore[union-attr, operator]
            block.leave.bias.copy_(-100.0 * (matrix - torch.eye(6)).sum(1))  # type: ignore[union-attr, operator]
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    data = replace(digits(), train=Split(x, torch.zeros(64, dtype=torch.int64)))
    assert cheapest_layers(network, data, 3, by="similarity") == (1, 1, 0)


@pytest.mark.parametrize("by", ["loss", "similarity"])
def test_only_the_train_split_is_looked_at_and_nothing_is_changed(by: str) -> None:
    """The other splits may be anything; weights, mode and the global random state stay, and no hook is left."""
    network, data = build(trained("convolutions").architecture, seed=1).train(), digits()
    assert isinstance(data.validation, Split)
    nothing = Split(data.validation.x * float("nan"), data.validation.y)
    before, state = {name: tensor.clone() for name, tensor in network.state_dict().items()}, torch.get_rng_state()
    found = cheapest_layers(network, replace(data, validation=nothing, test=nothing), 2, by=by)
    assert found == cheapest_layers(network, data, 2, by=by)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("by", ["loss", "similarity"])
def test_a_normalisation_is_no_layer_to_remove(by: str) -> None:
    """It has hardly any weights; both transformer blocks can leave, and then nothing else."""
    assert len(cheapest_layers(trained("a transformer"), digits(), 2, by=by)) == 2
    with pytest.raises(UsageError, match="3 layers were to leave and only 2 can"):
        cheapest_layers(trained("a transformer"), digits(), 3, by=by)


def test_a_layer_that_makes_no_number_without_it_stays_longest() -> None:
    """A loss that is not finite counts as the highest."""
    network = build(Architecture((1, 8, 8), NETWORKS["linear layers"], (Head(10),)), seed=0)
    with torch.no_grad():
        state = network.state_dict()
        state["block1.linear.bias"].fill_(1.0)
        state["block2.linear.weight"].zero_()
        state["block2.linear.bias"].zero_()
        state["block3.linear.weight"].fill_(float("inf"))  # 0 times infinity is no number, unless block 3 leaves
    assert cheapest_layers(network, digits(), 1) == (3,)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda network, data: cheapest_layers(network, data, 1, by="size"), "unknown way to choose layers 'size'"),
        (lambda network, data: cheapest_layers(network, data, -1), "from 0, -1 was given"),
        (lambda network, data: cheapest_layers(network, data, count=True), "from 0, True was given"),
        (lambda _, data: cheapest_layers(nn.Flatten(), data, 1), "a Flatten was given"),
    ],
)
def test_what_cannot_be_asked_is_refused(call: Callable[[Network, Data], object], reason: str) -> None:
    """With the rule and what came."""
    with pytest.raises(UsageError, match=reason):
        call(trained("linear layers"), digits())


def test_no_layer_leaves_if_none_is_to() -> None:
    """A count of 0 is no mistake."""
    assert cheapest_layers(trained("linear layers"), digits(), 0) == ()
