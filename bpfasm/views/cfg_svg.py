"""The graph of a program as an SVG picture: blocks of text, edges with what takes them, loops in bold."""

from __future__ import annotations

from bpfasm.views.layers import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm.flow import Edge, Function
    from bpfasm.views.cfg import Drawing

#: Pixels: a character of 12px monospace, a line, the room within a box and around all.
_CHAR, _LINE, _PAD, _MARGIN = 7.25, 16.0, 8.0, 24.0

_STYLE = """
  text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1b1f24; white-space: pre; }
  .title { font-weight: bold; }
  .source, .edge { fill: #57606a; }
  .edge { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
  rect { fill: #fff; stroke: #57606a; }
  .loop rect { stroke-width: 3; }
  .dead rect { stroke-dasharray: 5 4; }
  path { fill: none; stroke: #57606a; stroke-width: 1.3; }
  path.taken { stroke: #1a7f37; }
  path.back { stroke: #9a3b00; stroke-width: 2.4; }
"""

#: Lines of source wider than this are cut.
_SOURCE = 48


def svg(drawn: Drawing) -> Iterator[str]:
    """Yield the lines of the picture: one function below the other."""
    parts: list[str] = []
    y, width = _MARGIN, 0.0
    for function in drawn.graph.functions:
        if not function.blocks:
            continue
        callers = [str(call.pc) for call in drawn.graph.calls if call.callee == function.number]
        title = function.name + (f", called at {', '.join(callers)}" if callers else "")
        parts.append(_text(_MARGIN, y + 12, title, "title"))
        layout = _layout(drawn, function)
        parts.append(f'<g transform="translate({_MARGIN:g} {y + 28:g})">')
        parts += _function(drawn, function, layout)
        parts.append("</g>")
        y += layout.height + 28 + 2 * _MARGIN
        width = max(width, layout.width, len(title) * _CHAR)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 2 * _MARGIN:.0f} {y:.0f}" '
        f'width="{width + 2 * _MARGIN:.0f}" height="{y:.0f}">'
    )
    yield f"<style>{_STYLE}</style>"
    for kind, colour in (("next", "#57606a"), ("taken", "#1a7f37"), ("back", "#9a3b00")):
        yield (
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" '
            f'markerHeight="9" orient="auto"><path d="M0 0 8 4 0 8z" style="fill:{colour};stroke:none"/></marker>'
        )
    yield '<rect width="100%" height="100%" style="stroke:none"/>'
    yield from parts
    yield "</svg>"


def _layout(drawn: Drawing, function: Function) -> Layout:
    first = function.blocks.start
    sizes = []
    for number in function.blocks:
        lines = _lines(drawn, number)
        longest = max(len(left) + (len(right) + 2 if right else 0) for left, right in lines)
        sizes.append((longest * _CHAR + 2 * _PAD, len(lines) * _LINE + 2 * _PAD))
    edges = [(edge.source - first, edge.target - first) for edge in _edges(drawn, function)]
    return Layout(sizes, edges)


def _edges(drawn: Drawing, function: Function) -> list[Edge]:
    return [edge for number in function.blocks for edge in drawn.graph.blocks[number].succs]


def _lines(drawn: Drawing, number: int) -> list[tuple[str, str]]:
    """Return the lines of a block: its title, its instructions, each with its source."""
    rows = [(f"{row.pc:>4}: {row.text}", row.source[:_SOURCE]) for row in drawn.rows[number]]
    widest = max(len(text) for text, _ in rows)
    return [(drawn.titles[number], ""), *((f"{text:<{widest}}" if source else text, source) for text, source in rows)]


def _function(drawn: Drawing, function: Function, layout: Layout) -> Iterator[str]:
    first = function.blocks.start
    headers = {loop.header for loop in drawn.graph.loops}
    edges = _edges(drawn, function)
    for edge, points in zip(edges, layout.paths, strict=True):
        kind = "back" if drawn.backwards(edge) else "taken" if edge.kind == "taken" else "next"
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<path class="{kind}" d="M{way}" marker-end="url(#{kind})"/>'
    for number in function.blocks:
        x, y = layout.boxes[number - first]
        width, height = layout.sizes[number - first]
        kinds = ["loop"] * (number in headers) + ["dead"] * (not drawn.graph.reached[number])
        yield f'<g class="{" ".join(kinds)}">'
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"/>'
        for line, (left, right) in enumerate(_lines(drawn, number)):
            at = y + _PAD + line * _LINE + 12
            yield _text(x + _PAD, at, left, "title" if line == 0 else "")
            if right:
                yield _text(x + _PAD + (len(left) + 2) * _CHAR, at, right, "source")
        yield "</g>"
    for edge, points in zip(edges, layout.paths, strict=True):
        said = "if so" if edge.kind == "taken" else ""
        said = ", ".join(filter(None, (said, "back"))) if drawn.backwards(edge) else said
        if said:
            down = 28 if drawn.backwards(edge) else 14
            yield _text(points[0][0] + 4, points[0][1] + down, said, "edge")


def _text(x: float, y: float, text: str, kind: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" xml:space="preserve">{escaped}</text>'
