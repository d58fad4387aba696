"""The JSON documents of the commands. Their schemas are beside this file, in ``schemas/``."""

from __future__ import annotations

from itertools import repeat

from bpfasm.asm.linker import link
from bpfasm.asm.syntax import kernel, macro
from bpfasm.isa.insn import slots
from bpfasm.isa.match import form_of, why_none
from bpfasm.uapi import bpf, names
from bpfasm.views.dump import xlated_text
from bpfasm.views.listing import bytes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bpfasm.asm import Assembled
    from bpfasm.asm.syntax.xlated import Names
    from bpfasm.errors import BpfasmError

_PROG_TYPES = names(bpf, "bpf_prog_type")

#: What an operand is that only a target knows, by what it is called in messages.
_SYMBOLS = {"map": "map", "variable": "global", "kernel function": "kfunc"}


def programs(
    assembled: Iterable[Assembled], names: Sequence[Names] = (), problem: BpfasmError | None = None
) -> dict[str, Any]:
    """Return what asm and disasm print with ``--json``.

    ``names`` are those of each program that is a dump; ``problem`` is what is wrong with the rest of the input.
    """
    pairs = zip(assembled, names or repeat(None), strict=False)
    document: dict[str, Any] = {"schema": "bpfasm/programs/1", "programs": [_program(*pair) for pair in pairs]}
    if problem:
        document["error"] = error(problem)["error"]
    return document


def _program(program: Assembled, names: Names | None) -> dict[str, Any]:
    linked, kind = link(program), program.program.type
    code, symbols = linked.code, {(pc, field): operand for pc, operand, field in program.symbols}
    insns = []
    for (pc, insn), number in zip(slots(program.insns), linked.insns, strict=True):
        form = form_of(insn)
        row: dict[str, Any] = {
            "pc": pc,
            "width": insn.width,
            "code": insn.code,
            "dst_reg": insn.dst_reg,
            "src_reg": insn.src_reg,
            "off": number.off,
            "imm": number.imm,
            "off2": insn.off2,
            "imm2": insn.imm2,
            "text": kernel.words(insn, form),
            "macro": macro.text(insn, form),
            "bytes": bytes_of(code, pc, insn),
            "source": {"file": insn.source[0], "line": insn.source[1]} if insn.source else None,
        }
        for field, key in (("imm", "symbol"), ("off", "off_symbol")):
            if (pc, field) in symbols:
                operand = symbols[pc, field]
                row[key] = {"kind": _SYMBOLS.get(operand.word, operand.word), "name": operand.title}
        if names:
            row["text"], note = xlated_text(insn, pc, names)
            row |= {"note": note} if note else {}
        elif form is None:
            row["problem"] = why_none(insn)
        insns.append(row)
    return {
        "name": program.program.name,
        "type": _PROG_TYPES.get(kind, f"BPF_PROG_TYPE_{kind}"),
        "hex": code.hex(),
        "insns": insns,
    }


def error(problem: BpfasmError) -> dict[str, Any]:
    """Return an error as ``--json`` prints it."""
    place: dict[str, Any] | None = None
    if problem.source:
        place = {"file": problem.source[0], "line": problem.source[1]}
        if problem.column:
            place["column"] = problem.column
    return {
        "schema": "bpfasm/error/1",
        "error": {
            "kind": type(problem).__name__,
            "what": problem.what,
            "do": problem.do,
            "rule": problem.rule or None,
            "source": place,
        },
    }
