"""Real English text that every Python has: the docstrings of its standard library, sentence by sentence."""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("asyncio", "concurrent", "email", "http", "importlib", "logging", "multiprocessing", "tkinter", "unittest")


def docstrings(package: str) -> Iterator[str]:
    """The first paragraph of every docstring of a package of the standard library, in one line each."""
    folder = Path(sysconfig.get_paths()["stdlib"]) / package
    for file in sorted(folder.rglob("*.py")):
        if "test" in file.relative_to(folder).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                if len(text) > 20:
                    yield text
