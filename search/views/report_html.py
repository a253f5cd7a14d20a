"""A report as one HTML file: its script, its figures and its drawings are inside, and nothing is fetched."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .labels import in_html
from .report_parts import Code, Drawing, Section, Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT = 460  # pixels of a figure that does not say its own

# What the page may do: run what is in it, and nothing else. Written out again, no server is asked for anything.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c1c1c; --soft: #5b5b5b; --line: #d8d8d8; --card: #f6f6f6 }
@media (prefers-color-scheme: dark) {
  :root { --page: #161616; --ink: #ececec; --soft: #a9a9a9; --line: #3a3a3a; --card: #212121 } }
body { background: var(--page); color: var(--ink); margin: 0 auto; padding: 1.5rem; max-width: 1100px;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 1.7rem; margin: 0 0 1rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem;
  border-bottom: 1px solid var(--line); padding-bottom: .2rem }
.wide { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: 13.5px }
th, td { padding: .25rem .7rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 600 } .right { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: 13px; border-radius: 4px }
.drawing { background: #ffffff; color: #1c1c1c; padding: .5rem; overflow-x: auto; border-radius: 4px;
  border: 1px solid var(--line) }
.drawing svg { max-width: 100%; height: auto }
summary { cursor: pointer; color: var(--soft) }
@media print { body { max-width: none } h2 { break-after: avoid } .figure, .drawing { break-inside: avoid } }
"""
SCRIPT = """
for (const place of document.querySelectorAll(".figure")) {
  const told = JSON.parse(document.getElementById(place.id + "-data").textContent);
  Plotly.newPlot(place, told.data, told.layout, {responsive: true, displaylogo: false});
}
"""


def to_html(name: str, sections: Sequence[Section]) -> str:
    """The whole page. name: of the study."""
    from plotly.offline import get_plotlyjs

    count = 0
    body = []
    for section in sections:
        body.append(f"<section>\n<h2>{in_html(section.title)}</h2>")
        for part in section.parts:
            if isinstance(part, str | Table | Code | Drawing):
                body.append(_part(part))
            else:
                count += 1
                body.append(_figure(part, f"figure-{count}"))
        body.append("</section>")
    title = in_html(f"Report of {name}")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style>"
    )
    drawn = f"<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>" if count else ""
    text = "\n".join(body)
    page = f"<body>\n<h1>{title}</h1>\n{text}\n{drawn}\n</body>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{page}</html>\n'


def _part(part: "str | Table | Code | Drawing") -> str:
    if isinstance(part, str):
        return f"<p>{in_html(part)}</p>"
    if isinstance(part, Drawing):
        return f'<div class="drawing" role="img" aria-label="{in_html(part.words)}">{part.svg}</div>'
    if isinstance(part, Code):
        text = f"<pre><code>{in_html(part.text)}</code></pre>"
        return f"<details><summary>{in_html(part.folded)}</summary>{text}</details>" if part.folded else text
    head = "" if not any(part.head) else f"<thead><tr>{_cells('th', part.head, part.right)}</tr></thead>"
    rows = "\n".join(f"<tr>{_cells('td', row, part.right)}</tr>" for row in part.rows)
    return f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'


def _cells(tag: str, cells: Sequence[str], right: Sequence[int]) -> str:
    looks = (' class="right"' if place in right else "" for place in range(len(cells)))
    return "".join(f"<{tag}{look}>{in_html(cell)}</{tag}>" for look, cell in zip(looks, cells, strict=True))


def _figure(figure: "Figure", name: str) -> str:
    """A place for a figure, and its data, in which nothing can end the script element."""
    told = json.loads(figure.to_json())
    data = json.dumps({"data": told["data"], "layout": told["layout"]}, separators=(",", ":")).replace("<", "\\u003c")
    height = told["layout"].get("height", HEIGHT)
    return (
        f'<div class="figure" id="{name}" style="height:{height}px"></div>\n'
        f'<script type="application/json" id="{name}-data">{data}</script>'
    )
