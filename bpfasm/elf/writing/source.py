"""Which lines of source instructions come from, with their text."""

from __future__ import annotations

from bpfasm.isa.insn import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.isa.insn import Insn


def lines_of(insns: Iterable[Insn]) -> Iterator[tuple[int, str, str, int]]:
    """Yield (pc, file, text, line) for the first instruction of a function, and wherever another line begins.

    A kernel wants one for the first. Where the text is not to be had, the macro stands for it: of a line that was
    typed in, or comes from a string.
    """
    from linecache import getline

    from bpfasm.asm.syntax import macro
    from bpfasm.isa.match import form_of

    last = None
    for pc, insn in slots(insns):
        source = insn.source
        if source is None and pc:
            continue
        file, line = source or ("?", 0)
        text = (getline(file, line).strip() if line else "") or macro.text(insn, form_of(insn))
        if (file, text, line) != last:
            last = file, text, line
            yield pc, *last
