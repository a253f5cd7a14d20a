"""Networks for ExecuTorch, in int8 and in 32 bits, where it is installed."""

import subprocess
import sys

import pytest
import torch
from test_onnx import TIED
from torch import Tensor, nn

from paretonas.errors import CandidateFailed, UsageError
from paretonas.objectives import Deployed
from paretonas.objectives.backends import timing
from paretonas.objectives.executorch import (
    check_executorch,
    executorch_version,
    load_executorch,
    to_executorch,
    to_executorch_float,
)
from paretonas.spaces import Architecture, Block, Head, build, example_input

SMALL = Architecture((1, 8, 8), (Block("conv", width=4), Block("global_average_pool")), (Head(3),))
MAPS = Architecture(
    (4, 12, 10),
    (
        Block("conv", width=4, groups=2, activation="leaky_relu(0.2)"),
        Block("separable", width=6, kernels="shared"),
        Block("inverted_residual", width=6, hidden=8, squeeze=3, skip="identity"),
        Block("average_pool"),
        Block("global_average_pool"),
    ),
    (Head(3),),
)
ROWS = Architecture((4,), (Block("linear", width=4),), (Head(4),))
FLOATS = {"maps": MAPS, "rows": ROWS, "tokens": TIED}


class Modulated(nn.Module):
    """A convolution whose weights depend on what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, self.weight * x.mean()).mean((2, 3))


@pytest.fixture
def installed() -> None:
    """Skips where the packages are not installed."""
    try:
        check_executorch()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("installed")
def test_the_program_answers_as_the_network() -> None:
    """In int8, for one example at a time, near the network's own answers."""
    network = build(SMALL, seed=0).eval()
    program = load_executorch(to_executorch(network, [example_input(SMALL, 32)]), threads=1)
    x = example_input(SMALL, 1, seed=1)
    with torch.no_grad():
        ours = network(x)
    assert (program([x])[0] - ours).norm() <= 0.1 * ours.norm()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("family", FLOATS)
def test_the_program_in_floats_answers_as_the_network(family: str) -> None:
    """In 32 bits, for as many examples as it was made for, equal up to rounding."""
    network, x = build(FLOATS[family], seed=0).eval(), example_input(FLOATS[family], 3, seed=1)
    program = load_executorch(to_executorch_float(network, x), threads=1)
    with torch.no_grad():
        torch.testing.assert_close(program([x])[0], network(x), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("installed")
def test_it_is_a_backend() -> None:
    """A pass is timed, under the conditions asked for."""
    asked = timing(Deployed(build(SMALL, seed=0).eval(), SMALL), "executorch", 2, 1)
    assert all(0 < asked.runner() < 1000 for _ in range(3))
    assert (asked.conditions.backend, asked.conditions.version) == ("executorch", executorch_version())


@pytest.mark.usefixtures("installed")
def test_a_product_outside_xnnpack_is_infeasible() -> None:
    """It would run 30 times slower; the operator is named."""
    with pytest.raises(
        CandidateFailed, match=r"executorch cannot run it: XNNPACK does not take aten::convolution"
    ) as failed:
        timing(Deployed(Modulated().eval(), SMALL), "executorch", 1, 1)
    assert failed.value.kind == "infeasible"


@pytest.mark.usefixtures("installed")
def test_all_programs_share_their_threads() -> None:
    """Another number is refused while one is loaded, and taken afterwards."""
    network, x = build(ROWS, seed=0).eval(), example_input(ROWS, 1)
    content = to_executorch_float(network, x)
    program = load_executorch(content, threads=2)
    with pytest.raises(UsageError, match=r"runs with 2 threads as long as a program is loaded, 1 came"):
        load_executorch(content, threads=1)
    program([x])
    del program
    with torch.no_grad():
        torch.testing.assert_close(load_executorch(content, threads=1)([x])[0], network(x))


def test_the_packages_are_asked_for() -> None:
    """Without them one sentence says what to install."""
    script = """
import sys
sys.modules["executorch"] = sys.modules["torchao"] = None
import torch
from paretonas.errors import UsageError
from paretonas.objectives.executorch import to_executorch, to_executorch_float
for call in (lambda: to_executorch(torch.nn.Linear(2, 2), [torch.zeros(2, 2)]),
             lambda: to_executorch_float(torch.nn.Linear(2, 2), torch.zeros(2, 2))):
    try:
        call()
    except UsageError as error:
        print(error)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.count("pip install 'paretonas[executorch]'") == 2


@pytest.mark.usefixtures("installed")
def test_calibration_is_needed() -> None:
    """At least two examples."""
    with pytest.raises(UsageError, match="needs examples to calibrate on"):
        to_executorch(build(SMALL, seed=0), [])
