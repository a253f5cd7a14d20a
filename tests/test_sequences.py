"""The blocks for sequences, against torch's own layers and against their formulas."""

import math

import pytest
import torch
from torch import nn

from paretonas.spaces import Architecture, Block, Head, build
from paretonas.spaces.blocks.sequences import (
    Attention,
    FirstPosition,
    ImagePatches,
    LearnedPositions,
    MeanPositions,
    RotaryPositions,
    SequenceNorm,
    SignalPatches,
    SinusoidalPositions,
    TokenEmbedding,
    TransformerBlock,
)
from paretonas.spaces.shape_rules import SHAPE_RULES

WIDTH, HEADS, HEAD_WIDTH, HIDDEN = 12, 3, 4, 20


@pytest.fixture(autouse=True)
def seed() -> None:
    """The weights of the blocks are the same in every run."""
    torch.manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# attention


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_torch(*, causal: bool) -> None:
    """With the same weights as nn.MultiheadAttention, whose rows are laid out (3, heads, head_width)."""
    ours = Attention(WIDTH, heads=HEADS, head_width=HEAD_WIDTH, causal=causal, rotary=False)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    x = draw(2, 5, WIDTH)
    mask = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_attention_by_hand_with_heads_of_any_width() -> None:
    """Softmax of the scaled products of queries and keys, head by head; heads need not fill the width."""
    ours = Attention(WIDTH, heads=2, head_width=5, causal=False, rotary=False)
    x = draw(1, 4, WIDTH)
    mixed = []
    for head in ours.qkv(x)[0].split(3 * 5, dim=1):
        query, key, value = head.split(5, dim=1)
        mixed.append((query @ key.T / math.sqrt(5)).softmax(1) @ value)
    torch.testing.assert_close(ours(x)[0], ours.out(torch.cat(mixed, 1)))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_place", ["pre", "post"])
def test_a_block_is_that_of_torch(norm_place: str, activation: str) -> None:
    """With the same weights as nn.TransformerEncoderLayer."""
    ours = TransformerBlock(WIDTH, heads=HEADS, head_width=HEAD_WIDTH, hidden=HIDDEN, norm_place=norm_place,
                            activation=activation)  # fmt: skip
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True,
                                        norm_first=norm_place == "pre")  # fmt: skip
    copy_attention(ours.attention, theirs.self_attn)
    for mine, other in (
        (ours.feed_forward.enter, theirs.linear1),
        (ours.feed_forward.leave, theirs.linear2),
        (ours.attention_norm, theirs.norm1),
        (ours.feed_forward_norm, theirs.norm2),
    ):
        nn.init.normal_(other.weight)
        mine.load_state_dict(other.state_dict())
    x = draw(2, 5, WIDTH)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_later_token_changes_no_earlier_output_of_a_causal_block(*, causal: bool, rotary: bool) -> None:
    """In a block that is not causal it does."""
    block = TransformerBlock(WIDTH, heads=HEADS, head_width=HEAD_WIDTH, causal=causal, rotary=rotary)
    x = draw(2, 6, WIDTH)
    other = x.clone()
    other[:, 4] *= -1  # adding one number to all of a vector would pass no layer norm
    same = [torch.equal(block(x)[:, place], block(other)[:, place]) for place in range(6)]
    assert same == ([True] * 4 + [False] * 2 if causal else [False] * 6)


def test_norms_are_by_name() -> None:
    """Layer norm and RMS norm, in the block and on their own."""
    for norm, kind in (("layer", nn.LayerNorm), ("rms", nn.RMSNorm)):
        block = TransformerBlock(WIDTH, norm=norm)
        assert [type(each) for each in (block.attention_norm, block.feed_forward_norm)] == [kind, kind]
        x = draw(2, 5, WIDTH)
        assert torch.equal(SequenceNorm(WIDTH, norm=norm)(x), kind(WIDTH)(x))


@pytest.mark.parametrize("numbers", [{"norm": "batch"}, {"norm_place": "middle"}, {"activation": "swish"}])
def test_an_unknown_word_is_no_block(numbers: dict[str, str]) -> None:
    """The builder says which block and which word (tests/test_architecture.py)."""
    with pytest.raises(KeyError, match=next(iter(numbers.values()))):
        TransformerBlock(WIDTH, **numbers)  # type: ignore[arg-type]


# positions


def test_rotary_positions_turn_pairs_by_the_formula() -> None:
    """Number i and number i + half, as a complex number, turn by position / 10000^(2i / head_width)."""
    x = draw(2, 3, 7, 6)
    pairs = torch.complex(x[..., :3], x[..., 3:])
    angle = torch.arange(7.0)[:, None] * torch.tensor([10000 ** (-2 * i / 6) for i in range(3)])
    turned = pairs * torch.polar(torch.ones(7, 3), angle)
    torch.testing.assert_close(RotaryPositions(6)(x), torch.cat((turned.real, turned.imag), -1))


def test_rotated_queries_and_keys_know_their_distance_alone() -> None:
    """The product of a query and a key is the same wherever they stand, at equal distance (Su et al. 2021, eq. 16)."""
    turn, query, key = RotaryPositions(8), draw(8).expand(9, 8), draw(2, 8)[1].expand(9, 8)
    products = turn(query) @ turn(key).T
    for distance in range(-8, 9):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert not torch.allclose(products[0, 0], products[0, 5])


def test_rotary_positions_need_even_heads() -> None:
    """An odd number is no number of pairs."""
    with pytest.raises(ValueError, match="the heads have an odd width of 5"):
        TransformerBlock(WIDTH, head_width=5, rotary=True)


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoidal_positions_are_those_of_the_paper(width: int) -> None:
    """Sine and cosine in turn, of position / 10000^(2i / width), over sqrt(width); odd widths end on a sine."""
    waves = SinusoidalPositions(5, width)
    for position in range(5):
        for number in range(width):
            angle = position / 10000 ** (2 * (number // 2) / width)
            wave = math.cos(angle) if number % 2 else math.sin(angle)
            assert waves.table[position, number].item() == pytest.approx(wave / math.sqrt(width), abs=1e-6)


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_positions_are_added_and_cut_to_the_sequence(kind: type[nn.Module]) -> None:
    """A shorter sequence takes the first ones."""
    positions, x = kind(9, WIDTH), draw(2, 9, WIDTH)
    added = positions(torch.zeros(2, 9, WIDTH))
    assert added.std() > 0
    assert torch.equal(positions(x), x + added)
    assert torch.equal(positions(x[:, :4]), positions(x)[:, :4])


def test_waves_are_not_weights() -> None:
    """What follows from the numbers is not saved; it is there again in the next network."""
    embedding = TokenEmbedding(WIDTH, positions="sinusoidal")
    assert list(embedding.state_dict()) == ["tokens.weight"]
    assert "frequencies" not in "".join(TransformerBlock(WIDTH, rotary=True).state_dict())


# embedding


@pytest.mark.parametrize("bottleneck", [0, 5])
def test_an_embedding_by_hand(bottleneck: int) -> None:
    """Look up, add positions, normalise, project; scores go the same way back."""
    embedding = TokenEmbedding(WIDTH, vocabulary=9, length=6, bottleneck=bottleneck, norm="layer")
    inner = bottleneck or WIDTH
    state = embedding.state_dict()
    tokens, positions = state["tokens.weight"], state["positions.weight"]
    assert tokens.shape == (9, inner)
    assert positions.shape == (6, inner)
    x = torch.tensor([[1, 8, 0, 3, 1, 1], [2, 2, 7, 5, 4, 8]])
    expected = nn.functional.layer_norm(tokens[x] + positions, (inner,))
    y = draw(2, 6, WIDTH)
    scores = y
    if bottleneck:
        expected = expected @ state["project.weight"].T + state["project.bias"]
        scores = y @ state["project.weight"]
    torch.testing.assert_close(embedding(x), expected)
    torch.testing.assert_close(embedding.logits(y), scores @ tokens.T)


def test_an_embedding_begins_small_and_cut() -> None:
    """Spread 1 / sqrt(width), nothing beyond twice that, so that tied scores begin on the scale of a linear layer's."""
    tokens = TokenEmbedding(64, vocabulary=500).tokens.weight
    assert tokens.std().item() == pytest.approx(0.88 / 8, rel=0.03)
    assert tokens.abs().max().item() <= 2 / 8


def test_a_tied_head_trains_both() -> None:
    """Its gradient is the sum of those of an embedding and of a head of their own, at the same weights."""
    blocks = (
        Block("embedding", width=8, vocabulary=9, length=6),
        Block("transformer", heads=2, head_width=4, hidden=16, causal=True),
    )
    tied = build(Architecture((6,), blocks, (Head(9, tied=0),), vocabulary=9), seed=0)
    own = build(Architecture((6,), blocks, (Head(9),), vocabulary=9), seed=0)
    state = tied.state_dict()
    assert "head.weight" not in state
    own.load_state_dict({**state, "head.weight": state["block0.tokens.weight"], "head.bias": torch.zeros(9)})
    x = torch.tensor([[1, 8, 0, 3, 1, 1], [2, 2, 7, 5, 4, 8]])
    for network in (tied, own):
        scores = network(x)
        assert scores.shape == (2, 6, 9)
        nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(tied(x), own(x))
    gradient, embedding, head = (
        gradient_of(tied, "block0.tokens"), gradient_of(own, "block0.tokens"), gradient_of(own, "head")
    )  # fmt: skip
    assert not torch.equal(embedding, torch.zeros_like(embedding))
    torch.testing.assert_close(gradient, embedding + head)


# patches and readouts


def test_patches_of_signals_are_windows_in_order() -> None:
    """A linear layer on each window; what is left at the end falls away."""
    patches, x = SignalPatches(3, WIDTH, size=4, length=2, positions="none"), draw(2, 3, 11)
    windows = x.unfold(2, 4, 4).permute(0, 2, 1, 3).flatten(2)  # (N, windows, channels · size)
    expected = nn.functional.linear(windows, patches.project.weight.flatten(1), patches.project.bias)
    torch.testing.assert_close(patches(x), expected)


def test_patches_of_images_are_squares_row_by_row() -> None:
    """A linear layer on each square; what is left at the edges falls away."""
    patches, x = ImagePatches(3, WIDTH, size=2, length=6, positions="none"), draw(2, 3, 5, 6)
    squares = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    expected = nn.functional.linear(squares, patches.project.weight.flatten(1), patches.project.bias)
    torch.testing.assert_close(patches(x), expected)


def test_readouts_by_hand() -> None:
    """The mean over the positions, and the first of them."""
    x = draw(2, 5, WIDTH)
    torch.testing.assert_close(MeanPositions()(x), sum(x[:, place] for place in range(5)) / 5)
    assert torch.equal(FirstPosition()(x), x[:, 0])


# of all of them


@pytest.mark.parametrize(
    ("block", "x"),
    [
        (TokenEmbedding(WIDTH, length=5, bottleneck=4, norm="rms"), torch.arange(10).view(2, 5)),
        (SignalPatches(3, WIDTH), draw(2, 3, 16)),
        (ImagePatches(3, WIDTH), draw(2, 3, 8, 8)),
        (TransformerBlock(WIDTH, rotary=True, causal=True), draw(2, 5, WIDTH)),
        (SequenceNorm(WIDTH), draw(2, 5, WIDTH)),
    ],
)
def test_training_and_evaluation_give_the_same(block: nn.Module, x: torch.Tensor) -> None:
    """Bitwise: nothing is random and there are no batch statistics."""
    assert torch.equal(block.train()(x), block.eval()(x))


@pytest.mark.parametrize(
    ("op", "numbers", "shape", "message"),
    [
        ("embedding", {"length": 4, "positions": "learned"}, (5,), "there are 5 positions, it has 4"),
        ("embedding", {"length": 4, "positions": "sinusoidal"}, (5,), "there are 5 positions, it has 4"),
        ("patches", {"length": 4, "size": 2, "positions": "learned"}, (1, 10), "there are 5 positions, it has 4"),
        ("patches", {"length": 4, "size": 12, "positions": "learned"}, (1, 10), "not one patch fits in"),
        ("patches2d", {"length": 4, "size": 3, "positions": "none"}, (1, 2, 9), "not one patch fits in"),
        ("patches2d", {"length": 4, "size": 3, "positions": "none"}, (1, 9), "it takes maps"),
        ("transformer", {}, (4,), "it takes sequences"),
        ("mean_positions", {}, (4,), "it takes sequences"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(
    op: str, numbers: dict[str, object], shape: tuple[int, ...], message: str
) -> None:
    """The shape rules say why."""
    with pytest.raises(ValueError, match=message):
        SHAPE_RULES[op](shape, numbers)


def test_without_positions_a_sequence_is_as_long_as_it_likes() -> None:
    """There is no table to run out of."""
    assert SHAPE_RULES["embedding"]((5,), {"length": 4, "positions": "none", "width": 3}) == (5, 3)
    assert TokenEmbedding(3, length=4, positions="none")(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 5, 3)


# helpers


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Give ours the weights of theirs, all of them random."""
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        for mine, other in ((ours.qkv.weight, theirs.in_proj_weight), (ours.qkv.bias, theirs.in_proj_bias)):
            mine.copy_(other.view(3, HEADS, HEAD_WIDTH, -1).transpose(0, 1).reshape(mine.shape))
        ours.out.load_state_dict(theirs.out_proj.state_dict())


def gradient_of(network: nn.Module, layer: str) -> torch.Tensor:
    gradient = network.get_parameter(f"{layer}.weight").grad
    assert gradient is not None
    return gradient
