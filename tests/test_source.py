"""The exported file: what stands in it, and that other programs can use it."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paretonas.spaces import Architecture, Block, Head, build, write_source

CONV = Block("conv", width=4)
TIED = Architecture((1, 8, 8), (CONV, CONV, CONV.replace(shares=1), Block("max_pool"), Block("flatten")), (Head(10),))


def definitions(source: str) -> list[str]:
    """The classes of a source, in order."""
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def execute(source: str) -> nn.Module:
    names: dict[str, Any] = {}
    exec(compile(source, "net.py", "exec"), names)  # noqa: S102
    network = names["Net"]()
    assert isinstance(network, nn.Module)
    return network


def test_the_file_holds_only_the_blocks_in_use() -> None:
    """Nothing stands there that the network does not need."""
    assert definitions(write_source(TIED, "")) == [
        "OverImages",
        "ConvBlock",
        "MaxPool",
        "Flatten",
        "Net",
    ]
    row = Architecture((8,), (Block("linear", width=4),), (Head(2),))
    assert definitions(write_source(row, "")) == ["LinearBlock", "Net"]
    assert definitions(write_source(Architecture((8,), (), (Head(2),)), "")) == ["Net"]


def test_shared_layers_are_built_once_and_called_by_use() -> None:
    """The reader sees one block, and which of its uses calls it."""
    lines = [line.strip() for line in write_source(TIED, "").splitlines()]
    assert sum(line.startswith("self.block1 = ConvBlock(4, 4,") and "uses=2" in line for line in lines) == 1
    assert not any(line.startswith("self.block2") for line in lines)
    assert [line for line in lines if "self.block1(" in line] == [
        "x = self.block1(x, use=0)",
        "x = self.block1(x, use=1)",
    ]


@pytest.mark.parametrize(
    "docstring",
    ["", "A net.", 'Ends with a "quote"', '"""', "back\\slash \\", "{braces} {0}", "two\n\nparagraphs", "Größe"],
)
def test_any_docstring_can_stand_in_the_file(docstring: str) -> None:
    """The file stays Python, and says what it was given (three quotes become three apostrophes)."""
    source = write_source(TIED, docstring)
    assert ast.get_docstring(ast.parse(source), clean=False) == docstring.replace('"""', "'''") + "\n"


def test_several_heads_answer_by_name() -> None:
    """The exported network gives a dict of scores, as the built one does."""
    architecture = Architecture((8,), (Block("linear", width=4),), (Head(2, "sign"), Head(3, "size")))
    network, exported = build(architecture, seed=0).eval(), execute(write_source(architecture, "")).eval()
    exported.load_state_dict(network.state_dict(), strict=True)
    x = torch.rand(5, 8)
    expected, scores = network(x), exported(x)
    assert scores.keys() == expected.keys() == {"sign", "size"}
    assert all(torch.equal(scores[name], expected[name]) for name in scores)


def test_the_same_architecture_gives_the_same_text() -> None:
    """A file can be compared with another, line by line."""
    again = Architecture.from_json(TIED.to_json())
    assert write_source(TIED, "A network.") == write_source(again, "A network.")


def test_the_file_is_clean_for_readers_and_checkers(tmp_path: Path) -> None:
    """No comment meant for our own tools is left, and ruff's default rules find nothing in it."""
    source = write_source(TIED, "A network.")
    assert "noqa" not in source
    assert "type: ignore" not in source
    path = tmp_path / "net.py"
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_file_runs_where_paretonas_is_not(tmp_path: Path) -> None:
    """Another program, without this package, imports the file and gets the same outputs."""
    network = build(TIED, seed=0).eval()
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    (tmp_path / "net.py").write_text(write_source(TIED, "A network."), encoding="utf-8")
    torch.save({"state": network.state_dict(), "x": x, "y": network(x).detach()}, tmp_path / "net.pt")
    program = """
import sys, torch, net
assert not any(name.split(".")[0] in ("paretonas", "spaces") for name in sys.modules)
saved = torch.load("net.pt")
network = net.Net().eval()
network.load_state_dict(saved["state"], strict=True)
assert torch.equal(network(saved["x"]), saved["y"])
"""
    command, here = [sys.executable, "-c", program], {"PYTHONPATH": "."}
    ended = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
