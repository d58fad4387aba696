"""The blocks of a program's functions as rows that every drawing of them starts from, and as text and DOT."""

from __future__ import annotations

from bpfasm.asm.syntax import kernel
from bpfasm.isa.insn import slots
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm.flow import Block, Edge, Graph
    from bpfasm.asm.linker import Assembled


class Row(Value):
    """A line of a block: its slot, the kernel's text, and the source line where there is one, each once."""

    pc: int
    text: str
    source: str


class Drawing(Value):
    """What a drawing needs of a program: its graph, the lines and the title of each block, how deep in loops it is.

    ``back`` are the edges that lead back to the header of a loop, as (source, target).
    """

    graph: Graph
    rows: tuple[tuple[Row, ...], ...]
    titles: tuple[str, ...]
    depths: tuple[int, ...]
    back: frozenset[tuple[int, int]]

    def backwards(self, edge: Edge) -> bool:
        """Return whether an edge leads back to the header of a loop."""
        return (edge.source, edge.target) in self.back


def drawing(program: Assembled, graph: Graph, *, by: str = "fd") -> Drawing:
    """Return what the blocks of a program say; ``by`` is what the numbers of maps are, ``fd`` or ``id``."""
    texts = {pc: text.replace("map[fd:", f"map[{by}:") for pc, text in _texts(program, graph)}
    last = ""
    rows = []
    for block in graph.blocks:
        lines = []
        for index in range(block.first, block.last + 1):
            source = _source_of(program, index)
            lines.append(Row(graph.pcs[index], texts[graph.pcs[index]], "" if source == last else source))
            last = source
        rows.append(tuple(lines))
    depths = [0] * len(graph.blocks)
    said: dict[int, list[str]] = {}
    for loop in graph.loops:
        for number in loop.own:
            depths[number] = loop.depth
        said.setdefault(loop.header, []).append("loop" if loop.depth == 1 else f"loop within {loop.depth - 1}")
        if loop.irreducible:
            others = ", ".join(name_of(graph.blocks[each]) for each in loop.entries)
            said[loop.header].append(f"which is entered at {others}, too")
            for each in loop.entries:
                said.setdefault(each, []).append(f"entry of the loop at {name_of(graph.blocks[loop.header])}")
    titles = [
        ", ".join(
            [name_of(block), *said.get(block.number, ()), *([] if graph.reached[block.number] else ["unreachable"])]
        )
        for block in graph.blocks
    ]
    back = frozenset((edge.source, edge.target) for loop in graph.loops for edge in loop.back)
    return Drawing(graph, tuple(rows), tuple(titles), tuple(depths), back)


def name_of(block: Block) -> str:
    """Return the name of a block: L and its first slot."""
    return f"L{block.start}"


def _texts(program: Assembled, graph: Graph) -> Iterator[tuple[int, str]]:
    """Yield each instruction's text, with the blocks and functions that it names in place of distances."""
    callees = {call.pc: graph.functions[call.callee].name for call in graph.calls}
    for (pc, insn), form in zip(slots(program.insns), graph.forms, strict=True):
        text = kernel.text(insn, form).partition(") ")[2] or kernel.text(insn, form)
        if pc in callees and form and form.kind == "call":
            text = f"call {callees[pc]}"
        elif form and form.kind in ("jump", "goto") and (at := _jump(graph, pc)) is not None:
            text = text.rpartition(" pc")[0] + f" {name_of(graph.blocks[at])}"
        yield pc, text


def _jump(graph: Graph, pc: int) -> int | None:
    """Return the block that a jump leads to when it is taken."""
    return next((edge.target for edge in graph.block_at(pc).succs if edge.kind != "next"), None)


def _source_of(program: Assembled, index: int) -> str:
    """Return the line of source that an instruction was written in, as ``prog.c:7`` or the text of a Python line."""
    from linecache import getline

    source = program.insns[index].source
    if source is None:
        return ""
    text = getline(*source).strip()
    return f"{source[0].rpartition('/')[2]}:{source[1]}: {text}" if text else f"{source[0]}:{source[1]}"


def text(drawn: Drawing, *, width: int = 100, source: bool = True) -> Iterator[str]:
    """Yield the lines of a program's graph for a terminal: each block with its instructions, and where they lead.

    Blocks stand in the order of their slots; the column on the left has the loops that a block is in.
    """
    graph = drawn.graph
    for function in graph.functions:
        if function.number:
            yield ""
        callers = [str(call.pc) for call in graph.calls if call.callee == function.number]
        by = f", called at {', '.join(callers)}" if callers else ""
        yield f"{function.name}: {_count(len(function.blocks), 'block')}{by}"
        for number in function.blocks:
            yield from _block_text(drawn, number, width, source=source)


def _block_text(drawn: Drawing, number: int, width: int, *, source: bool) -> Iterator[str]:
    graph = drawn.graph
    block = graph.blocks[number]
    margin = f"{'|' * drawn.depths[number]:<3} "
    froms = ", ".join(
        name_of(graph.blocks[edge.source]) + (" (back)" if drawn.backwards(edge) else "") for edge in block.preds
    )
    yield margin.rstrip()
    yield f"{margin}{drawn.titles[number]}{f'   <- {froms}' if froms else ''}"
    for row in drawn.rows[number]:
        line = f"{margin}  {row.pc:>4}: {row.text}"
        if source and row.source:
            line = f"{line:<{width // 2}}  ; {row.source}"
        yield line[:width]
    ways = [_way(drawn, edge) for edge in block.succs]
    if ways:
        yield f"{margin}        -> {', '.join(ways)}"


def _way(drawn: Drawing, edge: Edge) -> str:
    name = name_of(drawn.graph.blocks[edge.target])
    also = ", back" if drawn.backwards(edge) else ""
    kinds = {"next": "else" if len(drawn.graph.blocks[edge.source].succs) > 1 else "next", "taken": "if so"}
    return f"{name} ({kinds.get(edge.kind, 'goto')}{also})"


def dot(drawn: Drawing) -> Iterator[str]:
    """Yield the lines of a program's graph in the language of Graphviz."""
    graph = drawn.graph
    yield "digraph program {"
    yield '  node [shape=box, fontname="monospace", fontsize=10];'
    yield '  edge [fontname="monospace", fontsize=9];'
    for function in graph.functions:
        yield f"  subgraph cluster_{function.number} {{"
        yield f"    label={_quoted(function.name)};"
        for number in function.blocks:
            lines = [drawn.titles[number], *(f"{row.pc}: {row.text}" for row in drawn.rows[number])]
            style = "" if graph.reached[number] else ", style=dashed"
            yield f"    b{number} [label={_quoted(*lines)}{style}];"
        yield "  }"
    for block in graph.blocks:
        for edge in block.succs:
            yield f"  b{edge.source} -> b{edge.target} [{_dot_edge(drawn, edge)}];"
    for call in graph.calls:
        callee = graph.functions[call.callee].blocks.start
        yield f"  b{graph.block_at(call.pc).number} -> b{callee} [style=dotted, label={_quoted(call.kind)}];"
    yield "}"


def _dot_edge(drawn: Drawing, edge: Edge) -> str:
    label = {"taken": "if so", "next": "", "goto": ""}[edge.kind]
    if drawn.backwards(edge):
        return f"label={_quoted(f'{label} back'.strip())}, penwidth=2, constraint=false"
    return f"label={_quoted(label)}"


def _quoted(*lines: str) -> str:
    """Return lines as a string of DOT, set to the left."""
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + (escaped[0] if len(escaped) == 1 else "".join(f"{line}\\l" for line in escaped)) + '"'


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
