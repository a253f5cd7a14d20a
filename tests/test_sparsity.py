"""Unstructured sparsity: which weights are masked, and that they stay zero whatever happens to the network."""

import copy
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn
from torch.nn.utils import prune as reference

from paretonas.errors import UsageError
from paretonas.objectives import train
from paretonas.objectives.masking import GROWN, grown_share
from paretonas.objectives.tasks import Data, Split, as_task
from paretonas.spaces import Architecture, Block, Head, Training, build, write_source
from paretonas.spaces.sparsity import Masks, Sparsity, apply_masks, masks_of, nonzero_parameters

CONV = Architecture(
    (1, 8, 8),
    (Block("conv", width=8), Block("conv", width=8), Block("conv", width=8, shares=1), Block("global_average_pool")),
    (Head(10),),
)
LANGUAGE = Architecture(
    (6,),
    (Block("embedding", width=8, vocabulary=9, length=6), Block("transformer", heads=1, head_width=8, hidden=16)),
    (Head(9, tied=0),),
    vocabulary=9,
)
SHORT = Training(epochs=2, batch_size=50, learning_rate=0.02, weight_decay=0.1)


@pytest.fixture(scope="module")
def few() -> Data:
    """200 digits to train on and as many to judge by."""
    data = as_task("digits").load()
    train_, validation, test = (Split(*next(split.batches(200))) for split in (data.train, data.validation, data.test))
    return replace(data, train=train_, validation=validation, test=test)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def share_of_zeros(masks: Masks) -> float:
    return sum(int((~mask).sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def stays_zero(network: nn.Module, masks: Masks) -> bool:
    return all(bool((network.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.items())


def plain() -> nn.Sequential:
    """Weights of a linear and a convolutional layer, drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 12))


# which weights


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_global_masks_are_those_of_torch(share: float) -> None:
    """The smallest of all weights, as ``global_unstructured`` ranks them."""
    masks, other = masks_of(plain(), share), plain()
    reference.global_unstructured(
        [(other[0], "weight"), (other[3], "weight")], pruning_method=reference.L1Unstructured, amount=share
    )
    for index in (0, 3):
        assert torch.equal(masks[f"{index}.weight"], other.get_buffer(f"{index}.weight_mask").bool())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masks_of_a_layer_are_those_of_torch(share: float) -> None:
    """The smallest weights of each layer, as ``l1_unstructured`` ranks them."""
    masks, other = masks_of(plain(), share, pattern="layer"), plain()
    for index in (0, 3):
        reference.l1_unstructured(other[index], "weight", amount=share)  # type: ignore[no-untyped-call]
        assert torch.equal(masks[f"{index}.weight"], other.get_buffer(f"{index}.weight_mask").bool())


def test_a_layer_keeps_a_weight() -> None:
    """Also where the share rounds to all of them."""
    masks = masks_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 50)), 0.99, pattern="layer")
    assert [int(mask.sum()) for mask in masks.values()] == [1, 1]


@settings(max_examples=60, deadline=None)
@given(stay=st.integers(1, 7), more=st.integers(1, 8), groups=st.integers(1, 4), kernel=st.integers(1, 3))
def test_n_of_m_leaves_the_largest_of_each_group(stay: int, more: int, groups: int, kernel: int) -> None:
    """Along the inputs of a convolution: N of M stay, and none that leaves is larger than one that stays."""
    of = stay + more
    layer = nn.Sequential(nn.Conv2d(groups * of, 3, kernel))
    mask = masks_of(layer, 0, pattern=f"{stay}:{of}")["0.weight"]
    for place in range(kernel * kernel):
        rows = layer.get_parameter("0.weight").detach().flatten(2)[:, :, place].reshape(-1, of).abs()
        kept = mask.flatten(2)[:, :, place].reshape(-1, of)
        assert (kept.sum(1) == stay).all()
        largest_gone, smallest_kept = rows.masked_fill(kept, 0).amax(1), rows.masked_fill(~kept, torch.inf).amin(1)
        assert (largest_gone <= smallest_kept).all()


def test_n_of_m_leaves_layers_whole_that_do_not_fit() -> None:
    """Three inputs are no multiple of four; where no layer fits, nothing could be done, which is said."""
    fits = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 3), nn.ConvTranspose2d(4, 3, 2))
    assert set(masks_of(fits, 0.5, pattern="2:4")) == {"1.weight", "2.weight"}
    with pytest.raises(UsageError, match="multiple"):
        masks_of(fits[:1], 0, pattern="2:4")


def test_a_shared_weight_is_masked_and_counted_once() -> None:
    """Layers that share, and a head that is tied to its embedding, in networks of blocks and of one's own."""
    tied = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6, bias=False))
    tied[1].weight = tied[0].weight
    assert set(masks_of(tied, 0.5)) == {"0.weight"}
    assert nonzero_parameters(tied) == 24
    apply_masks(tied, masks_of(tied, 0.25))
    assert nonzero_parameters(tied) == 18
    assert set(masks_of(build(CONV, seed=0), 0.5)) == {"block0.conv.weight", "block1.conv.weight", "head.weight"}


def test_embeddings_are_masked_and_positions_are_not() -> None:
    """Nor are biases, normalisation and parameters of one's own that are no weights."""
    network = build(LANGUAGE, seed=0)
    inside = {f"block1.{part}.weight" for part in ("attention.qkv", "attention.out", "feed_forward.enter")}
    assert set(masks_of(network, 0.5)) == {"block0.tokens.weight", *inside, "block1.feed_forward.leave.weight"}
    own = nn.Sequential(nn.LayerNorm((2, 3)), nn.MultiheadAttention(4, 1), nn.LSTM(2, 3))
    own.register_parameter("class_token", nn.Parameter(torch.zeros(1, 1, 4)))
    wanted = {"1.in_proj_weight", "1.out_proj.weight", "2.weight_ih_l0", "2.weight_hh_l0"}
    assert set(masks_of(own, 0.5)) == wanted


def test_nonzero_parameters_are_the_rest() -> None:
    """All that are there, less the share of those that can be masked."""
    network = build(LANGUAGE, seed=0)
    nn.init.ones_(network.get_parameter("block1.attention.qkv.bias"))
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1:
            nn.init.ones_(network.get_parameter(name))
    masks = masks_of(network, 0.8)
    count, maskable = sum(p.numel() for p in network.parameters()), sum(mask.numel() for mask in masks.values())
    assert nonzero_parameters(network) == count
    apply_masks(network, masks)
    assert nonzero_parameters(network) == count - round(0.8 * maskable)


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.5, -0.1, math.nan, math.inf, True, "0.5", None])
@pytest.mark.parametrize("pattern", ["global", "layer"])
def test_an_impossible_share_is_refused(share: float, pattern: str) -> None:
    """At once, whether masks are made now or in training."""
    for ask in (lambda: masks_of(plain(), share, pattern=pattern), lambda: Sparsity(share, pattern)):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            ask()


@pytest.mark.parametrize("pattern", ["4:2", "x", "2:2", "0:4", "2:", "-1:4", "2:4:8", "", "1.5:4"])
def test_an_impossible_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        masks_of(plain(), 0.5, pattern=pattern)


def test_a_share_that_contradicts_the_pattern_is_refused() -> None:
    """2:4 is a half; to leave the share out, or to say the same, is as well."""
    with pytest.raises(UsageError, match=r"has a sparsity of 0.5, 0.7 was given"):
        Sparsity(0.7, "2:4")
    masks = [masks_of(plain(), share, pattern="2:4") for share in (0, 0.5)]
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


def test_a_network_without_weights_cannot_be_masked() -> None:
    with pytest.raises(UsageError, match="no layer"):
        masks_of(nn.Sequential(nn.BatchNorm1d(3)), 0.5)


# that they stay zero


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("pattern", ["global", "2:4"])
def test_masked_weights_stay_zero_in_training(few: Data, optimizer: str, pattern: str) -> None:
    """At the end of each epoch, though they have gradients, momentum and weight decay; the others learn."""
    network = build(CONV, seed=0)
    masks = masks_of(network, 0.5, pattern=pattern)
    before = copy.deepcopy(network.state_dict())
    for _ in train(network, few, replace(SHORT, optimizer=optimizer), seed=0, sparsity=Sparsity(0.5, pattern)):
        assert stays_zero(network, masks)
    for name, mask in masks.items():
        assert (network.get_parameter(name)[mask] != before[name][mask]).all()


def test_masks_from_before_are_held(few: Data) -> None:
    """Late rewinding (Frankle et al. 2020): masks of the trained weights on those after the first epoch."""
    network = build(CONV, seed=0)
    states = [copy.deepcopy(network.state_dict()) for _ in train(network, few, SHORT, seed=0)]
    masks = masks_of(network, 0.6)
    network.load_state_dict(states[0])
    assert not stays_zero(network, masks)
    for _ in train(network, few, SHORT, seed=0, sparsity=masks):
        assert stays_zero(network, masks)


@pytest.mark.parametrize("pattern", ["global", "layer", "1:4"])
@pytest.mark.parametrize("epochs", [1, 6])
def test_a_gradual_sparsity_grows_and_is_final_in_the_end(few: Data, pattern: str, epochs: int) -> None:
    """It is below what is asked for at first and exact at the end, whatever is zero stays so, and N:M holds."""
    network = build(CONV, seed=0)
    goal = Sparsity(0.75, pattern, gradual=True)
    final = masks_of(network, 0.75, pattern=pattern)
    shares: list[float] = []
    before = {name: torch.ones_like(mask) for name, mask in final.items()}
    for _ in train(network, few, replace(SHORT, epochs=epochs), seed=0, sparsity=goal):
        now = {name: network.get_parameter(name).detach() != 0 for name in final}
        shares.append(share_of_zeros(now))
        assert all(bool((now[name] <= before[name]).all()) for name in final)
        before = now
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(share_of_zeros(final))
    if epochs == 6:
        assert shares[0] < 0.75 * grown_share(1 / 6 / GROWN) + 0.01
        assert shares[3] < shares[4] == shares[5]
    if pattern == "1:4":
        rows = network.get_parameter("block1.conv.weight").detach().movedim(1, -1).reshape(-1, 4)
        assert ((rows != 0).sum(1) == 1).all()


def test_without_epochs_the_weights_are_masked_all_the_same(few: Data) -> None:
    """Also if the sparsity would have grown."""
    for gradual in (False, True):
        network = build(CONV, seed=0)
        masks = masks_of(network, 0.5)
        still = replace(SHORT, finetune_epochs=0)
        sparsity = Sparsity(0.5, gradual=gradual)
        assert list(train(network, few, still, seed=0, phase="finetune", sparsity=sparsity)) == []
        assert stays_zero(network, masks)


def test_the_share_grows_by_a_cubic() -> None:
    """Zhu & Gupta 2017, eq. 1, from zero at the beginning."""
    assert [grown_share(passed) for passed in (0, 0.5, 1)] == [0, 0.875, 1]


def test_zeros_survive_saving_and_loading(few: Data) -> None:
    """The state is an ordinary one, of the names that the network always has."""
    network = build(CONV, seed=0)
    masks = masks_of(network, 0.7)
    list(train(network, few, SHORT, seed=0, sparsity=masks))
    other = build(CONV, seed=1)
    other.load_state_dict(load(save(network.state_dict())))
    assert stays_zero(other, masks)
    assert nonzero_parameters(other) == nonzero_parameters(network)


def test_zeros_survive_export(few: Data, tmp_path: Path) -> None:
    """The network that is written as source has them in the same places, and answers the same."""
    network = build(CONV, seed=0)
    masks = masks_of(network, 0.7)
    list(train(network, few, SHORT, seed=0, sparsity=masks))
    (tmp_path / "net.py").write_text(write_source(CONV, docstring=""))
    spec = importlib.util.spec_from_file_location("sparse_net", tmp_path / "net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exported = module.Net()
    exported.load_state_dict(network.state_dict())
    example = next(few.test.batches(20))[0]
    assert stays_zero(exported, masks)
    assert torch.equal(exported.eval()(example), network.eval()(example))


def test_masks_of_another_network_are_refused() -> None:
    with pytest.raises(AssertionError, match="for another network"):
        apply_masks(nn.Sequential(nn.Linear(2, 2)), {"0.weight": torch.ones(3, 3, dtype=torch.bool)})
