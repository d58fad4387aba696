"""A program as a listing: slot number, text, and what is wrong where something is."""

from __future__ import annotations

from bpfasm.asm.linker import link
from bpfasm.asm.syntax import kernel, macro
from bpfasm.isa.insn import SLOT_BYTES, slots
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
    code = link(program).code if show_bytes else b""
    functions = dict(program.functions) if len(program.functions) > 1 else {}
    for pc, insn in slots(program.insns):
        if pc in functions:
            yield f"# {functions[pc]}" if syntax == "macro" else f"{functions[pc]}:"
        form = form_of(insn)
        line = text(insn, form)
        number = f"{pc}: " if syntax == "kernel" else ""
        ending = "," if syntax == "macro" else ""
        column = f"{bytes_of(code, pc, insn):<32}  " if show_bytes else ""
        comment = "" if form else f"  {'#' if syntax == 'macro' else ';'} {why_none(insn)}"
        yield f"{number}{column}{line}{ending}{comment}"


def bytes_of(code: bytes, pc: int, insn: Insn) -> str:
    """Return the bytes of an instruction of a program as hex digits."""
    return code[SLOT_BYTES * pc : SLOT_BYTES * (pc + insn.width)].hex()
