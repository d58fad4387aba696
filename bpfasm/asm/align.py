"""Two programs side by side, by instruction: what is the same, what changed, what only one of them has.

Jumps and calls are compared by where they lead: one that leads to the instruction that stands beside its target in
the other program is the same, however far it is.

>>> from bpfasm.asm import *
>>> def prog(*insns): return Program("prog", BPF_PROG_TYPE_XDP, [*insns, label("out"), BPF_EXIT_INSN()])
>>> first = prog(BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"), BPF_MOV64_IMM(R0, 1))
>>> second = prog(BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"), BPF_MOV64_IMM(R0, 1), BPF_MOV64_IMM(R0, 2))
>>> [(pair.kind, pair.a, pair.b) for pair in align(first, second)]
[('same', 0, 0), ('same', 1, 1), ('added', None, 2), ('same', 2, 3)]
"""

from __future__ import annotations

from bpfasm.asm.flow import flow, target_of
from bpfasm.asm.linker import assemble
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm.flow import Graph
    from bpfasm.asm.program import Program

#: Fields that hold a distance, by its role in the instruction's form.
_DISTANCE = {"jump": 3, "jump32": 4, "callee": 4, "func": 4}

#: Where every instruction is looked for in the other program; in longer ones those that are very frequent are not.
_THOROUGH = 4000


class Pair(Value):
    """Instructions that stand beside each other: their pcs, or None where one program has none.

    ``kind`` is "same", "changed", "removed" (only the first has it) or "added".
    """

    kind: str
    a: int | None
    b: int | None


def align(first: Program, second: Program) -> tuple[Pair, ...]:
    """Return the instructions of two programs beside each other. Raises LabelError, LinkError."""
    from difflib import SequenceMatcher

    a, b = flow(assemble(first)), flow(assemble(second))
    keys = _keys(a), _keys(b)
    thorough = max(map(len, keys)) <= _THOROUGH
    pairs: list[tuple[int | None, int | None]] = []
    for how, a1, a2, b1, b2 in SequenceMatcher(None, *keys, autojunk=not thorough).get_opcodes():
        if how == "equal":
            pairs += zip(range(a1, a2), range(b1, b2), strict=True)
        else:
            pairs += _beside(keys[0], keys[1], range(a1, a2), range(b1, b2))
    beside = {a.pcs[i]: b.pcs[j] for i, j in pairs if i is not None and j is not None}
    return tuple(_pair(a, b, i, j, keys, beside) for i, j in pairs)


def _keys(graph: Graph) -> list[tuple[object, ...]]:
    """Return what makes each instruction what it is, without distances."""
    keys = []
    for insn, form in zip(graph.insns, graph.forms, strict=True):
        fields = list(insn[:7])
        for role in form.operands if form else ():
            if role in _DISTANCE:
                fields[_DISTANCE[role]] = None
        keys.append(tuple(field if field.__class__ is int else _said(field) for field in fields))
    return keys


def _said(operand: object) -> object:
    """Return what an operand says: two that were made apart, as of two objects, say the same."""
    if operand is None or isinstance(operand, int):
        return operand
    return getattr(operand, "name", None) or repr(operand)


def _beside(
    a: list[tuple[object, ...]], b: list[tuple[object, ...]], first: range, second: range
) -> Iterator[tuple[int | None, int | None]]:
    """Yield what was replaced by what: instructions of one opcode stand beside each other, in order."""
    j = second.start
    for i in first:
        found = next((k for k in range(j, min(second.stop, j + 8)) if a[i][0] == b[k][0]), None)
        if found is None:
            yield i, None
            continue
        yield from ((None, k) for k in range(j, found))
        yield i, found
        j = found + 1
    yield from ((None, k) for k in range(j, second.stop))


def _pair(
    a: Graph,
    b: Graph,
    i: int | None,
    j: int | None,
    keys: tuple[list[tuple[object, ...]], list[tuple[object, ...]]],
    beside: dict[int, int],
) -> Pair:
    if i is None or j is None:
        return Pair(
            "added" if i is None else "removed",
            None if i is None else a.pcs[i],
            None if j is None else b.pcs[j],
        )
    here, there = target_of(a.insns[i], a.forms[i], a.pcs[i]), target_of(b.insns[j], b.forms[j], b.pcs[j])
    alike = keys[0][i] == keys[1][j] and (here is None or there is None or _leads(a, i, here, b, j, there, beside))
    return Pair("same" if alike else "changed", a.pcs[i], b.pcs[j])


def _leads(a: Graph, i: int, here: int, b: Graph, j: int, there: int, beside: dict[int, int]) -> bool:
    """Tell whether two instructions lead to the same place; where there is none, whether they lead as far."""
    if here in beside:
        return beside[here] == there
    return a.index(here) is None and here - a.pcs[i] == there - b.pcs[j]
