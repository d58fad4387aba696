"""Which form an instruction is, or why it is none."""

from __future__ import annotations

from operator import itemgetter

from bpfasm.isa.insn import FIELDS, LD_IMM64
from bpfasm.isa.table import FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

    #: A form, the getter of its fixed fields, what they must be, and pairs of fields that must be equal.
    Row = tuple[Form, Callable[[Insn], Any], Any, list[tuple[int, int]]]

#: The highest register a kernel names. R11 passes arguments on the stack (7.x); what the kernel rewrites has one
#: more than the program may use, R11 or R12.
MAX_REG = 12


def _row(form: Form) -> Row:
    """Return a form with the check of its fixed fields ready to run: one getter, one comparison."""
    fixed = [(FIELDS.index(name), value) for name, value in form.fixed.items() if isinstance(value, int | None)]
    equal = [(FIELDS.index(a), FIELDS.index(b)) for a, b in form.fixed.items() if isinstance(b, str)]
    indexes, values = zip(*fixed, strict=True)
    return form, itemgetter(*indexes), values if len(values) > 1 else values[0], equal


_BY_CODE: dict[int, list[Row]] = {}
for _form in FORMS:
    _BY_CODE.setdefault(_form.code, []).append(_row(_form))


def form_of(insn: Insn) -> Form | None:
    """Return the form of an instruction, or None where no form has these fixed fields.

    Symbolic operands do not matter: they stand in fields that are operands.
    """
    for form, fixed, values, equal in _BY_CODE.get(insn[0], ()):
        if fixed(insn) == values and all(insn[a] == insn[b] for a, b in equal):
            return form if insn[1] <= MAX_REG and insn[2] <= MAX_REG else None
    return None


def why_none(insn: Insn) -> str:
    """Say in a few words why ``form_of`` found no form."""
    rows = _BY_CODE.get(insn.code)
    if not rows:
        if insn.code == 0:
            return "code 0 is only the second slot of BPF_LD_IMM64"
        return f"no instruction has code {insn.code:#04x}"
    if insn.code == LD_IMM64 and insn.width == 1:
        return "BPF_LD_IMM64 without its second slot"
    for name in ("dst_reg", "src_reg"):
        if getattr(insn, name) > MAX_REG:
            return f"there is no register {getattr(insn, name)}"
    missed = [(form, _missed(form, insn)) for form, *_ in rows]
    nearest, fields = min(missed, key=lambda row: len(row[1]))
    # Forms that the same fields tell apart: together they say what these fields may be.
    alike = [form for form, others in missed if others == fields]
    return "; ".join(_takes(insn, name, alike, nearest) for name in fields)


def _missed(form: Form, insn: Insn) -> list[str]:
    """Return the fixed fields of a form that an instruction has otherwise."""
    return [name for name in form.fixed if getattr(insn, name) != _must(form, name, insn)]


def _must(form: Form, name: str, insn: Insn) -> int | None:
    value: int | str | None = form.fixed[name]
    return getattr(insn, value) if isinstance(value, str) else value


def _takes(insn: Insn, name: str, forms: list[Form], nearest: Form) -> str:
    """Say what a field is, and what it is in these forms."""
    known = {must for form in forms if (must := _must(form, name, insn)) is not None}
    who = nearest.name if len(known) < 2 else "this opcode"
    if not known:
        return f"{name} is {getattr(insn, name)}, and {who} has one slot"
    return (
        f"{name} is {getattr(insn, name)}, and {who} takes {', '.join(f'{must:d}' for must in sorted(known))} there"
    )
