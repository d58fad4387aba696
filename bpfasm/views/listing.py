"""A program as a listing: slot number, text, and what is wrong where something is."""

from __future__ import annotations

from bpfasm.asm.linker import link
from bpfasm.asm.relax import Inserted
from bpfasm.asm.syntax import c, kernel, llvm, macro, ubpf
from bpfasm.asm.syntax.labels import labelled
from bpfasm.isa.insn import SLOT_BYTES
from bpfasm.isa.match import form_of, why_none
from bpfasm.views.dump import xlated_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpfasm.asm import Assembled
    from bpfasm.asm.syntax.xlated import Names
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn


class Style:
    """How a syntax makes a listing: what prints an instruction, a label, a comment; whether slots are numbered."""

    def __init__(
        self,
        text: Callable[[Insn, Form | None], str],
        comment: str,
        *,
        label: str = "{}:",
        numbers: bool = False,
        ending: str = "",
        indent: str = "",
        closing: str = "",
    ) -> None:
        self.text, self.comment, self.label, self.numbers, self.ending = text, comment, label, numbers, ending
        self.indent, self.closing = indent, closing

    def beside(self, words: str) -> str:
        """Return a comment."""
        return f"{self.comment} {words}{self.closing}"


PRINTERS = {
    "kernel": Style(kernel.text, ";", numbers=True),
    "llvm": Style(llvm.text, "#"),
    "ubpf": Style(ubpf.text, "#"),
    "macro": Style(macro.text, "#", ending=",", label='label("{}"),'),
    "c": Style(c.text, "/*", ending=",", indent="\t", closing=" */"),
}


def listing(
    program: Assembled,
    syntax: str = "kernel",
    *,
    show_bytes: bool = False,
    names: Names | None = None,
    labels: bool = False,
    beside: Callable[[int, Insn], str] | None = None,
    before: Callable[[int], Iterator[str]] | None = None,
    after: Callable[[int, Insn], Iterator[str]] | None = None,
) -> Iterator[str]:
    """Yield the lines of a program in a syntax: ``kernel`` numbers the slots, ``macro`` and ``c`` are code to paste.

    ``names`` are what the numbers stand for in one that was read back from the kernel. ``labels`` names the places
    that jumps and calls go to; LLVM's text has calls no other way. ``beside``, ``before`` and ``after`` give what is
    to be said at the end of an instruction's line, by its slot, and in lines of their own.
    """
    style = PRINTERS[syntax]
    code = link(program).code if show_bytes else b""
    named = names.functions if names else dict(program.functions)
    functions = named if len(named) > 1 else {}
    marked = syntax != "c" and labels
    insns, places = labelled(
        program, marked, functions, calls=syntax == "llvm", syntax="macro" if syntax == "c" else syntax
    )
    if names and names.hidden:
        yield style.beside(names.hidden)
    if syntax == "c":
        yield f"struct bpf_insn {_identifier(program.program.name)}[] = {{"
    for pc, insn in insns:
        yield from _heads(pc, style, functions, places, syntax)
        form, said = form_of(insn), ""
        line = style.text(insn, form)
        if names and syntax == "kernel" and not marked:
            line, said = xlated_text(insn, pc, names)
        number = f"{pc}: " if style.numbers and not marked else ""
        column = f"{bytes_of(code, pc, insn):<32}  " if show_bytes and style.numbers and not marked else ""
        if not form and not names:
            said = why_none(insn)
        elif isinstance(insn, Inserted):
            said = "put in for a far jump"
        if beside:
            said = "  ".join(each for each in (said, beside(pc, insn)) if each)
        if show_bytes and not column:
            said = "  ".join(each for each in (bytes_of(code, pc, insn), said) if each)
        comment = f"  {style.beside(said)}" if said else ""
        if before:
            for each in before(pc):
                yield style.indent + style.beside(each)
        indent = "\t" if marked and syntax != "macro" else style.indent
        yield f"{indent}{number}{column}{line}{style.ending}{comment}"
        if after:
            yield from after(pc, insn)
    end = sum(insn.width for insn in program.insns)
    yield from (style.label.format(label) for label in places.get(end, ()))
    if syntax == "c":
        yield "};"


def _heads(
    pc: int, style: Style, functions: dict[int, str], places: dict[int, list[str]], syntax: str
) -> Iterator[str]:
    """Yield what stands before the instruction at a slot: its labels, and the function that starts there."""
    if pc in places:
        for label in places[pc]:
            yield style.label.format(label)
        return
    if pc in functions:
        yield f"{functions[pc]}:" if syntax == "kernel" else f"{style.indent}{style.beside(functions[pc])}"


def _identifier(name: str) -> str:
    kept = "".join(char if char.isalnum() or char == "_" else "_" for char in name)
    return kept if kept and not kept[0].isdigit() else f"prog_{kept}"


def bytes_of(code: bytes, pc: int, insn: Insn) -> str:
    """Return the bytes of an instruction of a program as hex digits."""
    return code[SLOT_BYTES * pc : SLOT_BYTES * (pc + insn.width)].hex()
