"""int8 networks: as accurate as what they were made of, a quarter of its bytes, and always the same."""

import logging
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnxruntime.quantization.quant_utils import quantize_data
from test_onnx import NETWORKS, Outer, by_head, drawn, written
from torch import Tensor, nn

from paretonas.errors import UsageError
from paretonas.objectives import OnnxNetwork, fake_quantization, quality, quantize, quantize_for, to_onnx, train
from paretonas.objectives.int8_graph import int8
from paretonas.objectives.quantization import narrow, quantize_model
from paretonas.objectives.quantization_aware import OUT
from paretonas.objectives.tasks import Data, Digits
from paretonas.spaces import Architecture, Block, Head, Training, build, example_input

CONV = Block("conv", width=16)
DIGITS = Architecture(
    (1, 8, 8), (CONV, Block("conv", width=32), Block("max_pool"), Block("global_average_pool")), (Head(10),)
)


@pytest.fixture(scope="module")
def data() -> Data:
    return Digits().load()


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    """A small convolutional network that knows the digits."""
    network = build(DIGITS, seed=0)
    list(train(network, data, Training(epochs=5), seed=0))
    return network.eval()


@pytest.fixture(scope="module")
def int8_network(trained: nn.Module, data: Data) -> OnnxNetwork:
    return quantize_for(trained, data)


def calibration(architecture: Architecture) -> list[Tensor]:
    return [example_input(architecture, 32, seed=seed) for seed in range(2)]


@cache
def quantized(name: str, method: str) -> tuple[nn.Module, OnnxNetwork]:
    network, model = written(name)
    return network, quantize_model(model, calibration(NETWORKS[name]), method=method)


def weights_of(model: OnnxNetwork) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(model.model).graph.initializer}


# what is gained and what is kept


def test_accuracy_is_kept(trained: nn.Module, int8_network: OnnxNetwork, data: Data) -> None:
    """Within half a point on the test split, answered in bytes."""
    before, after = (quality(each, data.test, data, ["accuracy"])["accuracy"] for each in (trained, int8_network))
    assert before > 0.85
    assert after >= before - 0.005
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(int8_network.model).graph.node)


def test_weights_take_a_quarter(trained: nn.Module, int8_network: OnnxNetwork) -> None:
    """A byte a weight; scales and biases beside them. The file has the graph as well."""
    floats = sum(tensor.nbytes for tensor in trained.state_dict().values())
    assert int8_network.weight_bytes <= 0.3 * floats
    assert int8_network.weight_bytes < int8_network.file_bytes < 0.7 * floats


@pytest.mark.parametrize(
    ("name", "method"), [("images", "static"), ("rows", "dynamic"), ("tokens", "weight_only"), ("tokens", "dynamic"),
                         ("patches", "static"), ("shared", "weight_only")]
)  # fmt: skip
def test_answers_are_near_those_of_the_network(name: str, method: str) -> None:
    """All blocks, all activations, tied and shared weights, several heads: within 10 % of their size."""
    network, model = quantized(name, method)
    x = example_input(NETWORKS[name], 5, seed=9)
    with torch.no_grad():
        ours, theirs = by_head(network(x)), by_head(model(x))
    assert list(ours) == list(theirs)
    for head, answers in ours.items():
        assert (theirs[head] - answers).norm() <= 0.1 * answers.norm()


def test_answers_are_not_rounded(int8_network: OnnxNetwork) -> None:
    """The last layer answers in float, so that 256 values do not tie."""
    answers = int8_network(example_input(DIGITS, 500))
    assert isinstance(answers, Tensor)
    assert len(set(answers.flatten().tolist())) > 1000


def test_shared_weights_are_stored_once() -> None:
    """The three uses of a kernel differ in scales alone; a tied embedding is one table."""
    assert [array.shape for array in weights_of(quantized("shared", "weight_only")[1]).values()].count(
        (4, 4, 3, 3)
    ) == 1
    for method in ("weight_only", "dynamic"):
        shapes = [array.shape for array in weights_of(quantized("tokens", method)[1]).values() if array.ndim == 2]
        assert shapes.count((40, 8)) + shapes.count((8, 40)) == 1


def test_shared_kernels_whose_norms_turn_signs() -> None:
    """Channels that one use multiplies by negative numbers: right all the same, and still stored once."""
    network = drawn(NETWORKS["shared"])
    with torch.no_grad():
        network.get_parameter("block0.norms.1.weight")[::2] *= -1
        network.get_parameter("block0.norms.2.weight")[:3] *= -1
    model = to_onnx(network, example_input(NETWORKS["shared"], 2))
    x = example_input(NETWORKS["shared"], 5)
    for method in ("weight_only", "static"):
        small = quantize_model(model, calibration(NETWORKS["shared"]), method=method)
        assert [array.shape for array in weights_of(small).values()].count((4, 4, 3, 3)) == 1
        with torch.no_grad():
            assert (small(x) - network(x)).norm() <= 0.05 * network(x).norm()


def test_calibration_is_of_the_train_split(trained: nn.Module, data: Data, int8_network: OnnxNetwork) -> None:
    """128 rows of it, always the same ones: equal bytes. Other examples have other ranges."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:128]
    rows = [x for x, _ in data.train.batches(32, order)]
    model = to_onnx(trained, rows[0])
    assert quantize_model(model, rows, method="static").model == int8_network.model
    assert quantize_model(model, [9 * x for x in rows], method="static").model != int8_network.model


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 999), st.booleans())
def test_weights_round_as_onnx_runtime_rounds(rows: int, columns: int, seed: int, reduced: bool) -> None:  # noqa: FBT001
    """To the last bit, so that what both store is one; within half a step of the weight."""
    values = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    steps, scales = int8(values, 0, narrow=reduced)
    for row, step, scale in zip(values, steps, scales, strict=True):
        _, theirs, rounded = quantize_data(row, onnx.TensorProto.INT8, symmetric=True, reduce_range=reduced)
        assert (float(theirs), rounded.tolist()) == (float(scale), step.tolist())
        assert np.abs(step * scale - row).max() <= scale * 0.51


def test_the_cpu_decides_on_seven_bits() -> None:
    """It is known from the system, and the same at each call."""
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    assert narrow() is narrow()
    if "avx512_vnni" in words or "avx_vnni" in words:
        assert not narrow()


# what it leaves


def test_the_original_and_the_system_stay_as_they_were(
    data: Data, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, mode, random state, log handlers; no file is left, nothing is printed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    network = build(DIGITS, seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, handlers, filters = (
        torch.get_rng_state(),
        list(logging.getLogger().handlers),
        list(logging.getLogger().filters),
    )
    quantize_for(network, data)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert (logging.getLogger().handlers, logging.getLogger().filters) == (handlers, filters)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


# what is refused


def test_bad_input(data: Data) -> None:
    """No examples, an unknown method, a network that cannot be written."""
    network = build(DIGITS, seed=0)
    for empty in ([], [torch.zeros(0, 1, 8, 8)]):
        with pytest.raises(UsageError, match="needs examples to calibrate on, none came"):
            quantize(network, empty)
    with pytest.raises(UsageError, match="unknown quantization 'statik': did you mean 'static'"):
        quantize_for(network, data, method="statik")
    with pytest.raises(UsageError, match="layer 'second' of the network cannot be traced"):
        quantize(Outer("decides"), [torch.rand(4, 4)])


# while training


def test_training_sees_rounded_weights() -> None:
    """What is computed is what the rounded network computes, with at most 255 values in each channel."""
    conv = nn.Conv1d(3, 5, 1)
    network = nn.Sequential(conv, nn.Flatten(), nn.Linear(20, 4)).eval()
    x = torch.rand(2, 3, 4)
    with fake_quantization(network), torch.no_grad():
        seen = network(x)
        identity = conv(torch.eye(3)[None])
    assert not torch.equal(seen, network(x))
    weight = conv.weight.detach().numpy()
    steps, scales = int8(weight, 0, narrow=narrow())
    rounded = torch.from_numpy(steps * scales[:, None, None])
    other = nn.functional.conv1d(torch.eye(3)[None], rounded, conv.bias)
    torch.testing.assert_close(identity, other.detach())


def test_activations_are_rounded_within_what_came() -> None:
    """In training mode the range follows the batches; then 256 values of it are left."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    x = torch.linspace(-1, 3, 5000)[:, None]
    with fake_quantization(network), torch.no_grad():
        assert len(set(network.eval()(x).flatten().tolist())) > 4000
        network.train()(x)
        seen = network.eval()(x)
    assert len(set(seen.flatten().tolist())) == 256
    assert float((seen - x).abs().max()) <= 4 / 255 * 0.51


def test_gradients_pass_straight_through() -> None:
    """The weights' gradient is that of a network that is not rounded."""
    network = nn.Linear(6, 2, bias=False)
    nn.init.ones_(network.weight)
    x = torch.ones(3, 6)
    with fake_quantization(network):
        network(x).sum().backward()
    assert network.weight.grad is not None
    torch.testing.assert_close(network.weight.grad, torch.full((2, 6), 3.0))


def test_weights_outside_their_module_are_rounded_too() -> None:
    """A shared kernel, and scores tied to an embedding: changing a weight within its step changes nothing."""
    for name in ("images", "tokens"):
        network = drawn(NETWORKS[name])
        x = example_input(NETWORKS[name], 2)
        with fake_quantization(network), torch.no_grad():
            before = network(x)
            for weight in network.parameters():
                if weight.dim() > 1:
                    weight.mul_(1.0)
            assert torch.equal(network(x), before)
        with torch.no_grad():
            assert not torch.equal(network(x), before)


def test_other_networks_are_not_rounded() -> None:
    """A teacher answers as ever while its student is trained."""
    teacher, student = nn.Linear(4, 4), nn.Linear(4, 4)
    x = torch.rand(5, 4)
    alone = teacher(x)
    with fake_quantization(student):
        assert torch.equal(teacher(x), alone)
        assert not torch.equal(student(x), nn.functional.linear(x, student.weight.detach().clone(), student.bias))


def test_nothing_is_left_of_it(data: Data) -> None:
    """The module is as plain as before, also where training fails; its names and types are the same."""
    network = build(DIGITS, seed=0)
    names, kinds = list(network.state_dict()), [type(module) for module in network.modules()]
    with fake_quantization(network):
        list(train(network, data, Training(epochs=1), seed=0))
    with pytest.raises(RuntimeError), fake_quantization(network):
        network(torch.zeros(1, 2, 8, 8))
    assert list(network.state_dict()) == names
    assert [type(module) for module in network.modules()] == kinds
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    x, weight = torch.rand(2, 4), nn.Linear(4, 2).weight
    assert torch.equal(x @ weight.T, nn.functional.linear(x, weight))
    assert nn.functional.linear in OUT


def test_aware_training_repeats_and_learns(data: Data) -> None:
    """The same seed gives the same weights, others than without; and the network learns."""
    states = []
    for _ in range(2):
        network = build(DIGITS, seed=0)
        with fake_quantization(network):
            epochs = list(train(network, data, Training(epochs=2), seed=0))
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert epochs[-1].score > 0.6
    plain = build(DIGITS, seed=0)
    list(train(plain, data, Training(epochs=2), seed=0))
    assert not torch.equal(plain.state_dict()["head.weight"], states[0]["head.weight"])
