"""A program as a listing: slot number, text, and what is wrong where something is."""

from __future__ import annotations

from bpfasm.asm.syntax import kernel, macro
from bpfasm.isa.insn import encode
from bpfasm.isa.match import form_of, why_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm import Assembled
    from bpfasm.isa.insn import Insn

PRINTERS = {"kernel": kernel.text, "macro": macro.text}


def listing(program: Assembled, syntax: str = "kernel", *, show_bytes: bool = False) -> Iterator[str]:
    """Yield the lines of a program in a syntax: ``kernel`` numbers the slots, ``macro`` is code to paste."""
    text = PRINTERS[syntax]
    functions = dict(program.functions) if len(program.functions) > 1 else {}
    pc = 0
    for insn in program.insns:
        if pc in functions:
            yield f"# {functions[pc]}" if syntax == "macro" else f"{functions[pc]}:"
        form = form_of(insn)
        line = text(insn, form)
        number = f"{pc}: " if syntax == "kernel" else ""
        ending = "," if syntax == "macro" else ""
        column = f"{bytes_of(insn):<32}  " if show_bytes else ""
        comment = "" if form else f"  {'#' if syntax == 'macro' else ';'} {why_none(insn)}"
        yield f"{number}{column}{line}{ending}{comment}"
        pc += insn.width


def bytes_of(insn: Insn) -> str:
    """Return the bytes of an instruction as hex digits; what is still symbolic is 0."""
    imm = insn.imm if isinstance(insn.imm, int) else 0
    return encode([insn.replace(imm=imm)]).hex()
