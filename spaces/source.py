"""An architecture as a readable Python file that imports nothing but torch.

The blocks' own source goes into the file unchanged, so that there is one truth; only the network class is written
here. Its parameter names are those of the built module, so that one weights file serves both.
"""

import ast
import inspect
from types import ModuleType

from . import blocks as blocks_module
from .architecture import Architecture, can_share, has_weights
from .blocks import BLOCKS
from .builder import Call, calls, in_widths

TEMPLATE = '''"""{docstring}
"""

import torch
from torch import nn

{blocks}


class Net(nn.Module):
    """(N, {shape}) to {answer}."""

    def __init__(self) -> None:
        super().__init__()
{constructor}

    def forward(self, x: torch.Tensor) -> {annotation}:
{forward}
'''


def write_source(architecture: Architecture, docstring: str) -> str:
    """The text of a module with one class, ``Net``, whose constructor takes nothing."""
    widths = in_widths(architecture)
    steps = calls(architecture)
    owners = [index for index, step in enumerate(steps) if step.owner == index]
    used = {BLOCKS[architecture.blocks[index].op].__name__ for index in owners}
    constructor = [f"self.block{index} = {_construction(architecture, index, widths[index])}" for index in owners]
    constructor += [f"self.{head.name} = nn.Linear({widths[-1]}, {head.outputs})" for head in architecture.heads]
    heads = [f'"{head.name}": self.{head.name}(x)' for head in architecture.heads]
    single = len(heads) == 1
    answer = f"self.{architecture.heads[0].name}(x)" if single else f"{{{', '.join(heads)}}}"
    forward = [f"x = {_call(architecture, step)}" for step in steps] + [f"return {answer}"]
    return TEMPLATE.format(
        docstring=docstring.replace("\\", "\\\\").replace('"""', "'''"),
        blocks=definitions(blocks_module, used) or "# no blocks: a linear classifier",
        shape=", ".join(map(str, architecture.input_shape)),
        answer=f"class scores (N, {architecture.heads[0].outputs})" if single else "class scores by head",
        annotation="torch.Tensor" if single else "dict[str, torch.Tensor]",
        constructor="\n".join(f"        {line}" for line in constructor),
        forward="\n".join(f"        {line}" for line in forward),
    )


def definitions(module: ModuleType, names: set[str]) -> str:
    """The source of the named top-level definitions of a module and of all that they use there, in its order."""
    text = inspect.getsource(module)
    nodes = {name: node for node in ast.parse(text).body for name in _defines(node)}
    wanted, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        used = {node.id for node in ast.walk(nodes[name]) if isinstance(node, ast.Name)}
        waiting |= (used & nodes.keys()) - wanted
    parts = [ast.get_source_segment(text, node) or "" for name, node in nodes.items() if name in wanted]
    return "\n\n\n".join(part.replace("  # type: ignore[no-any-return]", "") for part in parts)


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _construction(architecture: Architecture, index: int, in_width: int) -> str:
    block = architecture.blocks[index]
    numbers = dict(block.args)
    leading = [str(in_width), str(numbers.pop("width"))] if has_weights(block.op) else []
    uses = sum(other.shares == index for other in architecture.blocks) + 1
    if uses > 1:
        numbers["uses"] = uses
    named = [f"{name}={_literal(value)}" for name, value in numbers.items()]
    return f"{BLOCKS[block.op].__name__}({', '.join(leading + named)})"


def _call(architecture: Architecture, call: Call) -> str:
    op = architecture.blocks[call.owner].op
    shared = can_share(op) and any(block.shares == call.owner for block in architecture.blocks)
    return f"self.{call.module}(x, use={call.use})" if shared else f"self.{call.module}(x)"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) and '"' not in value else repr(value)
