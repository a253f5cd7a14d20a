"""Networks as ONNX models: they answer the same, hold each weight once, and say nothing while they are made."""

import logging
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_families import FAMILIES
from torch import Tensor, nn

from paretonas.errors import CandidateFailed, UsageError
from paretonas.objectives import OnnxNetwork, quality, to_onnx
from paretonas.objectives.tasks import Digits
from paretonas.spaces import Architecture, Block, Head, build, example_input
from paretonas.spaces.blocks import ACTIVATIONS


def convolutions(dimensions: int) -> tuple[Block, ...]:
    """Every block for maps, with every activation."""
    end = {1: "1d", 2: ""}[dimensions]
    several = [Block(f"conv{end}", width=4, activation=word) for word in ACTIVATIONS]
    return (
        *several,
        Block(f"conv{end}", width=4, groups=2, norm="none", activation="leaky_relu(0.2)"),
        Block(f"residual{end}", width=6, hidden=5, skip="projection"),
        Block(f"max_pool{end}"),
        Block(f"separable{end}", width=6, kernels="shared"),
        Block(f"separable{end}", width=6, stride=2),
        Block(f"inverted_residual{end}", width=6, hidden=8, squeeze=3, skip="identity"),
        Block(f"average_pool{end}"),
        Block(f"global_average_pool{end}"),
    )


LAYER = Block("transformer", heads=2, head_width=4, hidden=12, norm="rms", causal=True, rotary=True)
CONV = Block("conv", width=4)
TIED = Architecture(
    (7,),
    (
        Block("embedding", width=8, vocabulary=40, length=7),
        LAYER,
        LAYER.replace(shares=1),
        Block("sequence_norm", norm="rms"),
    ),
    (Head(40, tied=0),),
    vocabulary=40,
)
NETWORKS = {
    "images": Architecture((3, 16, 12), convolutions(2), (Head(3),)),
    "signals": Architecture((2, 16), convolutions(1), (Head(3),)),
    "rows": Architecture(
        (5,),
        (
            Block("columns", categories="3,5"),
            Block("linear", width=6, norm="layer"),
            Block("residual_linear", hidden=4),
            Block("residual_linear", hidden=4).replace(shares=2),
        ),
        (Head(3, "relu"), Head(2, "x", follows=1)),
        categories=(3, 5),
    ),
    "tokens": TIED,
    "patches": Architecture(
        (1, 8, 8),
        (
            Block("patches2d", width=8, size=4, length=4, positions="sinusoidal"),
            Block("transformer", heads=2, head_width=4, hidden=12, norm_place="post"),
            Block("mean_positions"),
        ),
        (Head(3),),
    ),
    "shared": Architecture(
        (4, 8, 8),
        (CONV, CONV.replace(shares=0), Block("max_pool"), CONV.replace(shares=0), Block("flatten")),
        (Head(3),),
    ),
}


def drawn(architecture: Architecture) -> nn.Module:
    """A network in evaluation mode whose norms have statistics of their own."""
    network = build(architecture, seed=0).train()
    with torch.no_grad():
        for seed in range(2):
            network(example_input(architecture, 8, seed=seed))
    return network.eval()


@cache
def written(name: str) -> tuple[nn.Module, bytes]:
    network = drawn(NETWORKS[name])
    return network, to_onnx(network, example_input(NETWORKS[name], 2))


def by_head(answers: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return answers if isinstance(answers, dict) else {"": answers}


def assert_agree(network: nn.Module, other: nn.Module, x: Tensor) -> None:
    """The answers have the same heads, in the same order, and are equal up to rounding."""
    with torch.no_grad():
        ours, theirs = by_head(network(x)), by_head(other(x))
    assert list(ours) == list(theirs)
    for head, answers in ours.items():
        torch.testing.assert_close(theirs[head], answers, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_answers_as_the_network(name: str) -> None:
    """Every block and activation, tied and shared weights, several heads; for any number of examples."""
    network, model = written(name)
    for batch in (1, 2, 5):
        assert_agree(network, OnnxNetwork(model), example_input(NETWORKS[name], batch, seed=batch))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_written(family: str, request: pytest.FixtureRequest) -> None:
    """Random candidates of every family; 30 of each with ``--long``."""
    if not request.config.getoption("--long"):
        pytest.skip("each takes a second: with --long")
    space, data = FAMILIES[family]
    for seed in range(30):
        architecture = space.sample(data, seed=seed).deployed
        network = drawn(architecture)
        model = OnnxNetwork(to_onnx(network, example_input(architecture, 2)))
        assert_agree(network, model, example_input(architecture, 3, seed=1))


def test_names_of_inputs_and_outputs() -> None:
    """What comes in is x and what leaves head; several heads keep their names, whatever values inside are called."""
    one, two = (onnx.load_from_string(written(name)[1]).graph for name in ("images", "rows"))
    assert ([value.name for value in one.input], [value.name for value in one.output]) == (["x"], ["head"])
    assert ([value.name for value in two.input], [value.name for value in two.output]) == (["input"], ["relu", "x"])


def test_the_same_network_gives_the_same_bytes() -> None:
    """And they hold nothing of the machine that wrote them."""
    network, model = written("images")
    assert to_onnx(network, example_input(NETWORKS["images"], 9, seed=3)) == model
    assert not any(word in model for word in (b"site-packages", b"pytorch", b"torch.", b".py"))


def test_tied_and_shared_weights_are_written_once() -> None:
    """The model holds no more than the parameters, and what positions and shapes take."""
    for name, extra in (("tokens", 1000), ("shared", 200)):
        network, model = written(name)
        weights = sum(parameter.nbytes for parameter in network.parameters())
        statistics = sum(buffer.nbytes for buffer in network.buffers())
        assert OnnxNetwork(model).weight_bytes <= weights + statistics + extra
    shapes = [list(tensor.dims) for tensor in onnx.load_from_string(written("tokens")[1]).graph.initializer]
    assert [40, 8] in shapes
    assert [8, 40] not in shapes


def test_the_network_stays_as_it_was() -> None:
    """Mode, weights and hooks of the original; the random state too."""
    network = build(NETWORKS["rows"], seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    to_onnx(network, example_input(NETWORKS["rows"], 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training and not module._forward_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_writing_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing on the terminal, nothing in the log, no handler left."""
    handlers = list(logging.getLogger().handlers)
    network = build(NETWORKS["patches"], seed=1)
    OnnxNetwork(to_onnx(network, example_input(NETWORKS["patches"], 2)))(example_input(NETWORKS["patches"], 1))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.getLogger().handlers == handlers


def test_the_model_is_judged_like_any_network() -> None:
    """It has no parameters, and may be moved and set to a mode; the metrics are the network's."""
    data = Digits().load()
    network = drawn(Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=8)), data.spec.heads))
    model = OnnxNetwork(to_onnx(network, torch.zeros(1, 1, 8, 8)))
    assert (list(model.parameters()), model.state_dict()) == ([], {})
    assert quality(model.to("cpu").eval(), data.test, data, ["accuracy"]) == quality(
        network, data.test, data, ["accuracy"]
    )


def test_threads_are_part_of_a_session() -> None:
    """The same model with other threads is another session of the same bytes."""
    model = OnnxNetwork(written("rows")[1])
    assert model.with_threads(1) is model
    assert (model.with_threads(2).threads, model.with_threads(2).model) == (2, model.model)
    assert model.backend.startswith("onnxruntime 1.")


# what cannot be written


class Inner(nn.Module):
    """A layer that does what it is told to do, and what surrounds it."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if self.fault == "decides" and x.sum() > 0:
            return -x
        if self.fault == "unknown operator":
            return x + torch.linalg.eigvalsh(x.T @ x)  # type: ignore[no-any-return]
        return x.reshape(2, 4) if self.fault == "one size" and len(x) == 2 else x


class Outer(nn.Module):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = Inner(fault)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))  # type: ignore[no-any-return]


def test_a_module_of_the_users_own() -> None:
    """Any module that can be traced; its answers keep their names."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = Outer("")

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.layers(x)
            return {"second": y.relu(), "first": y}

    network = Two()
    assert_agree(network, OnnxNetwork(to_onnx(network, torch.rand(1, 4))), torch.rand(3, 4))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("decides", "layer 'second' of the network cannot be traced: "),
        ("unknown operator", "layer 'second' of the network cannot be written as ONNX: .*linalg_eig"),
        ("one size", "cannot be traced: it works for one number of examples only"),
    ],
)
def test_what_cannot_be_written_is_said_with_its_layer(
    fault: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence with the layer, and nothing else; the module stays as it was."""
    network = Outer(fault)
    with pytest.raises(UsageError, match=reason) as error:
        to_onnx(network, torch.rand(2, 4))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_what_is_no_answer() -> None:
    """A tuple, and numbers that are not finite; examples of another shape."""

    class Pair(Outer):
        def forward(self, x: Tensor) -> Tensor:
            return (x, x)  # type: ignore[return-value]

    with pytest.raises(UsageError, match="answers a tensor or a dict of tensors by name, tuple came"):
        to_onnx(Pair(""), torch.rand(2, 4))
    with pytest.raises(UsageError, match=r"does not run on examples of shape \(5,\)"):
        to_onnx(Outer(""), torch.rand(2, 5))
    broken = Outer("")
    nn.init.constant_(broken.first.weight, float("nan"))
    with pytest.raises(CandidateFailed, match="not finite"):
        to_onnx(broken, torch.rand(2, 4))


# models that come from elsewhere


def model_of(*initializers: TensorProto, constant: TensorProto | None = None, op: str = "Add") -> bytes:
    """One addition of a weight."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "head"))
    nodes = [helper.make_node(op, ["x", "w"], ["head"])]
    if constant is not None:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=constant))
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()  # type: ignore[no-any-return]


def tensor(*, external: bool = False) -> TensorProto:
    made = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    if external:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="/etc/passwd")
    return made


def test_a_model_from_elsewhere_runs() -> None:
    """What is known of it is in the bytes."""
    model = OnnxNetwork(model_of(tensor()))
    assert model(torch.zeros(2)).tolist() == [1, 2]
    assert (model.weight_bytes, model.file_bytes) == (8, len(model.model))


def test_weights_in_other_files_are_refused() -> None:
    """Wherever in the model they are named, no other file is read."""
    for model in (model_of(tensor(external=True)), model_of(constant=tensor(external=True))):
        with pytest.raises(UsageError, match="tensor 'w' of this one lies in another file, which is not read"):
            OnnxNetwork(model)


def test_what_is_no_model_is_refused() -> None:
    """Other bytes, and an operator that the runtime has not."""
    with pytest.raises(UsageError, match="these 7 bytes are none"):
        OnnxNetwork(b"no net!")
    with pytest.raises(UsageError, match=r"ONNX Runtime cannot run this network: .*Frobnicate"):
        OnnxNetwork(model_of(tensor(), op="Frobnicate"))
