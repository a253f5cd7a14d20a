"""An architecture as a readable Python file that imports nothing but torch.

The blocks' own source goes into the file unchanged, so that there is one truth; only the network class is written
here. Its parameter names are those of the built module, so that one weights file serves both. A user's own block, or
factory of modules, goes in with what it uses of its file and what it imports.
"""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any

from ..errors import ExportError
from .architecture import Architecture
from .block import block_class, has_weights, is_told_use
from .blocks import SOURCES
from .builder import INPUT, branchings, calls, head_form, in_widths
from .module import ModuleArchitecture, factory_of

TEMPLATE = '''"""{docstring}
"""

{imports}

{blocks}


class Net(nn.Module):
    """{takes} to {answer}."""

    def __init__(self) -> None:
        super().__init__()
{constructor}

    def forward(self, x: torch.Tensor) -> {annotation}:
{forward}
'''
FACTORY_TEMPLATE = '''"""{docstring}
"""

{imports}


{source}


def Net() -> nn.Module:
    """Takes {takes}."""
    return {call}
'''
OURS = ("import torch", "from torch import nn")


def write_source(architecture: Architecture, docstring: str) -> str:
    """The text of a module with one name that matters, ``Net``, which takes nothing and gives the network."""
    text = docstring.replace("\\", "\\\\").replace('"""', "'''")
    if isinstance(architecture, ModuleArchitecture):
        return _write_factory(architecture, text)
    imports, blocks = definitions(block_class(architecture.blocks[index].op) for index in _owners(architecture))
    single = len(architecture.heads) == 1
    return TEMPLATE.format(
        docstring=text,
        imports="\n".join(imports),
        blocks=blocks or "# no blocks: a linear classifier",
        takes=_takes(architecture),
        answer=_answer(architecture),
        annotation="torch.Tensor" if single else "dict[str, torch.Tensor]",
        constructor="\n".join(f"        {line}" for line in _constructor(architecture)),
        forward="\n".join(f"        {line}" for line in _forward(architecture)),
    )


def definitions(things: Iterable[Callable[..., Any]]) -> tuple[list[str], str]:
    """The imports, and the source of classes and functions and of all that they use, in the order of their files."""
    waiting = sorted({(thing.__module__, thing.__name__) for thing in things})
    house = _house()
    theirs = dict.fromkeys(place for place, _ in waiting if place not in house)
    files = {**house, **{place: _File(sys.modules[place], place) for place in theirs}}
    wanted: set[tuple[str, str]] = set()
    while waiting:
        place, name = waiting.pop()
        wanted.add((place, name))
        waiting += [use for use in files[place].uses(name, files) if use not in wanted]
    found = [(place, name) for place in files for name in files[place].nodes if (place, name) in wanted]
    names = [name for _, name in found]
    if "Net" in names:
        raise ExportError("the exported network is called Net, and something of yours too: rename yours")
    for name in names:
        if names.count(name) > 1:
            raise ExportError(f"two blocks of this network define {name!r} each in its own way: rename yours")
    imports = {line for place, name in found for line in files[place].imports(name)} - set(OURS)
    others = sorted(imports, key=lambda line: (line.startswith("from"), line))
    text = "\n\n\n".join(files[place].text(name) for place, name in found)
    return [*others, *([""] if others else []), *OURS], text


class _File:
    """The top-level definitions of one source file."""

    def __init__(self, module: ModuleType, name: str) -> None:
        source = inspect.getsource(module)
        body = ast.parse(source).body
        self._name, self._lines = name, source.encode().split(b"\n")
        self.nodes = {name: node for node in body for name in _defines(node)}
        self._names = {name: _names_in(node) - {name} for name, node in self.nodes.items()}
        self._imports = {
            alias.asname or alias.name.split(".")[0]: (node, alias)
            for node in body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }

    def text(self, name: str) -> str:
        """The source of a definition."""
        node = self.nodes[name]
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        lines = self._lines[first - 1 : node.end_lineno]
        if not decorators:  # another statement or a comment may stand in its lines; columns count bytes
            lines[-1] = lines[-1][: node.end_col_offset]
            lines[0] = lines[0][node.col_offset :]
        return "\n".join(line.decode().split("  # type: ignore")[0] for line in lines)

    def uses(self, name: str, files: dict[str, "_File"]) -> list[tuple[str, str]]:
        """The definitions, here and in the other files that are written, that a definition uses."""
        found = [(self._name, used) for used in self._names[name] if used in self.nodes]
        for used in self._names[name] & self._imports.keys():
            node, alias = self._imports[used]
            if isinstance(node, ast.ImportFrom) and (place := self._from(node)) in files:
                found.append((place, alias.name))
        return found

    def imports(self, name: str) -> list[str]:
        """The import lines that a definition needs; those among the files that are written fall away."""
        lines = []
        for used in self._names[name] & self._imports.keys():
            node, alias = self._imports[used]
            if isinstance(node, ast.ImportFrom):
                place = self._from(node)
                if place.startswith(_PACKAGE):
                    continue
                if node.level:
                    raise ExportError(
                        f"{self._name} imports {alias.name} from {place}, which cannot go into one file with it: "
                        "put all that it needs into its own file"
                    )
            lines.append(ast.unparse(_with_names(node, alias)))
        return lines

    def _from(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self._name.split(".")[: -node.level]
        return ".".join([*package, *((node.module or "").split(".") if node.module else [])])


_PACKAGE = SOURCES[0].__name__.rpartition(".")[0]


@cache
def _house() -> dict[str, _File]:
    """The files of the house's blocks, read once; a user's own may change while the process runs."""
    return {module.__name__: _File(module, module.__name__) for module in SOURCES}


def _names_in(node: ast.stmt) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _with_names(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    """The same import of one name alone."""
    return ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], 0)


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []


def _owners(architecture: Architecture) -> list[int]:
    return [index for index, step in enumerate(calls(architecture)) if step.owner == index]


def _constructor(architecture: Architecture) -> list[str]:
    widths = in_widths(architecture)
    lines = [
        f"self.block{index} = {_construction(architecture, index, widths[index])}" for index in _owners(architecture)
    ]
    return lines + [
        f"self.{head.name} = nn.Linear({head_form(architecture, head).width}, {head.outputs})"
        for head in architecture.heads
        if head.tied is None
    ] or ["pass"]


def _construction(architecture: Architecture, index: int, in_width: int) -> str:
    block = architecture.blocks[index]
    numbers = dict(block.args)
    leading = [str(in_width)] if has_weights(block.op) else []
    leading += [str(numbers.pop("width"))] if block.width is not None else []
    uses = sum(other.shares == index for other in architecture.blocks) + 1
    if uses > 1 and is_told_use(block.op):
        numbers["uses"] = uses
    named = [f"{name}={_literal(value)}" for name, value in numbers.items()]
    return f"{block_class(block.op).__name__}({', '.join(leading + named)})"


def _forward(architecture: Architecture) -> list[str]:
    """The steps: ``x`` goes from one to the next; what others take too has a name of its own."""
    kept = branchings(architecture)

    def name(index: int) -> str:
        if index not in kept:
            return "x"
        return "inputs" if index == INPUT else f"x{index}"

    lines = ["inputs = x"] if INPUT in kept else []
    for index, step in enumerate(calls(architecture)):
        shared = any(block.shares == step.owner for block in architecture.blocks)
        use = f", use={step.use}" if shared and is_told_use(architecture.blocks[index].op) else ""
        lines.append(f"{name(index)} = self.{step.module}({name(step.source)}{use})")
    answers = {
        head.name: f"self.{head.name if head.tied is None else f'block{head.tied}.logits'}"
        f"({name(architecture.head_source(head))})"
        for head in architecture.heads
    }
    if len(answers) == 1:
        return [*lines, f"return {next(iter(answers.values()))}"]
    named = ", ".join(f'"{head}": {answer}' for head, answer in answers.items())
    return [*lines, f"return {{{named}}}"]


def _takes(architecture: Architecture) -> str:
    shape = f"(N, {', '.join(map(str, architecture.input_shape))})"
    return shape if architecture.vocabulary is None else f"{shape} tokens below {architecture.vocabulary}"


def _answer(architecture: Architecture) -> str:
    if len(architecture.heads) > 1:
        return "answers by head"
    (head,) = architecture.heads
    sequence = head_form(architecture, head).sequence
    return f"scores (N, {'length, ' if sequence else ''}{head.outputs})"


def _write_factory(architecture: ModuleArchitecture, docstring: str) -> str:
    factory = factory_of(architecture.factory)
    imports, source = definitions([factory])
    arguments = ", ".join(f"{key}={_literal(value)}" for key, value in architecture.arguments.items())
    return FACTORY_TEMPLATE.format(
        docstring=docstring,
        imports="\n".join(imports),
        source=source,
        takes=_takes(architecture),
        call=f"{factory.__name__}({arguments})",
    )


def _literal(value: object) -> str:
    """A JSON value as Python source; text in double quotes where that is the same text."""
    return json.dumps(value) if isinstance(value, str) and value.isascii() else repr(value)
