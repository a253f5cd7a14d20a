"""An architecture as data: its JSON, its key, its shapes, and what cannot be built."""

import copy
import hashlib
import json
import pickle
from typing import Any

import pytest
import torch

from paretonas.errors import InvalidArchitecture
from paretonas.spaces import Architecture, Block, Candidate, Head, build, builder, example_input, shapes, write_source
from paretonas.spaces.blocks import BLOCKS
from paretonas.spaces.builder import forms, run_on_meta
from paretonas.spaces.shape_rules import SHAPE_RULES

IMAGE = (1, 8, 8)


def network(*blocks: Block, shape: tuple[int, ...] = IMAGE, heads: tuple[Head, ...] = (Head(10),)) -> Architecture:
    return Architecture(shape, blocks, heads)


SMALL = network(
    Block("conv", width=8),
    Block("max_pool"),
    Block("conv", width=8, activation="gelu", norm="none"),
    Block("flatten"),
    Block("linear", width=12),
    Block("linear", width=12),
    Block("linear", width=12, shares=5),
)


# data


def test_an_architecture_survives_json() -> None:
    """What is read back from JSON text is equal and has the same key."""
    read = Architecture.from_json(json.loads(json.dumps(SMALL.to_json())))
    assert read == SMALL
    assert hash(read) == hash(SMALL)
    assert read.key == SMALL.key


def test_defaults_are_filled_in() -> None:
    """A block says all its numbers, whoever gave them and in whatever order."""
    explicit = Block("conv", activation="relu", norm="batch", groups=1, stride=1, kernel=3, width=8)
    assert Block("conv", width=8) == explicit
    assert hash(Block("conv", width=8)) == hash(explicit)
    assert list(explicit.args) == ["width", "kernel", "stride", "groups", "norm", "activation"]
    assert network(explicit).key == network(Block("conv", width=8)).key


@pytest.mark.parametrize(
    "other",
    [
        network(Block("conv", width=9), Block("flatten")),
        network(Block("conv", width=8, kernel=5), Block("flatten")),
        network(Block("conv", width=8, activation="elu"), Block("flatten")),
        network(Block("conv", width=8, norm="none"), Block("flatten")),
        network(Block("conv", width=8), Block("global_average_pool")),
        network(Block("flatten"), Block("linear", width=8)),
        network(Block("conv", width=8), Block("flatten"), shape=(3, 8, 8)),
        network(Block("conv", width=8), Block("flatten"), heads=(Head(9),)),
        network(Block("conv", width=8), Block("flatten"), heads=(Head(10, "scores"),)),
        network(Block("conv", width=8), Block("flatten"), heads=(Head(10), Head(10, "other"))),
    ],
    ids=str,
)
def test_different_networks_have_different_keys(other: Architecture) -> None:
    """Each number of a network is in its key."""
    assert other.key != network(Block("conv", width=8), Block("flatten")).key


def test_sharing_is_in_the_key() -> None:
    """Two layers with one set of weights are another network than two layers with two."""
    own = network(Block("flatten"), *[Block("linear", width=64)] * 2)
    tied = network(Block("flatten"), Block("linear", width=64), Block("linear", width=64, shares=1))
    assert own.key != tied.key


def test_the_key_is_a_hash_of_the_canonical_json() -> None:
    """Keys live in databases: they are the same in every process and every release."""
    text = '{"blocks":[{"op":"flatten"}],"heads":[{"name":"head","outputs":10}],"input_shape":[1,8,8],"version":1}'
    assert network(Block("flatten")).key == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_a_replaced_block_keeps_its_other_numbers() -> None:
    """Replace changes what is named; sharing is as given."""
    block = Block("conv", width=8, kernel=5, shares=0)
    assert block.replace(width=4) == Block("conv", width=4, kernel=5)
    assert block.replace(shares=2) == Block("conv", width=8, kernel=5, shares=2)
    assert block == Block("conv", width=8, kernel=5, shares=0)


def test_the_numbers_of_a_block_cannot_be_changed() -> None:
    """A block is frozen, its numbers too."""
    with pytest.raises(TypeError):
        Block("conv", width=8).args["width"] = 9  # type: ignore[index]


def test_an_architecture_reads_as_one_line() -> None:
    """People see the blocks in order, their widths, what is shared, and the activation, where it differs of each."""
    linear = "linear12 relu · linear12 relu · linear12 relu (shared)"
    assert str(SMALL) == f"conv8 relu · max_pool · conv8 gelu · flatten · {linear}"
    assert (
        str(network(Block("conv", width=8), Block("max_pool"), Block("flatten"))) == "conv8 · max_pool · flatten, relu"
    )
    assert str(network(shape=(64,))) == "linear classifier"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
@pytest.mark.parametrize(
    "value", [SMALL, Candidate(SMALL), build(SMALL, seed=0)], ids=["architecture", "candidate", "network"]
)
def test_networks_can_be_copied_and_sent_to_other_processes(value: Any, again: Any) -> None:
    """copy.deepcopy and pickle work, as for any nn.Module."""
    assert str(again(value)) == str(value)


# shapes


def test_shapes_are_those_that_come_into_each_block() -> None:
    """One shape for each block and one for the heads."""
    assert shapes(SMALL) == ((1, 8, 8), (8, 8, 8), (8, 4, 4), (8, 4, 4), (128,), (12,), (12,), (12,))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_keeps_the_size_of_the_map(kernel: int) -> None:
    """Odd kernels are padded to the same height and width."""
    assert shapes(network(Block("conv", width=4, kernel=kernel), Block("flatten")))[1] == (4, 8, 8)


def test_several_heads_answer_by_name() -> None:
    """With one head forward gives a tensor, with more a dict."""
    both = build(network(Block("flatten"), heads=(Head(10), Head(2, "even"))), seed=0)
    assert {name: scores.shape for name, scores in both(torch.rand(3, *IMAGE)).items()} == {
        "head": (3, 10),
        "even": (3, 2),
    }


def test_the_seed_decides_the_weights() -> None:
    """The same seed gives the same network, another seed another."""
    one, same, other = (build(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["block0.conv.weight"], other["block0.conv.weight"])


def test_building_with_a_seed_leaves_the_global_random_state() -> None:
    """What the caller draws next does not depend on what was built."""
    before = torch.get_rng_state()
    build(SMALL, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


# what cannot be built


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([Block("max_pool")] * 4 + [Block("flatten")], r"block 3 \(max_pool\) cannot take the shape 1x1x1"),
        ([Block("average_pool")] * 4 + [Block("flatten")], r"block 3 \(average_pool\) cannot take the shape 1x1x1"),
        ([Block("flatten"), Block("conv", width=4)], r"block 1 \(conv\) cannot take the shape 64 "),
        ([Block("global_average_pool"), Block("max_pool")], r"block 1 \(max_pool\) cannot take the shape 1 "),
        ([Block("linear", width=4), Block("flatten")], r"block 0 \(linear\) cannot take the shape 1x8x8"),
        ([Block("conv", width=4)], "heads need features in one row, 4x8x8 comes: .*flatten"),
        ([Block("conv", width=4, activation="rulu")], r"block 0 \(conv\) .*'rulu'"),
    ],
)
def test_blocks_that_do_not_fit_together_are_refused(blocks: list[Block], message: str) -> None:
    """The message names the block and the shape that comes to it, when shaping and when building."""
    architecture = network(*blocks)
    with pytest.raises(InvalidArchitecture, match=message):
        shapes(architecture)
    with pytest.raises(InvalidArchitecture, match=message):
        build(architecture)


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        ("conf", {}, r"unknown block 'conf': did you mean 'conv'\? there is conv, "),
        ("conv", {"width": 8, "strides": 2}, "unknown number of block .conv. .strides."),
        ("conv", {"width": 8, "in_width": 2}, "'in_width'"),
        ("conv", {"width": 8, "uses": 2}, "'uses'"),
        ("max_pool", {"width": 8}, "unknown number of block 'max_pool' 'width': there is size"),
        ("conv", {}, "block 'conv' needs width"),
        ("conv", {"width": 0}, "width of block 'conv' must be at least 1, 0 was given"),
        ("conv", {"width": 8, "kernel": -3}, "kernel of block 'conv' must be at least 1, -3 was given"),
        ("conv", {"width": [8]}, r"width of block 'conv' is of type int, \[8\]"),
        ("conv", {"width": None}, "width of block 'conv' is of type int, None"),
    ],
)
def test_a_malformed_block_is_refused(op: str, args: dict[str, Any], message: str) -> None:
    """The message names the block's op, its number and what there is."""
    with pytest.raises(InvalidArchitecture, match=message):
        Block(op, **args)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([Block("conv", width=4, shares=1), Block("conv", width=4)], "block 0 .* of block 1, which is not an earlier"),
        ([Block("conv", width=4, shares=0)], "block 0 .* of block 0, which is not an earlier"),
        (
            [Block("conv", width=4), Block("conv", width=4, shares=-1)],
            "of block -1, which is not an earlier",
        ),
        (
            [Block("conv", width=4), Block("conv", width=4, shares=0), Block("conv", width=4, shares=1)],
            "block 2 .* of block 1, which itself shares those of block 0",
        ),
        ([Block("conv", width=4), Block("linear", width=4, shares=0)], r"block 1 \(linear\) .* of block 0.*differ"),
        ([Block("conv", width=4), Block("conv", width=5, shares=0)], r"block 1 \(conv\) .* of block 0.*differ"),
        ([Block("max_pool"), Block("max_pool", shares=0)], r"block 1 \(max_pool\) .*no weights to share"),
    ],
)
def test_impossible_sharing_is_refused(blocks: list[Block], message: str) -> None:
    """A block shares with an earlier one of the same op and numbers that owns its weights."""
    with pytest.raises(InvalidArchitecture, match=message):
        network(*blocks)


def test_an_architecture_of_another_release_is_refused() -> None:
    """The message gives both versions."""
    with pytest.raises(InvalidArchitecture, match="version 1 is needed, this one has version 2"):
        Architecture.from_json({**SMALL.to_json(), "version": 2})


def test_an_architecture_needs_a_head() -> None:
    """A network that answers nothing is refused."""
    with pytest.raises(InvalidArchitecture, match="at least one head"):
        network(Block("flatten"), heads=())


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {"version": 1},
        {**SMALL.to_json(), "blocks": None},
        {**SMALL.to_json(), "blocks": [{"width": 3}]},
        {**SMALL.to_json(), "heads": [{"outputs": 10, "bias": False}]},
        {**SMALL.to_json(), "input_shape": 8},
        {**SMALL.to_json(), "input_shape": ["8x8"]},
        {**SMALL.to_json(), "blocks": ["conv"]},
    ],
    ids=repr,
)
def test_broken_json_is_refused(broken: Any) -> None:
    """Anything but what to_json wrote is InvalidArchitecture."""
    with pytest.raises(InvalidArchitecture):
        Architecture.from_json(broken)


def test_the_version_is_read_first() -> None:
    """A later release's file is told apart from a broken one, though it has blocks that are unknown here."""
    with pytest.raises(InvalidArchitecture, match="version"):
        Architecture.from_json({**SMALL.to_json(), "version": 2, "blocks": [{"op": "attention"}]})


@pytest.mark.parametrize(
    "block",
    [lambda: Block("conv", width=8, norm="btach"), lambda: Block("conv", width=8.0)],
    ids=["a norm there is none of", "a fraction"],
)
def test_the_kind_of_a_number_is_checked(block: Any) -> None:
    """A misspelt norm is no network without norm, and equal blocks have one key."""
    shapes(network(Block("conv", width=8), Block("flatten")))  # whether another network was shaped makes no difference
    with pytest.raises(InvalidArchitecture):
        build(network(block(), Block("flatten")))


@pytest.mark.parametrize(
    "heads",
    [
        [(10, "head"), (2, "head")],
        [(10, "block0")],
        [(10, "train")],
        [(10, "a.b")],
        [(10, "a b")],
        [(0, "head")],
        [("10", "head")],
    ],
    ids=[
        "one name twice",
        "a block's name",
        "a method's name",
        "a dotted name",
        "no name of Python",
        "no outputs",
        "a word for outputs",
    ],
)
def test_heads_that_cannot_be_built_are_refused(heads: list[tuple[Any, str]]) -> None:
    """A head has a name of its own, fit for Python, and at least one output."""
    with pytest.raises(InvalidArchitecture):
        network(Block("flatten"), heads=tuple(Head(*head) for head in heads))


@pytest.mark.parametrize(
    ("blocks", "shape"),
    [
        ([Block("conv", width=8, norm="none"), Block("flatten")], (1, 28)),
        ([Block("linear", width=16, norm="none"), Block("flatten")], (8, 8, 8)),
        ([Block("conv", width=8), Block("flatten")], (0, 8, 8)),
    ],
    ids=["a row taken for one image", "a map taken for rows", "no channels"],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_shapes_that_torch_misunderstands_are_refused(blocks: list[Block], shape: tuple[int, ...]) -> None:
    """A convolution takes (C, H, W) and a linear layer (features,), as the blocks say."""
    with pytest.raises(InvalidArchitecture):
        shapes(network(*blocks, shape=shape))


MAPS = [(1, 8, 8), (3, 5, 4), (2, 1, 1), (4, 2, 3)]
BLOCKS_OF_MAPS = [
    *(Block("conv", width=5, kernel=kernel) for kernel in (1, 2, 3, 5, 7)),
    *(Block(pool, size=size) for pool in ("max_pool", "average_pool") for size in (1, 2, 3)),
    Block("global_average_pool"),
    Block("flatten"),
]


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        *((block, shape) for block in BLOCKS_OF_MAPS for shape in MAPS),
        (Block("linear", width=5), (7,)),
        (Block("flatten"), (7,)),
        (Block("flatten"), (2, 6)),
    ],
    ids=str,
)
def test_a_shape_rule_says_what_torch_does(block: Block, shape: tuple[int, ...]) -> None:
    """Rule and meta device agree on the shape, and on whether there is one."""
    with torch.device("meta"):
        module = BLOCKS[block.op](*([shape[0]] if "width" in block.args else []), **block.args).eval()
    try:
        expected = run_on_meta(module, shape)
    except RuntimeError:
        with pytest.raises(ValueError, match="pixel"):
            SHAPE_RULES[block.op](shape, block.args)
    else:
        assert SHAPE_RULES[block.op](shape, block.args) == expected


def test_every_block_has_a_shape_rule() -> None:
    """No block of the house costs the imports of the meta device."""
    assert SHAPE_RULES.keys() == BLOCKS.keys()


def test_a_block_without_a_rule_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own block needs no rule: the shapes are those of the meta device."""
    architecture = network(Block("conv", width=5), Block("average_pool"), Block("flatten"), Block("linear", width=3))
    by_rule = forms.__wrapped__(architecture)
    monkeypatch.setattr(builder, "SHAPE_RULES", {})
    builder._form_after.cache_clear()
    assert forms.__wrapped__(architecture) == by_rule
    builder._form_after.cache_clear()


def test_a_block_that_puts_its_width_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of one's own gives its width first; a linear layer that takes maps for rows does not."""
    monkeypatch.setattr(builder, "SHAPE_RULES", {})
    builder._form_after.cache_clear()
    misread = network(Block("linear", width=16, norm="none"), Block("flatten"), shape=(8, 8, 8))
    with pytest.raises(InvalidArchitecture, match="gives 8x8x16, where 16 channels or features are to come"):
        shapes(misread)
    builder._form_after.cache_clear()


# trees: blocks that follow others, and inputs of other kinds


TOKENS = Architecture(
    (6,),
    (Block("embedding", width=8, vocabulary=20, length=6), Block("transformer", heads=2, head_width=4, hidden=16)),
    (Head(20, tied=0),),
    vocabulary=20,
)


def test_two_towers_follow_one_trunk() -> None:
    """Each head takes what its own tower makes of the trunk's output."""
    trunk, tower = Block("linear", width=6, norm="none"), Block("linear", width=5, norm="none")
    blocks = (trunk, tower, tower.replace(follows=0))
    both = build(Architecture((4,), blocks, (Head(3, "one", follows=1), Head(2, "two"))), seed=0).eval()
    x = torch.rand(7, 4)
    part = both.get_submodule
    y = part("block0")(x)
    answers = both(x)
    assert torch.equal(answers["one"], part("one")(part("block1")(y)))
    assert torch.equal(answers["two"], part("two")(part("block2")(y)))


def test_a_block_can_follow_the_input() -> None:
    """Two towers with nothing in common."""
    linear = Block("linear", width=5, norm="none")
    both = build(Architecture((4,), (linear, linear.replace(follows=-1)), (Head(3, "one", follows=0), Head(2, "two"))))
    x = torch.rand(7, 4)
    part = both.get_submodule
    assert torch.equal(both(x)["two"], part("two")(part("block1")(x)))
    assert torch.equal(both(x)["one"], part("one")(part("block0")(x)))


def test_following_the_block_before_is_left_unsaid() -> None:
    """Equal networks are equal data."""
    said = network(Block("conv", width=4), Block("flatten", follows=0), heads=(Head(10, follows=1),))
    assert said == network(Block("conv", width=4), Block("flatten"))
    assert said.key == network(Block("conv", width=4), Block("flatten")).key


@pytest.mark.parametrize(
    ("blocks", "head", "message"),
    [
        ((Block("flatten", follows=0),), Head(2), r"block 0 \(flatten\) follows 0, which is no earlier block"),
        ((Block("flatten", follows=-2),), Head(2), "follows -2"),
        ((Block("flatten"),), Head(2, follows=1), "head 'head' follows 1, which is no block"),
        ((Block("flatten"),), Head(2, tied=1), "head 'head' is tied to 1, which is no block"),
        ((Block("flatten"), Block("max_pool")), Head(2, follows=0), r"block 1 \(max_pool\) leads to no head"),
    ],
)
def test_a_place_that_there_is_not_is_refused(blocks: tuple[Block, ...], head: Head, message: str) -> None:
    """The message names the block or the head and what it follows."""
    with pytest.raises(InvalidArchitecture, match=message):
        network(*blocks, heads=(head,))


def test_tokens_go_into_an_embedding() -> None:
    """Scores for each position, from the embedding's own weights."""
    language = build(TOKENS, seed=0).eval()
    x = example_input(TOKENS, 3)
    assert x.dtype is torch.int64
    assert x.max() < 20
    assert language(x).shape == (3, 6, 20)
    assert [name for name, _ in language.named_children()] == ["block0", "block1"]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture((6,), (Block("linear", width=3),), (Head(2),), vocabulary=20), "is for vocabulary None"),
        (
            Architecture((6,), (Block("embedding", width=3, vocabulary=9), Block("mean_positions")), (Head(2),)),
            "vocabulary 9, the input has vocabulary None",
        ),
        (
            Architecture(
                (6,),
                (Block("embedding", width=3, vocabulary=9), Block("mean_positions")),
                (Head(2),),
                vocabulary=20,
            ),
            "vocabulary 9, the input has vocabulary 20",
        ),
        (
            Architecture((6,), (Block("columns", categories="3,4"),), (Head(2),), categories=(3, 5)),
            "categories 3,4, the input has categories 3,5",
        ),
        (
            Architecture((6,), (TOKENS.blocks[0], Block("conv", width=3)), (Head(2),), vocabulary=20),
            "takes no sequences",
        ),
        (network(Block("transformer"), Block("mean_positions")), "takes sequences"),
        (
            Architecture((6,), (TOKENS.blocks[0],), (Head(19, tied=0),), vocabulary=20),
            "cannot use the weights of block 0",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(architecture: Architecture, message: str) -> None:
    """Tokens, categories and sequences go only where they are meant to."""
    with pytest.raises(InvalidArchitecture, match=message):
        shapes(architecture)


def test_category_codes_are_below_their_number() -> None:
    """An example has codes in its last columns, numbers in the others."""
    x = example_input(Architecture((4,), (Block("columns", categories="3,5"),), (Head(2),), categories=(3, 5)), 200)
    assert set(x[:, 2].tolist()) == {0, 1, 2}
    assert set(x[:, 3].tolist()) == {0, 1, 2, 3, 4}
    assert 0 <= x[:, :2].min() <= x[:, :2].max() < 1


INJECTION = '9"""\n    raise SystemExit("run")\n    """'


@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary": INJECTION},
        {"input_shape": [INJECTION]},
        {"categories": [INJECTION]},
        {"heads": [{"outputs": INJECTION}]},
        {"heads": [{"outputs": 2, "name": INJECTION}]},
        {"heads": [{"outputs": 2, "tied": INJECTION}]},
        {"heads": [{"outputs": 2, "follows": INJECTION}]},
        {"blocks": [{"op": INJECTION}]},
        {"blocks": [{"op": "flatten", "shares": INJECTION}]},
        {"blocks": [{"op": "flatten", "follows": INJECTION}]},
        {"blocks": [{"op": "linear", "width": INJECTION}]},
        {"version": INJECTION},
    ],
    ids=str,
)
def test_data_that_would_be_code_is_refused(change: dict[str, Any]) -> None:
    """What lies in a store goes into an exported file: only numbers, names and words that a block knows."""
    data = {**Architecture((8,), (), (Head(2),)).to_json(), **change}
    with pytest.raises(InvalidArchitecture):
        write_source(Architecture.from_json(data), "")


def test_a_word_that_would_be_code_is_no_block() -> None:
    """A word of a block that its constructor does not know is refused before anything is written."""
    data = Architecture((8,), (Block("linear", width=3),), (Head(2),)).to_json()
    data["blocks"][0]["activation"] = INJECTION
    with pytest.raises(InvalidArchitecture):
        write_source(Architecture.from_json(data), "")


def test_a_leaky_relu_with_the_usual_slope_is_a_leaky_relu() -> None:
    """One slope is written in one way."""
    assert Block("conv", width=3, activation="leaky_relu(0.01)") == Block("conv", width=3, activation="leaky_relu")
    assert Block("conv", width=3, activation="leaky_relu(0.20)") == Block("conv", width=3, activation="leaky_relu(0.2)")
    with pytest.raises(InvalidArchitecture, match="only a leaky_relu has a slope"):
        shapes(network(Block("conv", width=3, activation="relu(1)"), Block("flatten")))


@pytest.mark.parametrize("name", ["training", "forward", "block3", "architecture", "class", "a b", "T_destination"])
def test_a_head_has_a_name_that_is_free(name: str) -> None:
    """A module has names of its own."""
    with pytest.raises(InvalidArchitecture, match="a head's name is a free Python name"):
        Head(2, name)
