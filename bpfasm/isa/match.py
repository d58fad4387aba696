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

#: R11 is the highest register any kernel names, in what it has rewritten.
MAX_REG = 11


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
    wrong = min((_mismatches(form, insn) for form, *_ in rows), key=len)
    return ", ".join(wrong)


def _mismatches(form: Form, insn: Insn) -> list[str]:
    return [
        f"{name} is {getattr(insn, name)} and {form.name} has {value} there"
        for name, value in form.fixed.items()
        if getattr(insn, name) != (getattr(insn, value) if isinstance(value, str) else value)
    ]
