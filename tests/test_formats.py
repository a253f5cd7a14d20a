"""Networks in other formats: read back from the file, they answer as the trained one, for every block and family."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_families import FAMILIES
from test_onnx import NETWORKS, drawn
from torch import nn

from paretonas.errors import ExportError, UsageError
from paretonas.objectives import Data, Deployed, quantize_for, to_onnx, train
from paretonas.objectives.executorch import check_executorch
from paretonas.objectives.tasks import Digits
from paretonas.search.delivery.formats import FORMATS, Format, formats_of
from paretonas.search.delivery.formats_checked import POINTS, TOLERANCE, by_head, compare, write_format
from paretonas.spaces import Architecture, Block, Head, Training, build, example_input
from paretonas.spaces.blocks import ACTIVATIONS, BLOCKS

IN_HOUSE = ("torch_export", "onnx")
END = Block("flatten")
MAPS, SIGNAL = (4, 8, 8), (4, 16)


def alone(block: Block, *, shape: tuple[int, ...] = MAPS, **spec: Any) -> Architecture:
    """A network of this block, and what it needs to answer two classes."""
    return Architecture(shape, (block, END), (Head(2),), **spec)


def sequence(*blocks: Block, **layer: Any) -> Architecture:
    """A network of tokens with one transformer layer."""
    inside = Block("transformer", heads=2, head_width=4, hidden=12, **layer)
    start = Block("embedding", width=8, vocabulary=20, length=6)
    return Architecture((6,), (start, inside, *blocks), (Head(2),), vocabulary=20)


def blocks() -> dict[str, Architecture]:
    """A network for each block of the house, and for each activation."""
    found = {
        "columns": Architecture((5,), (Block("columns", categories="3,5"),), (Head(3),), categories=(3, 5)),
        "linear": Architecture((5,), (Block("linear", width=6, norm="layer"),), (Head(3),)),
        "residual_linear": Architecture((5,), (Block("residual_linear", hidden=4),), (Head(3),)),
        "flatten": Architecture(MAPS, (END,), (Head(3),)),
        "embedding": sequence(Block("mean_positions")),
        "transformer": sequence(Block("first_position"), norm="rms", rotary=True),
        "transformer, causal": sequence(Block("mean_positions"), causal=True, norm_place="post"),
        "sequence_norm": sequence(Block("sequence_norm"), Block("mean_positions")),
        "mean_positions": sequence(Block("mean_positions"), activation="silu"),
        "first_position": sequence(Block("first_position")),
    }
    for end, shape in (("", MAPS), ("1d", SIGNAL)):
        found |= {
            f"conv{end}": alone(Block(f"conv{end}", width=4, groups=2), shape=shape),
            f"residual{end}": alone(Block(f"residual{end}", width=6, hidden=5, skip="projection"), shape=shape),
            f"separable{end}": alone(Block(f"separable{end}", width=6, stride=2), shape=shape),
            f"separable{end}, shared kernel": alone(Block(f"separable{end}", width=6, kernels="shared"), shape=shape),
            f"inverted_residual{end}": alone(
                Block(f"inverted_residual{end}", width=4, hidden=8, squeeze=3, skip="identity"), shape=shape
            ),
            f"max_pool{end}": alone(Block(f"max_pool{end}"), shape=shape),
            f"average_pool{end}": alone(Block(f"average_pool{end}"), shape=shape),
            f"global_average_pool{end}": Architecture(
                shape, (Block(f"conv{end}", width=4), Block(f"global_average_pool{end}")), (Head(2),)
            ),
        }
    found["patches2d"] = Architecture(
        MAPS, (Block("patches2d", width=8, size=4, length=4, positions="learned"), Block("mean_positions")), (Head(2),)
    )
    found["patches"] = Architecture(
        SIGNAL,
        (Block("patches", width=8, size=4, length=4, positions="sinusoidal"), Block("mean_positions")),
        (Head(2),),
    )
    residual = tuple(Block("residual_linear", hidden=4, activation=word) for word in ACTIVATIONS)
    found["every activation"] = Architecture((5,), residual, (Head(3),))
    return found


ONE_BLOCK = blocks()
EVERY = {**{name: NETWORKS[name] for name in ("rows", "tokens", "patches", "shared")}, **ONE_BLOCK}


def halved(left_out: Iterable[bool]) -> list[Any]:
    """All of them; those that are left out, since the block is tried in the other dimension, run with ``--long``."""
    return [
        pytest.param(name, marks=pytest.mark.long if out else ()) for name, out in zip(EVERY, left_out, strict=True)
    ]


def varied(architecture: Architecture) -> nn.Module:
    """A network whose answers are not all the same, so that they tell something."""
    network = drawn(architecture)
    with torch.no_grad():
        answers = by_head(network(example_input(architecture, 16)))
    assert all(float(answer.std(0).max()) > 1e-6 for answer in answers.values())
    return network


def test_every_block_is_there() -> None:
    """The networks here have all blocks of the house in them."""
    seen = {block.op for architecture in ONE_BLOCK.values() for block in architecture.blocks}
    assert seen == BLOCKS.keys()


@pytest.mark.parametrize("name", halved("1d" in name for name in EVERY))
def test_a_program_answers_as_the_network(name: str, tmp_path: Path) -> None:
    """torch.export, read back from its file, for batches of 1, 2 and 16: within 1e-5, and nothing of this machine."""
    deployed = Deployed(varied(EVERY[name]), EVERY[name])
    (one,) = formats_of("torch_export")
    found = write_format(one, deployed, None, tmp_path)
    assert found["relative_difference"] <= TOLERANCE
    assert found["examples"] == 19
    with zipfile.ZipFile(tmp_path / "net.pt2") as file:
        content = b"".join(file.read(part) for part in file.namelist())
    assert not any(word in content for word in (b"site-packages", b".py", str(Path.home()).encode() + b"/"))


@pytest.mark.parametrize("name", halved(f"{name}1d" in EVERY for name in EVERY))
def test_a_model_answers_as_the_network(name: str, tmp_path: Path) -> None:
    """ONNX on ONNX Runtime, read back from its file, for batches of 1, 2 and 16: within 1e-5."""
    deployed = Deployed(varied(EVERY[name]), EVERY[name])
    found = write_format(FORMATS["onnx"], deployed, None, tmp_path)
    assert found["relative_difference"] <= TOLERANCE
    assert found["runs_on"].startswith("onnxruntime 1.")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("word", IN_HOUSE)
def test_every_family_leaves_in_every_format(
    family: str, word: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Random candidates of every family, as they are left: one of each, 20 with ``--long``."""
    space, data = FAMILIES[family]
    for seed in range(20 if request.config.getoption("--long") else 1):
        architecture = space.sample(data, seed=seed).deployed
        try:
            found = write_format(FORMATS[word], Deployed(drawn(architecture), architecture), None, tmp_path)
        except Exception as error:
            error.add_note(f"seed {seed} of {family}: {architecture}")
            raise
        assert found["relative_difference"] <= TOLERANCE


# in int8


@pytest.fixture(scope="module")
def data() -> Data:
    return Digits().load()


@pytest.fixture(scope="module")
def eight(data: Data) -> Deployed:
    """A small convolutional network that knows the digits, as it leaves in 8 bits."""
    conv = Block("conv", width=16)
    architecture = Architecture((1, 8, 8), (conv, conv, Block("max_pool"), Block("global_average_pool")), (Head(10),))
    network = build(architecture, seed=0)
    list(train(network, data, Training(epochs=5), seed=0))
    return Deployed(network.eval(), architecture, quantize_for(network.eval(), data), "int8 static")


def test_eight_bits_leave_as_they_were_judged(eight: Deployed, data: Data, tmp_path: Path) -> None:
    """The ONNX file is the int8 network of the trial; the program is the one of 32 bits that it was made of."""
    assert eight.quantized is not None
    found = write_format(FORMATS["onnx"], eight, data, tmp_path)
    assert (tmp_path / "net.int8.onnx").read_bytes() == eight.quantized.model
    assert found["quality"] == found["quality_of_trial"]
    assert found["quality"]["accuracy"] > 0.8
    assert (found["examples"], found["split"]) == (360, "validation")
    assert write_format(FORMATS["torch_export"], eight, data, tmp_path)["relative_difference"] <= TOLERANCE
    assert {path.name for path in tmp_path.iterdir()} == {"net.int8.onnx", "net.pt2"}


def test_less_accurate_bytes_are_refused(eight: Deployed, data: Data, tmp_path: Path) -> None:
    """A file whose accuracy is more than half a point from that of the trial says so."""
    other = build(eight.architecture, seed=1).eval()
    worse = replace(FORMATS["onnx"], write=lambda *_: quantize_for(other, data).model)
    with pytest.raises(ExportError, match=rf"may differ from the trial by {POINTS} in accuracy, it has 0\.\d+"):
        write_format(worse, eight, data, tmp_path)


# what is checked


def test_another_network_in_the_file_is_found_out(tmp_path: Path) -> None:
    """Other weights, an answer that is not a number, and another shape are refused, and it is said by how much."""
    architecture = ONE_BLOCK["linear"]
    deployed = Deployed(varied(architecture), architecture)
    other = build(architecture, seed=1).eval()
    written = replace(FORMATS["onnx"], write=lambda *_: to_onnx(other, example_input(architecture, 2)))
    with pytest.raises(ExportError, match=r"may differ from the trained network by 1e-05 of the largest answer, it"):
        write_format(written, deployed, None, tmp_path)
    with pytest.raises(ExportError, match="it does by nan"):
        compare(written, lambda x: deployed.network(x) * float("nan"), deployed, (2,))
    with pytest.raises(ExportError, match=r"answers scores of shape \(2, 2\), the trained network scores of shape"):
        compare(written, lambda x: by_head(deployed.network(x))[""][:, :2], deployed, (2,))


def test_large_answers_are_compared_by_their_size() -> None:
    """A difference of 1e-3 counts beside answers of 10, and not beside answers of 1,000."""
    architecture = Architecture((5,), (), (Head(3),))
    network = build(architecture, seed=0).eval()
    assert isinstance(network.head, nn.Linear)
    for scale, agrees in ((1e3, True), (1e1, False)):
        nn.init.constant_(network.head.bias, scale)
        deployed = Deployed(network, architecture)
        if agrees:
            found = compare(FORMATS["onnx"], lambda x: network(x) + 1e-3, deployed, (2,))
            assert found["largest_difference"] == pytest.approx(1e-3, rel=0.1)
        else:
            with pytest.raises(ExportError):
                compare(FORMATS["onnx"], lambda x: network(x) + 1e-3, deployed, (2,))


# which formats there are


def test_formats_by_their_words() -> None:
    """In one order, the source among them or not; all are those that can be written here."""
    assert [one.word for one in formats_of("onnx, torch_export,source")] == ["torch_export", "onnx"]
    assert formats_of(()) == formats_of("source") == []
    here = [one.word for one in formats_of("all")]
    assert here[:2] == ["torch_export", "onnx"]
    assert ("executorch" in here) == FORMATS["executorch"].installed()


def test_unknown_formats_are_refused() -> None:
    """With what was meant."""
    with pytest.raises(UsageError, match="unknown format 'onx': did you mean 'onnx'"):
        formats_of("source,onx")


def test_a_missing_package_is_named() -> None:
    """Asked for by its word; ``all`` leaves it out."""
    script = """
import sys
sys.modules["executorch"] = sys.modules["torchao"] = None
from paretonas.errors import UsageError
from paretonas.search.delivery.formats import formats_of
print([one.word for one in formats_of("all")])
try:
    formats_of("executorch")
except UsageError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = answer.stdout.splitlines()
    assert first == "['torch_export', 'onnx']"
    assert "pip install 'paretonas[executorch]'" in second


# ExecuTorch, where it is installed


@pytest.fixture
def executorch() -> Format:
    """Skips where the packages are not installed."""
    try:
        check_executorch()
    except UsageError as error:
        pytest.skip(str(error))
    return FORMATS["executorch"]


@pytest.mark.parametrize("name", EVERY)
def test_a_device_program_answers_as_the_network(name: str, executorch: Format, tmp_path: Path) -> None:
    """Run by ExecuTorch from its file, an example at a time: within 1e-5, also where layers share weights."""
    found = write_format(executorch, Deployed(varied(EVERY[name]), EVERY[name]), None, tmp_path)
    assert found["relative_difference"] <= TOLERANCE
    assert found["takes"] == "one example a call"


def test_a_device_program_in_eight_bits(executorch: Format, eight: Deployed, data: Data, tmp_path: Path) -> None:
    """As accurate as the trial within half a point, on the validation split."""
    found = write_format(executorch, eight, data, tmp_path)
    assert abs(found["quality"]["accuracy"] - found["quality_of_trial"]["accuracy"]) <= POINTS
    assert {path.name for path in tmp_path.iterdir()} == {"net.int8.pte"}
