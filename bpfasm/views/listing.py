"""A program as a listing: slot number, text, and what is wrong where something is."""

from __future__ import annotations

from bpfasm.asm.linker import link
from bpfasm.asm.relax import Inserted
from bpfasm.asm.syntax import kernel, macro
from bpfasm.isa.insn import SLOT_BYTES, slots
from bpfasm.isa.match import form_of, why_none
from bpfasm.views.dump import xlated_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm import Assembled
    from bpfasm.asm.syntax.xlated import Names
    from bpfasm.isa.insn import Insn

PRINTERS = {"kernel": kernel.text, "macro": macro.text}


def listing(
    program: Assembled, syntax: str = "kernel", *, show_bytes: bool = False, names: Names | None = None
) -> Iterator[str]:
    """Yield the lines of a program in a syntax: ``kernel`` numbers the slots, ``macro`` is code to paste.

    ``names`` are what the numbers stand for in one that was read back from the kernel.
    """
    text = PRINTERS[syntax]
    code = link(program).code if show_bytes else b""
    named = names.functions if names else dict(program.functions)
    functions = named if len(named) > 1 else {}
    if names and names.hidden:
        yield f"{'#' if syntax == 'macro' else ';'} {names.hidden}"
    for pc, insn in slots(program.insns):
        if pc in functions:
            yield f"# {functions[pc]}" if syntax == "macro" else f"{functions[pc]}:"
        form, beside = form_of(insn), ""
        line = text(insn, form)
        if names and syntax == "kernel":
            line, beside = xlated_text(insn, pc, names)
        number = f"{pc}: " if syntax == "kernel" else ""
        ending = "," if syntax == "macro" else ""
        column = f"{bytes_of(code, pc, insn):<32}  " if show_bytes else ""
        if not form and not names:
            beside = why_none(insn)
        elif isinstance(insn, Inserted):
            beside = "put in for a far jump"
        comment = f"  {'#' if syntax == 'macro' else ';'} {beside}" if beside else ""
        yield f"{number}{column}{line}{ending}{comment}"


def bytes_of(code: bytes, pc: int, insn: Insn) -> str:
    """Return the bytes of an instruction of a program as hex digits."""
    return code[SLOT_BYTES * pc : SLOT_BYTES * (pc + insn.width)].hex()
