"""Text as a view of instructions: one module a syntax, each driven by the templates of the instruction table.

- ``kernel``, ``llvm``, ``ubpf``: a line an instruction. ``dialect`` prints them. To read, ``detect`` finds out which
  it is, ``lines`` goes through them, ``grammar`` knows their shapes, by ``templates``, ``matching`` and ``plan``
- ``macro``: the calls that make the instructions; ``c``: files of C
- ``hexdump``: the bytes; ``tcpdump``: classic BPF; ``xlated``: what the kernel made of a program
- ``labels``, ``references``: names of places, and of what only a target tells

``text`` brings them together. Each syntax has ``text(insn, form)``; what no form fits is :func:`data`: a macro call
that keeps every bit.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.isa.insn import Insn

    #: What a role of a template is printed with: a ``%`` format and, where it is not a plain field, a function.
    Roles = dict[str, tuple[str, int | Callable[[Insn], Any]]]


def data(insn: Insn) -> str:
    """Return an instruction of no known form as the macro that writes it field by field."""
    _, dst, src, off, imm, off2, imm2, _ = insn
    if insn.width == 2:
        return f"BPF_LD_IMM64_RAW_FULL({dst}, {src}, {off}, {off2}, {imm}, {imm2})"
    return f"BPF_RAW_INSN({insn.code:#04x}, {dst}, {src}, {off}, {imm})"


def printer(template: str, roles: Roles) -> Callable[[Insn], str]:
    """Compile a template to a function that prints an instruction with it.

    Plain fields are taken by one getter and formatted by one ``%``, which is as fast as Python prints.
    """
    head, *rest = template.replace("%", "%%").split("{")
    text, takes = head, []
    for part in rest:
        role, tail = part.split("}")
        spec, take = roles[role]
        text += spec + tail
        takes.append(take)
    if not takes:
        plain = text.replace("%%", "%")
        return lambda insn: plain
    fields = [take for take in takes if isinstance(take, int)]
    if len(fields) == len(takes):
        getter = itemgetter(*fields)
        return lambda insn: text % getter(insn)
    parts = [itemgetter(take) if isinstance(take, int) else take for take in takes]
    return lambda insn: text % tuple([part(insn) for part in parts])
