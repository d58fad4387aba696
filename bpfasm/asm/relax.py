"""Jumps that go further than 16 bits reach, made of several.

``link(program, target, relax=True)`` does it, and only then: nothing is put into a program that did not ask for it.
Where the target has gotol (Linux 6.6), whose distance has 32 bits, a far jump becomes one, and a far condition its
opposite over one; where a condition has no opposite (BPF_JSET, may_goto), it jumps to a gotol that all others jump
over. Without gotol there are islands: jumps on the way that lead on, which the code around them jumps over.

Each instruction that is put in is an ``Inserted``, and bears the line of the jump it is for.
"""

from __future__ import annotations

from bpfasm.asm.program import Subprog
from bpfasm.asm.symbols import Label, Mark, label_text
from bpfasm.errors import LabelError
from bpfasm.isa.insn import Insn
from bpfasm.isa.match import form_of
from bpfasm.isa.operands import (
    BPF_JEQ,
    BPF_JGE,
    BPF_JGT,
    BPF_JLE,
    BPF_JLT,
    BPF_JNE,
    BPF_JSGE,
    BPF_JSGT,
    BPF_JSLE,
    BPF_JSLT,
)  # fmt: skip
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bpfasm.asm.program import Item, Program

#: The farthest that a jump is left alone. 16 bits reach 32767, but the kernel puts instructions into a program that
#: it has verified, and refuses one whose jumps do not fit any more (ENOMEM: "cannot be patched due to 16-bit range").
REACH = 30_000

#: Conditions and their opposites, by the bits of the opcode.
_OPPOSITE: dict[int, int] = {
    BPF_JEQ: BPF_JNE, BPF_JNE: BPF_JEQ, BPF_JGT: BPF_JLE, BPF_JLE: BPF_JGT, BPF_JGE: BPF_JLT, BPF_JLT: BPF_JGE,
    BPF_JSGT: BPF_JSLE, BPF_JSLE: BPF_JSGT, BPF_JSGE: BPF_JSLT, BPF_JSLT: BPF_JSGE,
}  # fmt: skip
_CONDITION = 0xF0


class Inserted(Insn):
    """An instruction that nobody wrote: a far jump needs it."""

    __slots__ = ()


def relax(program: Program, *, gotol: bool) -> Program:
    """Return a program whose far jumps reach; the same where none is far. ``gotol``: the target has that."""
    done: dict[str, Subprog] = {}
    return program.replace(insns=_body(program.insns, done, gotol))


def _body(items: Sequence[Item], done: dict[str, Subprog], gotol: bool) -> list[Item]:
    """Return a body whose far jumps reach, with the functions that it calls."""
    body: list[Item] = []
    for item in items:
        if isinstance(item, Insn) and isinstance(item.imm, Subprog):
            sub = item.imm
            if sub.name not in done:
                done[sub.name] = sub.replace(insns=_body(sub.insns, done, gotol))
            body.append(item.replace(imm=done[sub.name]))
        else:
            body.append(item)
    if sum(item.width for item in body if isinstance(item, Insn)) <= REACH:
        return body
    body = _by_label(body)
    return _with_gotol(body) if gotol else _with_islands(body)


def _by_label(body: list[Item]) -> list[Item]:
    """Return a body in which distances in numbers are labels, so that something can be put between."""
    at, pc = {}, 0
    for index, item in enumerate(body):
        if isinstance(item, Insn):
            at[pc] = index
            pc += item.width
    marks: dict[int, Label] = {}
    named: list[Item] = []
    pc = 0
    for item in body:
        if not isinstance(item, Insn):
            named.append(item)
            continue
        role = _distance_role(item)
        distance = getattr(item, role) if role else None
        if role and distance.__class__ is int and pc + 1 + distance in at:
            there = marks.setdefault(at[pc + 1 + distance], Label(f"slot {pc + 1 + distance}"))
            item = item.replace(**{role: there})  # noqa: PLW2901
        named.append(item)
        pc += item.width
    out: list[Item] = []
    for index, item in enumerate(named):
        if index in marks:
            out.append(Mark(marks[index]))
        out.append(item)
    return out


def _distance_role(insn: Insn) -> str:
    """Return the field of an instruction that holds a distance in slots, or nothing."""
    form = form_of(insn)
    for role, field in (("jump", "off"), ("jump32", "imm"), ("callee", "imm"), ("func", "imm")):
        if form and role in form.operands:
            return field
    return ""


def _places(body: Iterable[Item]) -> tuple[list[int], dict[str | Label, int]]:
    """Return the pc of each item, and those of the labels."""
    pcs, places, pc = [], {}, 0
    for item in body:
        pcs.append(pc)
        if isinstance(item, Mark):
            places[item.label] = pc
        else:
            pc += item.width
    return pcs, places


def _is_far(item: Item, pc: int, places: dict[str | Label, int]) -> bool:
    """Return whether an item is a jump of 16 bits to a label that is farther than it should be."""
    if not isinstance(item, Insn) or not isinstance(item.off, str | Label) or item.off not in places:
        return False
    return abs(places[item.off] - pc - 1) > REACH


def _with_gotol(body: list[Item]) -> list[Item]:
    while True:
        pcs, places = _places(body)
        out: list[Item] = []
        for item, pc in zip(body, pcs, strict=True):
            out += _by_gotol(item) if isinstance(item, Insn) and _is_far(item, pc, places) else [item]
        if len(out) == len(body) and all(a is b for a, b in zip(out, body, strict=True)):
            return body
        body = out


def _by_gotol(insn: Insn) -> list[Item]:
    """Return a far jump by gotol."""
    goto = _inserted(insn, bpf_common.BPF_JMP | bpf_common.BPF_JA, off=1)
    long = _inserted(insn, bpf.BPF_JMP32 | bpf_common.BPF_JA, imm=insn.off)
    condition = insn.code & _CONDITION
    if condition == bpf_common.BPF_JA:
        return [long]
    if condition in _OPPOSITE:
        return [insn.replace(code=insn.code & ~_CONDITION | _OPPOSITE[condition], off=1), long]
    return [insn.replace(off=1), goto, long]


def _inserted(insn: Insn, code: int, off: Any = 0, imm: Any = 0) -> Inserted:
    return Inserted(code=code, dst_reg=0, src_reg=0, off=off, imm=imm, where=insn.where)


def _with_islands(body: list[Item]) -> list[Item]:
    """Put islands on the way of far jumps, one after the other; a jump to the same place takes one that is there."""
    islands: dict[str | Label, list[Label]] = {}
    goes_to: dict[str | Label, str | Label] = {}
    # So many that they keep pushing what they are for out of reach.
    most = len(body) // 3
    while True:
        pcs, places = _places(body)
        far = next((at for at, item in enumerate(body) if _is_far(item, pcs[at], places)), None)
        if far is None:
            return body
        insn = body[far]
        assert isinstance(insn, Insn)
        end = goes_to.get(insn.off, insn.off)
        here, there = pcs[far], places[end]
        ahead = there > here
        low, high = sorted((here, there))
        near = [
            island
            for island in islands.get(end, ())
            if low < places[island] < high and abs(places[island] - here) < REACH - 8
        ]
        if near:
            island = max(near, key=lambda each: abs(places[each] - here))
            body[far] = insn.replace(off=island)
            continue
        if len(goes_to) > most:
            raise LabelError(
                f"{len(goes_to)} islands do not suffice for the far jumps of this program",
                "link it for a kernel from 6.6 on, with Target(gotol=True), or make functions of its parts",
                source=insn.source,
                rule="jump-range",
            )
        island = Label(f"on the way to {label_text(end)}")
        islands.setdefault(end, []).append(island)
        goes_to[island] = end
        body[far] = insn.replace(off=island)
        at = _spot(body, pcs, far, ahead)
        over = Label("over the island")
        leads_on = _inserted(insn, bpf_common.BPF_JMP | bpf_common.BPF_JA, off=end)
        jumps_over = _inserted(insn, bpf_common.BPF_JMP | bpf_common.BPF_JA, off=over)
        put: list[Item] = [jumps_over, Mark(island), leads_on, Mark(over)]
        if at and _goes_on_never(body[at - 1]):
            put = [Mark(island), leads_on]
        body[at:at] = put


#: How far before the end of its reach a jump's island may be, so that it lies where nothing has to jump over it.
_SLACK = 4_000


def _spot(body: list[Item], pcs: list[int], far: int, ahead: bool) -> int:
    """Return the index of the item that an island is put before."""
    step = 1 if ahead else -1
    last = far
    while 0 < last + step < len(body) and abs(pcs[last + step] - pcs[far]) < REACH - 8:
        last += step
    at = last
    while abs(pcs[last] - pcs[at]) < _SLACK and at != far + (1 if ahead else 0):
        if at and _goes_on_never(body[at - 1]):
            return at
        at -= step
    return last


def _goes_on_never(item: Item) -> bool:
    form = form_of(item) if isinstance(item, Insn) else None
    return form is not None and form.kind in ("goto", "exit")
