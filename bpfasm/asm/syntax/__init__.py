"""Text as a view of instructions: one module a syntax, each driven by the templates of the instruction table.

- ``kernel``: the verifier's and bpftool's, word for word as kernel/bpf/disasm.c prints it
- ``macro``: the calls that make the instructions, in Python and in C
- ``hexdump``: the bytes, 16 digits a slot

Each printing module has ``text(insn, form)``. What no form fits is :func:`data`: a macro call that keeps every bit.
"""

from __future__ import annotations

from operator import itemgetter

from bpfasm.asm.symbols import Symbol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.isa.form import Form
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


def symbolic(
    insn: Insn,
    form: Form,
    template: str,
    roles: Roles,
    known: dict[str, Callable[[Insn], str]],
    shown: Callable[[Any], str],
) -> str:
    """Return an instruction that has operands without a number yet: those of a target's types by their names.

    What is symbolic in another way than a syntax can say (a label, a map in a raw instruction) is :func:`data`.
    """
    if form.name not in known:
        named: Roles = {role: ("%s", _naming(*spec, shown)) for role, spec in roles.items()}
        known[form.name] = printer(template, named)
    try:
        return known[form.name](insn)
    except TypeError:
        prefix = template[:5] if template.startswith("(") else ""
        return f"{prefix}{data(insn)}"


def _naming(spec: str, take: int | Callable[[Insn], Any], shown: Callable[[Any], str]) -> Callable[[Insn], str]:
    """Return what prints a role: a number by its format, an operand by its name with the format's sign."""
    get = itemgetter(take) if isinstance(take, int) else take

    def text(insn: Insn) -> str:
        try:
            value = get(insn)
            return str(spec % value)
        except TypeError:
            value = insn[take] if isinstance(take, int) else insn.imm
            if not (isinstance(value, Symbol) and value.numeric):
                raise
            return f"{'+' if '+' in spec else ''}{shown(value)}"

    return text
