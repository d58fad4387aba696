"""Instructions of every form of the table, with operands that are the same in each run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from bpfasm.isa.form import ROLES, Form
from bpfasm.isa.insn import Insn
from bpfasm.isa.table import FORMS

#: What can stand in a field: how far it reaches, and the values where signs change or a field ends.
OFF = (2**15, (0, 1, -1, 8, -8, 127, -128, 32767, -32768))
IMM = (2**31, (0, 1, -1, 5, -5, 127, -128, 255, 32767, -32768, 65536, 2**31 - 1, -(2**31)))
FIELDS = {"off": OFF, "off2": OFF, "imm": IMM, "imm2": IMM}


def build(form: Form, operand: Callable[[str, str], int]) -> Insn:
    """Return an instruction of a form; ``operand(role, field)`` gives what stands in the fields that are free."""
    fields: dict[str, Any] = {field: operand(role, field) for role in form.operands for field in ROLES[role]}
    # A fixed field may be named to be equal to another.
    fields |= {field: fields[value] if isinstance(value, str) else value for field, value in form.fixed.items()}
    return Insn(form.code, **fields)


def any_operand(field: str, choose: random.Random, registers: int = 11) -> int:
    """Return a register's number, an offset or an immediate, whichever a field holds: an edge, or at random."""
    if field not in FIELDS:
        return choose.randrange(registers)
    reach, edges = FIELDS[field]
    return choose.choice(edges) if choose.random() < 0.4 else choose.randrange(-reach, reach)


def samples(
    count: int, *, seed: int = 1, forms: Iterable[Form] = FORMS, registers: int = 11
) -> list[tuple[Form, Insn]]:
    """Return ``count`` pairs of a form and an instruction of it, for each form."""
    choose = random.Random(seed)
    return [
        (form, build(form, lambda _, field: any_operand(field, choose, registers)))
        for form in forms
        for _ in range(count)
    ]
