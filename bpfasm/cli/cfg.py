"""``bpfasm disasm --cfg``: how control flows through a program, drawn."""

from __future__ import annotations

from bpfasm.asm import assemble
from bpfasm.asm.flow import flow
from bpfasm.views import cfg
from bpfasm.views.cfg_svg import svg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.inputs import Input


def drawn(given: Input, how: str) -> str:
    """Return the graph of an INPUT as ``text``, ``svg`` or ``dot``; only text takes several programs."""
    if how != "text":
        given.one()
    parts = []
    for program in given.as_written():
        assembled = assemble(program)
        drawing = cfg.drawing(assembled, flow(assembled), by="id" if given.names else "fd")
        lines = {"text": cfg.text, "svg": svg, "dot": cfg.dot}[how](drawing)
        parts.append("".join(f"{line}\n" for line in lines))
    return "\n".join(parts)
