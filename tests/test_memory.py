"""The memory of activations: against what torch allocates, by formula, and what is no part of it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import FAMILIES
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from paretonas import own
from paretonas.errors import InvalidArchitecture, UsageError
from paretonas.objectives.memory import RULES, activation_bytes
from paretonas.spaces import Architecture, Block, DataSpec, Head, ModuleArchitecture, build, example_input
from paretonas.spaces.blocks import ACTIVATIONS, BLOCKS

aten = torch.ops.aten
MEAN, FLAT, READ = Block("global_average_pool"), Block("flatten"), Block("mean_positions")


def images(*blocks: Block) -> Architecture:
    return Architecture((3, 16, 14), (*blocks, MEAN), (Head(5),))


def signals(*blocks: Block) -> Architecture:
    return Architecture((4, 30), (*blocks, Block("global_average_pool1d")), (Head(5),))


def rows(*blocks: Block, categories: tuple[int, ...] = ()) -> Architecture:
    return Architecture((40,), blocks, (Head(5),), categories=categories)


def tokens(*blocks: Block, head: Head = Head(5)) -> Architecture:  # noqa: B008 - it is frozen
    return Architecture((9,), blocks, (head,), vocabulary=30)


def transformer(**numbers: Any) -> Block:
    return Block("transformer", heads=3, head_width=4, hidden=30, **numbers)


def embedding(**numbers: Any) -> Block:
    return Block("embedding", width=12, vocabulary=30, length=9, **numbers)


def convolutional(make: Callable[..., Architecture], kind: str) -> Iterator[Architecture]:
    """Every block for maps, over images or (kind: 1d) over signals."""
    conv = Block(f"conv{kind}", width=6)
    yield make(Block(f"conv{kind}", width=8, kernel=5, stride=2, norm="none"), Block(f"average_pool{kind}", size=3))
    yield make(conv, Block(f"conv{kind}", width=6, groups=3), Block(f"max_pool{kind}"))
    yield make(conv, conv, conv.replace(shares=1))
    for norm in ("batch", "none"):
        yield make(conv, Block(f"residual{kind}", width=6, hidden=9, norm=norm))
        yield make(conv, Block(f"residual{kind}", width=8, hidden=30, norm=norm, skip="projection", stride=2))
        for kernels in ("own", "shared"):
            yield make(Block(f"separable{kind}", width=6, kernels=kernels, norm=norm))
        for skip in ("none", "identity"):
            expanded = Block(f"inverted_residual{kind}", width=6, hidden=18, squeeze=4, norm=norm, skip=skip)
            yield make(conv, expanded)


NETWORKS = [
    *convolutional(images, ""),
    *convolutional(signals, "1d"),
    images(Block("max_pool")),
    *(images(Block("conv", width=6, activation=activation)) for activation in ACTIVATIONS),
    Architecture((3, 16, 14), (Block("conv", width=6), FLAT, Block("linear", width=7)), (Head(5),)),
    *(rows(Block("linear", width=64, norm=norm), Block("linear", width=20)) for norm in ("batch", "layer", "none")),
    *(rows(Block("residual_linear", hidden=70, norm=norm)) for norm in ("batch", "layer", "none")),
    rows(Block("columns", categories="3,5"), Block("linear", width=8), categories=(3, 5)),
    rows(),
    Architecture((40,), (Block("linear", width=30), Block("linear", width=20)), (Head(5), Head(2, "other", follows=0))),
    *(
        tokens(embedding(), transformer(norm=norm, norm_place=place), READ)
        for norm in ("layer", "rms")
        for place in ("pre", "post")
    ),
    tokens(embedding(positions="sinusoidal", norm="rms", bottleneck=5), transformer(activation="silu"), READ),
    tokens(embedding(positions="none"), transformer(rotary=True), Block("sequence_norm"), Block("first_position")),
    *(
        tokens(embedding(bottleneck=bottleneck), transformer(causal=True), head=Head(30, tied=0))
        for bottleneck in (0, 4)
    ),
    tokens(embedding(), transformer(causal=True, rotary=True), transformer(causal=True), head=Head(30)),
    *(
        Architecture(
            shape, (Block(op, width=12, length=20, positions=place), transformer(rotary=True), READ), (Head(5),)
        )
        for shape, op in (((4, 30), "patches"), ((3, 16, 14), "patches2d"))
        for place in ("learned", "none")
    ),
]


# against what torch allocates


def allocated(network: nn.Module, x: Tensor) -> int:
    """The most bytes at once that torch's allocator has handed out on the CPU for a forward pass, with the input.

    Scratch memory is what an operator gives back before it returns; all that a convolution gives back is.
    """
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        answer = network(x)
    changes: list[tuple[int, int]] = []
    taken: dict[int, tuple[int, int, Any]] = {}
    assert profiler.profiler is not None
    for event, operator in events(profiler.profiler.kineto_results.experimental_event_tree(), None):
        change, place, now = event.extra_fields.alloc_size, event.extra_fields.ptr, event.start_time_ns
        if change > 0:
            taken[place] = (now, change, operator)
        elif place in taken:
            since, size, taker = taken.pop(place)
            if taker is None or now > taker.end_time_ns:
                changes += [(since, size), (now, -size)]
    changes += [(since, size) for since, size, _ in taken.values()]
    assert sum(size for _, size, _ in taken.values()) >= sum(each.nbytes for each in answers(answer)) > 0
    now = most = x.nbytes
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def events(nodes: Iterable[Any], operator: Any) -> Iterator[tuple[Any, Any]]:
    """What is allocated and given back, and the operator that did it."""
    for node in nodes:
        if node.name == "[memory]":
            yield node, operator
        else:
            helps = node.name.startswith(("aten::empty", "aten::resize_"))
            inside = operator is not None and operator.name == "aten::convolution"
            yield from events(node.children, operator if helps or inside else node)


def answers(answer: Any) -> list[Tensor]:
    return list(answer.values()) if isinstance(answer, dict) else [answer]


def agrees(architecture: Architecture, batch: int) -> None:
    """Within 1 %: a mean has its divisor as a tensor of 8 bytes for a moment."""
    network, x = build(architecture, seed=0).eval(), example_input(architecture, batch)
    assert activation_bytes(architecture, batch=batch) == pytest.approx(allocated(network, x), rel=0.01), architecture


@pytest.mark.parametrize("batch", [1, 3])
def test_every_kind_of_block_takes_what_torch_allocates(batch: int) -> None:
    """Each block of the house, with each norm, skip, position and activation that it has."""
    assert {block.op for architecture in NETWORKS for block in architecture.blocks} == BLOCKS.keys()
    for architecture in NETWORKS:
        agrees(architecture, batch)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_of_a_family_takes_what_torch_allocates(family: str, request: pytest.FixtureRequest) -> None:
    """Random candidates, as they are trained and as they are pruned, for batches of any size."""
    space, data = FAMILIES[family]

    @settings(max_examples=200 if request.config.getoption("--long") else 12, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 5))
    def check(seed: int, batch: int) -> None:
        candidate = space.sample(data, seed=seed)
        agrees(candidate.architecture, batch)
        agrees(candidate.deployed, batch)

    check()


class Gate(nn.Module):
    """A block of a user's own, of operators that the house does not use."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(in_width, width, 1), nn.Conv2d(in_width, width, 1)
        self.norm = nn.GroupNorm(2, width)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.other(x).flatten(2).softmax(2).reshape(len(x), -1, *x.shape[2:])
        both = torch.cat([self.one(x) * gates, gates], 1).clamp_(max=1)
        return self.norm(nn.functional.pad(both, (2, 2, 2, 2))[:, ::2] / 2)  # type: ignore[no-any-return]


def test_a_block_of_the_users_own_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, operator by operator."""
    monkeypatch.setattr(own, "_trusted", {f"{__name__}:Gate"})
    agrees(images(Block("conv", width=6), Block(f"{__name__}:Gate", width=8)), 2)


def make_net(width: int) -> nn.Module:
    """A network of a user's own; what it does depends on its numbers."""
    return Own(width)


class Own(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.again, self.leave = nn.Conv2d(1, width, 3), nn.Conv2d(width, width, 1), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.enter(x), inplace=True)
        for _ in range(2 if bool(self.enter.weight.isfinite().all()) else 0):
            x = x + nn.functional.hardtanh(self.again(x)).mul_(0.5)
        return self.leave(x.amax((2, 3)))  # type: ignore[no-any-return]


def test_a_module_of_the_users_own_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: three maps of 8 channels are alive at once, since what is done in place takes nothing."""
    monkeypatch.setattr(own, "_trusted", {f"{__name__}:make_net"})
    architecture = ModuleArchitecture.of(f"{__name__}:make_net", {"width": 8}, DataSpec((1, 8, 8), 10))
    assert activation_bytes(architecture, batch=2) == 4 * 2 * (64 + 3 * 8 * 6 * 6)
    agrees(architecture, 2)


def make_encoder(width: int) -> nn.Module:
    return nn.Sequential(
        nn.TransformerEncoderLayer(width, 4, 32, batch_first=True), nn.Flatten(), nn.Linear(20 * width, 10)
    )


def test_attention_layers_of_torch_do_not_hide_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted without their fused path, which is left as it was set."""
    monkeypatch.setattr(own, "_trusted", {f"{__name__}:make_encoder"})
    architecture = ModuleArchitecture.of(f"{__name__}:make_encoder", {"width": 16}, DataSpec((20, 16), 10))
    counted = activation_bytes(architecture)
    assert torch.backends.mha.get_fastpath_enabled()
    assert counted > 4 * 20 * (16 + 3 * 16)  # what comes, and its queries, keys and values
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    agrees(architecture, 1)


# by formula


def linear(*widths: int) -> tuple[Block, ...]:
    return tuple(Block("linear", width=width, norm="none") for width in widths)


def test_a_layer_takes_what_comes_and_what_leaves() -> None:
    """The input stays, since the caller has it; then what comes into a block, a linear map of it, its activation."""
    assert activation_bytes(rows(*linear(64, 20))) == 4 * (40 + 64 + 64)
    assert activation_bytes(rows(*linear(20, 64))) == 4 * (40 + 20 + 64 + 64)
    assert activation_bytes(rows(*linear(20, 64)), batch=7) == 7 * 4 * (40 + 20 + 64 + 64)


def test_a_branch_stays_until_it_is_taken() -> None:
    """What a later head takes is alive beside what is computed meanwhile."""
    blocks = linear(20, 30, 64)
    late = Architecture((40,), blocks, (Head(5), Head(2, "other")))
    early = Architecture((40,), blocks, (Head(5), Head(2, "other", follows=0)))
    assert activation_bytes(late) == 4 * (40 + 30 + 64 + 64)
    assert activation_bytes(early) == 4 * (40 + 20 + 30 + 64 + 64)


def test_a_residual_sum_holds_the_input_of_the_block() -> None:
    """At the end of the first activation: the image, what came into the block, the map and its activation."""
    architecture = images(Block("conv", width=6, norm="none"), Block("residual", width=6, hidden=30, norm="none"))
    assert activation_bytes(architecture) == 4 * 16 * 14 * (3 + 6 + 30 + 30)


def test_pooling_keeps_indices_for_a_moment() -> None:
    """Of 64 bits for each pixel that is left, over images; over signals there are none."""
    assert activation_bytes(images(Block("max_pool"))) == 3 * 16 * 14 * 4 + 3 * 8 * 7 * (4 + 8)
    assert activation_bytes(signals(Block("max_pool1d"))) == 4 * 30 * 4 + 4 * 15 * 4 + 4 * 4


def test_attention_does_not_hold_its_scores() -> None:
    """Memory grows with the length and not with its square; tokens are of 64 bits."""

    def of(length: int) -> int:
        blocks = (Block("embedding", width=12, vocabulary=30, length=length), transformer(), READ)
        return activation_bytes(Architecture((length,), blocks, (Head(5),), vocabulary=30))

    three = 12 + 12 + 12  # what came into the block, the sum with its attention, and that normalised
    assert of(1000) - of(500) == 500 * (8 + 4 * (three + 30 + 30))


def test_weights_are_no_activations() -> None:
    """A network that no memory holds: 10¹² weights, and three rows of 10⁶ numbers."""
    huge = Architecture((1_000_000,), (Block("linear", width=1_000_000, norm="none"),), (Head(1),))
    assert activation_bytes(huge) == 3 * 4 * 1_000_000


# what the rules say

LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x,
    lambda x: x.transpose(1, 2),
    lambda x: x.permute(2, 0, 1),
    lambda x: x[:, 1:],
    lambda x: x[..., ::2],
    lambda x: x[:1].expand(*x.shape),
]
UNARY = [
    *(getattr(aten, name).default for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "hardswish", "mish")),
    *(getattr(aten, name).default for name in ("tanh", "sigmoid", "cos", "sin")),
]


def calls() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Operators that have rules, on tensors laid out in many ways."""
    for first in LAYOUTS:
        x = first(torch.rand(4, 6, 8))
        yield from ((operator, (x,)) for operator in UNARY)
        width = x.shape[-1]
        yield aten.prelu.default, (x, torch.rand(1))
        yield aten.batch_norm.default, (x, *[torch.rand(x.shape[1])] * 4, False, 0.1, 1e-5, False)
        yield aten.layer_norm.default, (x, [width], torch.rand(width), torch.rand(width))
        yield aten.rms_norm.default, (x, [width], torch.rand(width))
        yield aten.rms_norm.default, (x, [width])
        yield aten.max_pool1d.default, (x, [2])
        for bias in (torch.rand(3), None):
            yield aten.linear.default, (x, torch.rand(3, width), bias)
        others = [other(torch.rand(4, 6, 8)) for other in LAYOUTS]
        others += [
            torch.rand(x.shape),
            torch.rand(1),
            torch.rand(width),
            torch.rand(x.shape[1], 1),
            torch.rand(2, *x.shape),
        ]
        for other in others:
            fits = all(a == b or 1 in (a, b) for a, b in zip(reversed(x.shape), reversed(other.shape)))  # noqa: B905
            if fits:
                yield from ((operator, (x, other)) for operator in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor))
        yield from ((aten.scaled_dot_product_attention.default, (q,) * 3) for q in (x[None], x[None].transpose(1, 2)))


def test_a_rule_says_what_torch_gives() -> None:
    """Shape, type and layout, or nothing where it does not know; of each operator that has a rule."""
    known, seen = set(), set()
    for operator, arguments in calls():
        with torch.inference_mode():
            real = operator(*arguments)
        made = RULES[operator](*[on_meta(x) if isinstance(x, Tensor) else x for x in arguments])
        seen.add(operator)
        if made is not None:
            known.add(operator)
            assert layout(made[0]) == layout(real), (operator, *map(layout, filter(torch.is_tensor, arguments)))
    assert seen == known == RULES.keys()


def on_meta(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def layout(x: Tensor) -> tuple[object, ...]:
    """Strides count only where there is more than one step."""
    return x.shape, x.dtype, [stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1]


# bad input and side effects


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_has_an_example(batch: int) -> None:
    with pytest.raises(UsageError, match=f"at least 1 example, {batch} was given"):
        activation_bytes(rows(), batch=batch)


def test_blocks_that_do_not_fit_are_named() -> None:
    """As in building."""
    with pytest.raises(InvalidArchitecture, match=r"block 1 \(conv\) cannot take"):
        activation_bytes(Architecture((3, 8, 8), (FLAT, Block("conv", width=3)), (Head(2),)))


def test_counting_leaves_the_global_random_state() -> None:
    """What the caller draws next does not depend on what was counted."""
    before = torch.get_rng_state()
    activation_bytes(tokens(embedding(positions="sinusoidal"), transformer(), READ), batch=2)
    assert torch.equal(torch.get_rng_state(), before)
