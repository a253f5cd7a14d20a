"""Where a network can run: every backend that can be had here, and what is said where one cannot."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_onnx import NETWORKS
from torch import Tensor, nn

from paretonas.errors import CandidateFailed, DeviceLost, UsageError
from paretonas.objectives import Deployed, quantize
from paretonas.objectives.backends import BACKENDS, backend_for, device_lost, hardware, timing
from paretonas.objectives.latency import cpu_model, cpu_threads
from paretonas.spaces import Architecture, Block, Head, build, example_input

ROWS = Architecture((4,), (Block("linear", width=4),), (Head(4),))
GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU")


class Sleeps(nn.Module):
    """Takes 5 ms, and keeps what it saw: threads, whether under inference mode, the number of examples."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), len(x)))
        time.sleep(0.005)
        return x


@torch.library.custom_op("paretonas_tests::twist", mutates_args=())
def twist(x: Tensor) -> Tensor:
    """An operator that torch runs, and nobody else knows."""
    return x.flip(-1).clone()


@twist.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Twisted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.odd = Call(torch.ops.paretonas_tests.twist.default)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.odd(self.first(x))
        return answer


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def deployed(architecture: Architecture) -> Deployed:
    return Deployed(build(architecture, seed=0).eval(), architecture)


def own(function: Callable[[Tensor], Tensor]) -> Deployed:
    """A network of one's own for rows of four."""
    return Deployed(Call(function).eval(), ROWS)


def int8() -> Deployed:
    network = build(ROWS, seed=0).eval()
    return Deployed(network, ROWS, quantize(network, [example_input(ROWS, 8)]), "int8 static")


def run_without(script: str, **environment: str) -> str:
    """What a process says that has another environment."""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return found.stdout


# running


@pytest.mark.parametrize(
    ("word", "family", "batch"),
    [
        *(("torch", family, batch) for family in NETWORKS for batch in (1, 3)),
        *(("onnxruntime", family, 3) for family in ("rows", "tokens", "shared")),
    ],
)
def test_every_family_runs(word: str, family: str, batch: int) -> None:
    """One example or several at a time, tokens and categories too; a call takes some time."""
    asked = timing(deployed(NETWORKS[family]), word, batch, 1)
    assert all(0 < asked.runner() < 1000 for _ in range(3))
    assert (asked.conditions.backend, asked.conditions.batch) == (word, batch)
    assert asked.input_shape == NETWORKS[family].input_shape


def test_a_runner_says_how_long_a_pass_took() -> None:
    """In milliseconds, of one pass of as many examples as asked, on the threads asked, under inference mode."""
    network = Sleeps()
    asked = timing(Deployed(network, ROWS), "torch", 7, 2)
    warm = len(network.seen)
    assert all(5 <= asked.runner() < 100 for _ in range(5))
    assert len(network.seen) == warm + 5
    assert set(network.seen) == {(2, True, 7)}
    assert torch.get_num_threads() == 1
    assert not torch.is_inference_mode_enabled()


def test_the_network_stays_as_it_is() -> None:
    """Timing neither trains nor moves it: its numbers and its device are the same."""
    one = deployed(NETWORKS["patches"])
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    for word in ("torch", "onnxruntime"):
        timing(one, word, 2, 1).runner()
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.network.state_dict().items())


def test_a_network_is_timed_as_deployed() -> None:
    """Where no backend is asked for: torch in 32 bits, ONNX Runtime in int8."""
    assert (backend_for(deployed(ROWS)), backend_for(int8())) == ("torch", "onnxruntime")
    small, floats = timing(int8(), "", 1, 1).conditions, timing(deployed(ROWS), "", 1, 1).conditions
    assert (small.backend, small.precision) == ("onnxruntime", "int8 static")
    assert (floats.backend, floats.precision) == ("torch", "float32")


def test_conditions_are_those_of_the_machine() -> None:
    """The version of what computes, and the processor."""
    import onnxruntime

    found = timing(deployed(ROWS), "onnxruntime", 2, 1).conditions
    assert found.version == f"onnxruntime {onnxruntime.__version__}"
    assert (found.hardware, found.threads, found.batch) == (cpu_model(), 1, 2)
    assert timing(deployed(ROWS), "torch", 1, 1).conditions.version == f"torch {torch.__version__}"


def test_onnx_runtime_takes_the_threads() -> None:
    """As many as asked for work in it: one is the caller's, the others are its own."""

    def others() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted in /proc")
    before = others()
    one = timing(deployed(NETWORKS["shared"]), "onnxruntime", 1, 1)
    assert others() == before
    three = timing(deployed(NETWORKS["shared"]), "onnxruntime", 1, 3)
    assert others() == before + 2
    assert min(one.runner(), three.runner()) > 0


def test_many_networks_are_compiled_side_by_side() -> None:
    """More than torch keeps for one function; called again, under other settings too, none is compiled again."""
    from torch._dynamo import config
    from torch._dynamo.utils import counters

    def graphs() -> int:
        return counters["stats"]["unique_graphs"]

    before = graphs()
    with config.patch(recompile_limit=1):
        asked = [timing(deployed(replace(ROWS, heads=(Head(n),))), "compile", 1, 1) for n in (2, 3, 4)]
        assert graphs() == before + 3
        with cpu_threads(2), torch.no_grad():
            assert all(0 < each.runner() < 1000 for each in asked)
        assert graphs() == before + 3
    assert asked[0].conditions.backend == "compile"
    assert asked[0].conditions.version == f"torch {torch.__version__}"


# what cannot run


@pytest.mark.parametrize("word", ["torch", "compile"])
def test_int8_runs_on_onnx_runtime_alone(word: str) -> None:
    """It is an ONNX model; the others say where to go."""
    with pytest.raises(CandidateFailed, match=f"{word} cannot run an int8 network.*latency:onnxruntime") as failed:
        timing(int8(), word, 1, 1)
    assert failed.value.kind == "infeasible"


def test_an_operator_that_onnx_has_not() -> None:
    """The candidate is infeasible there, with the layer and the operator; in torch it runs."""
    one = Deployed(Twisted().eval(), ROWS)
    with pytest.raises(
        CandidateFailed, match=r"onnxruntime cannot run it: layer 'odd'.*paretonas_tests\.twist"
    ) as failed:
        timing(one, "onnxruntime", 1, 1)
    assert failed.value.kind == "infeasible"
    assert timing(one, "torch", 1, 1).runner() > 0


def test_a_network_that_is_no_graph_is_not_compiled() -> None:
    """One line says what stands in the way."""
    with pytest.raises(CandidateFailed, match=r"compile cannot run it: .*builtin operator `print`") as failed:
        timing(own(lambda x: print(end="") or x), "compile", 1, 1)
    assert failed.value.kind == "infeasible"
    assert "\n" not in failed.value.reason
    assert len(failed.value.reason) < 400


@pytest.mark.parametrize("word", ["torch", "onnxruntime", "compile"])
def test_a_network_that_runs_nowhere_is_no_fault_of_a_backend(word: str) -> None:
    """Its own error comes out."""
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        timing(own(lambda x: x @ torch.zeros(5, 5)), word, 1, 1)


def test_a_network_too_large_is_not_infeasible() -> None:
    """Memory is another failure than a missing operator."""
    with pytest.raises(RuntimeError, match=r"allocate memory|enough memory"):
        timing(own(lambda x: torch.zeros(2**50) + x.sum()), "torch", 1, 1)


# what cannot be used here


def test_an_unknown_backend() -> None:
    """All there is is named."""
    with pytest.raises(UsageError, match=r"unknown backend 'onnxrt'.*did you mean 'onnxruntime'.*cuda_graph"):
        timing(deployed(ROWS), "onnxrt", 1, 1)


def test_words_and_help() -> None:
    """Every backend is found under its word and says what it is in one line."""
    assert list(BACKENDS) == ["torch", "compile", "onnxruntime", "cuda", "cuda_graph", "executorch"]
    assert all(word == backend.word and backend.says and "\n" not in backend.says for word, backend in BACKENDS.items())


def test_compile_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is on the path one sentence says so."""
    BACKENDS["compile"].check()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"'compile' needs a C\+\+ compiler, no .* was found"):
        timing(deployed(ROWS), "compile", 1, 1)


@pytest.mark.skipif(GPU, reason="needs a machine without a GPU")
@pytest.mark.parametrize("word", ["cuda", "cuda_graph"])
def test_cuda_needs_a_gpu(word: str) -> None:
    """One sentence says that there is none, and what to ask for."""
    with pytest.raises(UsageError, match="need a GPU that torch can use, there is none: ask for 'torch'"):
        timing(deployed(ROWS), word, 1, 1)
    with pytest.raises(UsageError, match="there is none"):
        hardware("cuda")


def test_executorch_needs_its_packages() -> None:
    """One sentence says which extra to install, when it is asked for its version too."""
    script = """
import sys
sys.modules["executorch"] = sys.modules["torchao"] = None
from paretonas.errors import UsageError
from paretonas.objectives.backends import BACKENDS
for call in (BACKENDS["executorch"].check, BACKENDS["executorch"].version):
    try:
        call()
    except UsageError as error:
        print(error)
"""
    lines = run_without(script).splitlines()
    assert len(lines) == 2
    assert all("pip install 'paretonas[executorch]'" in line for line in lines)


def test_asking_costs_no_import() -> None:
    """Neither a compiler nor a runtime is loaded before its backend is used."""
    script = (
        "import sys, paretonas; print([n for n in ('torch._inductor', 'executorch', 'torchao') if n in sys.modules])"
    )
    assert run_without(script).strip() == "[]"


# a GPU that is gone


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("CUDA error: no CUDA-capable device is detected", True),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", True),
        ("CUDA error: driver shutting down\nCUDA kernel errors might be reported later", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: unknown error", True),
        ("GPU has fallen off the bus", True),
        ("No CUDA GPUs are available", True),
        ("CUDA error: unspecified launch failure", False),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: device-side assert triggered", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("mat1 and mat2 shapes cannot be multiplied (1x4 and 5x5)", False),
    ],
)
def test_a_gpu_that_is_gone_is_told_from_a_network_that_is_wrong(text: str, gone: bool) -> None:  # noqa: FBT001
    """By what torch says; also where another error was raised from it."""
    outer = ValueError("a batch failed")
    outer.__cause__ = torch.AcceleratorError(text)
    assert device_lost(RuntimeError(text)) == device_lost(torch.AcceleratorError(text)) == device_lost(outer) == gone
    assert not device_lost(ValueError(text))


def test_a_device_that_goes_while_a_network_is_made_ready() -> None:
    """It is lost, and the candidate is not to blame."""

    def vanish(_: Tensor) -> Tensor:
        raise torch.AcceleratorError("CUDA error: no CUDA-capable device is detected")

    with pytest.raises(DeviceLost, match="the device is gone: CUDA error: no CUDA-capable device"):
        timing(own(vanish), "torch", 1, 1)


@needs_gpu
@pytest.mark.parametrize("word", ["cuda", "cuda_graph"])
def test_a_gpu_runs_every_family(word: str) -> None:
    """The network on the CPU stays there."""
    for architecture in NETWORKS.values():
        one = deployed(architecture)
        asked = timing(one, word, 2, 1)
        assert all(0 < asked.runner() < 1000 for _ in range(3))
        assert {parameter.device.type for parameter in one.network.parameters()} <= {"cpu"}
        assert asked.conditions.hardware == torch.cuda.get_device_name()
        assert asked.conditions.version.startswith("torch ")


@needs_gpu
def test_a_captured_network_skips_the_sending() -> None:
    """Of a deep network of small layers, a replay takes less than sending operator by operator."""
    blocks = (Block("linear", width=8), *(Block("residual_linear", hidden=8) for _ in range(30)))
    one = deployed(Architecture((8,), blocks, (Head(2),)))
    eager, captured = (timing(one, word, 1, 1).runner for word in ("cuda", "cuda_graph"))
    assert min(captured() for _ in range(50)) < min(eager() for _ in range(50))


@needs_gpu
def test_what_asks_the_gpu_cannot_be_captured() -> None:
    """A network that reads an answer on the way is infeasible as a CUDA graph."""
    with pytest.raises(CandidateFailed, match="cuda_graph cannot run it") as failed:
        timing(own(lambda x: x * x.sum().item()), "cuda_graph", 1, 1)
    assert failed.value.kind == "infeasible"
