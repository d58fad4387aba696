"""The functions of a program, each by itself: in an object they lie in sections, and loaders put them together.

A program is laid out as one run of slots (``assemble()``); a function of it begins where a call or a callback goes.
"""

from __future__ import annotations

from bpfasm.asm.program import Subprog
from bpfasm.errors import AssemblyError
from bpfasm.isa.insn import LD_IMM64, Insn, slots
from bpfasm.uapi import bpf, bpf_common
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Assembled
    from bpfasm.asm.program import Program

CALL = bpf_common.BPF_JMP | bpf.BPF_CALL
_EXIT = bpf_common.BPF_JMP | bpf.BPF_EXIT
_INDIRECT = bpf_common.BPF_JMP | bpf_common.BPF_JA | bpf_common.BPF_X
_LONG = bpf.BPF_JMP32 | bpf_common.BPF_JA


class Reference(Value):
    """What an instruction refers to: an operand that stands in its ``slot``, or a function, the ``callee``'s name."""

    pc: int
    operand: Any = None
    slot: str = "imm"
    callee: str = ""


class Function(Value):
    """A function: its instructions, and what these refer to, each ``pc`` counted from its start.

    ``main`` is whether it is the program itself. ``args`` are the arguments of one that is verified by itself, of a
    program of ``type``; None where it is not.
    """

    name: str
    insns: tuple[Insn, ...]
    references: tuple[Reference, ...]
    main: bool = False
    args: tuple[Any, ...] | None = None
    type: int = 0

    @property
    def slots(self) -> int:
        """How long it is."""
        return sum(insn.width for insn in self.insns)


def split(assembled: Assembled) -> list[Function]:
    """Return the functions of a program, itself the first.

    What is called by a label has a name made of the program's and its slot. Raises AssemblyError for a jump from one
    function into another, which no kernel takes.
    """
    starts = _starts(assembled)
    takes = _arguments(assembled.program)
    operands = {(pc, slot): operand for pc, operand, slot in assembled.symbols}
    found: list[Function] = []
    insns: list[Insn] = []
    references: list[Reference] = []
    order = [*starts, sum(insn.width for insn in assembled.insns)]
    begin, end = order[0], order[1]
    for pc, insn in slots(assembled.insns):
        if pc >= end:
            found.append(_function(assembled.program, starts[begin], insns, references, begin == 0, takes))
            insns, references = [], []
            begin, end = end, order[len(found) + 1]
        references += [
            Reference(pc - begin, operands[pc, slot], slot) for slot in ("off", "imm") if (pc, slot) in operands
        ]
        goes_to = _callee(pc, insn)
        if goes_to is not None:
            references.append(Reference(pc - begin, callee=starts[goes_to]))
            insn = insn.replace(imm=0)  # noqa: PLW2901  the same function is at another distance elsewhere
        else:
            _stays(pc, insn, begin, end, starts)
        insns.append(insn)
    found.append(_function(assembled.program, starts[begin], insns, references, begin == 0, takes))
    return found


def _function(
    program: Program,
    name: str,
    insns: list[Insn],
    references: list[Reference],
    main: bool,
    takes: dict[str, tuple[Any, ...]],
) -> Function:
    args = ("ctx",) if main else takes.get(name)
    # What a context is depends on the program; a function without one is the same for all.
    type = program.type if args and "ctx" in args else 0
    return Function(name, tuple(insns), tuple(references), main, args, type)


def _arguments(program: Program) -> dict[str, tuple[Any, ...]]:
    """Return the arguments of a program's functions that say what they are, by name."""
    found: dict[str, tuple[Any, ...]] = {}
    seen: set[str] = set()
    left: list[Program | Subprog] = [program]
    while left:
        for item in left.pop().insns:
            callee = item.imm if isinstance(item, Insn) else None
            if isinstance(callee, Subprog) and callee.name not in seen:
                seen.add(callee.name)
                left.append(callee)
                args = getattr(callee, "args", None)
                if args is not None:
                    found[callee.name] = tuple(args)
    return found


def _starts(assembled: Assembled) -> dict[int, str]:
    """Return the names of the functions by their first slots, in order."""
    starts, there = {0}, {pc for pc, _ in slots(assembled.insns)}
    for pc, insn in slots(assembled.insns):
        goes_to = _callee(pc, insn)
        if goes_to is not None and goes_to not in there:
            raise AssemblyError(
                f"the call at slot {pc} goes to slot {goes_to}, where no instruction begins",
                "call a Subprog, or a label of this body",
                source=insn.source,
                rule="object-jump",
            )
        starts |= {goes_to} if goes_to is not None else set()
    named = dict(assembled.functions)
    return {start: named.get(start) or f"{named[0]}_{start}" for start in sorted(starts)}


def _callee(pc: int, insn: Insn) -> int | None:
    """Return the slot of the function that is called, or whose address is loaded; None for what does neither."""
    call = insn.code == CALL and insn.src_reg == bpf.BPF_PSEUDO_CALL
    if call or (insn.code == LD_IMM64 and insn.src_reg == bpf.BPF_PSEUDO_FUNC):
        return pc + int(insn.imm) + 1
    return None


def _stays(pc: int, insn: Insn, begin: int, end: int, starts: dict[int, str]) -> None:
    """Check that a jump ends in the function it is in."""
    if insn.code & 7 not in (bpf_common.BPF_JMP, bpf.BPF_JMP32) or insn.code in (CALL, _EXIT, _INDIRECT):
        return
    distance = insn.imm if insn.code == _LONG else insn.off
    if not begin <= pc + 1 + distance < end:
        raise AssemblyError(
            f"the jump at slot {pc} goes {distance:+d} slots, out of {starts[begin]}",
            "a function is left by BPF_EXIT_INSN, or by calling another one",
            source=insn.source,
            rule="object-jump",
        )
