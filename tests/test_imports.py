"""What importing costs, what there is to import, and which room knows which."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import paretonas

ROOT = Path(paretonas.__file__).parent
ROOMS = ("spaces", "objectives", "storage", "search")
KNOWS = {"spaces": set[str](), "objectives": {"spaces"}, "storage": {"spaces"}, "search": set(ROOMS)}
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).glob("**/*.py"))]
HEAVY = {
    *("sqlalchemy", "sklearn", "scipy", "pandas", "plotly", "optuna_dashboard", "typer", "rich", "moocore"),
    *("onnx", "onnxruntime", "onnxscript", "torch_pruning"),
}


def test_importing_is_light() -> None:
    """``import paretonas`` loads no database, data, plotting or terminal package that torch and optuna do not load."""
    script = """
import json, sys
import optuna, torch
before = set(sys.modules)
import paretonas
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(answer.stdout))
    assert "paretonas" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("package", ["paretonas", *(f"paretonas.{room}" for room in ROOMS)])
def test_every_public_name_exists(package: str) -> None:
    """``__all__`` is sorted, lists nothing twice, and all that it lists can be imported."""
    module = import_module(package)
    names = list(module.__all__)
    assert names
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def rooms_used(path: Path) -> set[str]:
    """The rooms of the package that a source file imports, wherever in it; absolute imports are as good as relative."""
    inside = path.relative_to(ROOT).parts[:-1]
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[tuple[str, ...]] = []
        if isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            named = (*base, *(node.module or "").split("."))
            targets = [(*named, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        for target in targets:
            parts = [part for part in target if part and part != "paretonas"]
            if parts and parts[0] in ROOMS:
                used.add(parts[0])
    return used


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_between_rooms_only_run_down(path: Path) -> None:
    """Search knows all rooms, objectives and storage know spaces, spaces knows none."""
    room = path.relative_to(ROOT).parts[0]
    assert rooms_used(path) <= KNOWS[room] | {room}


def test_arrows_are_seen() -> None:
    """The check above finds the arrows that there are."""
    found = {room: set[str]() for room in ROOMS}
    for path in SOURCES:
        room = path.relative_to(ROOT).parts[0]
        found[room] |= rooms_used(path) - {room}
    assert found == {
        "spaces": set(),
        "objectives": {"spaces"},
        "storage": {"spaces"},
        "search": {"spaces", "objectives", "storage"},
    }
