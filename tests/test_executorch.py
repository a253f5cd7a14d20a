"""int8 for ExecuTorch, where it is installed."""

import subprocess
import sys

import pytest
import torch

from paretonas.errors import UsageError
from paretonas.objectives.executorch import to_executorch
from paretonas.spaces import Architecture, Block, Head, build, example_input

SMALL = Architecture((1, 8, 8), (Block("conv", width=4), Block("global_average_pool")), (Head(3),))


def test_the_program_answers_as_the_network() -> None:
    """For one example at a time, near the network's own answers."""
    runtime = pytest.importorskip("executorch.runtime")
    pytest.importorskip("torchao")
    network = build(SMALL, seed=0).eval()
    content = to_executorch(network, [example_input(SMALL, 32)])
    method = runtime.Runtime.get().load_program(content).load_method("forward")
    x = example_input(SMALL, 1, seed=1)
    with torch.no_grad():
        ours = network(x)
    assert (method.execute([x])[0] - ours).norm() <= 0.1 * ours.norm()


def test_the_packages_are_asked_for() -> None:
    """Without them one sentence says what to install."""
    script = """
import sys
sys.modules["executorch"] = sys.modules["torchao"] = None
import torch
from paretonas.errors import UsageError
from paretonas.objectives.executorch import to_executorch
try:
    to_executorch(torch.nn.Linear(2, 2), [torch.zeros(2, 2)])
except UsageError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install executorch torchao" in answer.stdout


def test_calibration_is_needed() -> None:
    """At least two examples."""
    pytest.importorskip("executorch")
    pytest.importorskip("torchao")
    with pytest.raises(UsageError, match="needs examples to calibrate on"):
        to_executorch(build(SMALL, seed=0), [])
