"""A report as Markdown: its tables and sentences, for a repository or a ticket."""

from collections.abc import Sequence

from .labels import in_markdown
from .notes import table
from .report_parts import Code, Drawing, Section, Table


def to_markdown(name: str, sections: Sequence[Section]) -> str:
    """The whole report. name: of the study."""
    parts = [f"# Report of {in_markdown(name)}"]
    for section in sections:
        parts.append(f"## {in_markdown(section.title)}")
        parts += [_part(part) for part in section.parts if isinstance(part, str | Table | Code | Drawing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _part(part: "str | Table | Code | Drawing") -> str:
    if isinstance(part, str):
        return in_markdown(part)
    if isinstance(part, Drawing):
        return ""  # Markdown takes no SVG; the layers stand in the table below
    if isinstance(part, Code):
        fence = "`" * max(3, _longest_run(part.text) + 1)
        code = f"{fence}{part.of}\n{part.text}\n{fence}"
        return f"{in_markdown(part.folded)}:\n\n{code}" if part.folded else code
    return table(
        [in_markdown(cell) for cell in part.head],
        [tuple(in_markdown(cell) for cell in row) for row in part.rows],
        right=part.right,
    )


def _longest_run(text: str) -> int:
    """How many backticks stand in a row at most."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
