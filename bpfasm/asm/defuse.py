"""Who wrote what an instruction reads: registers and stack slots, from definition to use and back.

A *place* is a number: 0 to 10 for a register, -8, -16 ... -512 for the 8 bytes of the stack at that offset from R10.
What an instruction reads and writes is in its row of the instruction table; what a call reads is in the helper's
prototype, or in the function it calls.

>>> from bpfasm.asm import *
>>> from bpfasm.asm.flow import Graph, flow
>>> chains = DefUse(flow([
...     BPF_MOV64_IMM(R6, 7),
...     BPF_STX_MEM(BPF_DW, FP, R6, -8),
...     BPF_LDX_MEM(BPF_DW, R0, FP, -8),
...     BPF_EXIT_INSN(),
... ]))
>>> chains.definitions(1, 6), chains.definitions(2, -8), chains.uses(0, 6), chains.definitions(1, 1)
((0,), (1,), (1,), (-1,))
"""

from __future__ import annotations

from functools import lru_cache

from bpfasm.asm.flow import Graph, flow
from bpfasm.isa.filter_h import MAX_BPF_STACK
from bpfasm.isa.helpers import helper_of
from bpfasm.isa.match import form_of
from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.asm.flow import Block
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

_FP = bpf.BPF_REG_10
_ARGUMENTS = 0b111110
_CLOBBERED = 0b111111

#: The definition of what a function is entered with.
ENTRY = -1


def effect(insn: Insn, form: Form | None = None) -> tuple[int, int]:
    """Return the registers that an instruction reads and writes, as bit masks: bit 6 is R6.

    A call of a helper reads as many arguments as its prototype has, any other call R1 to R5.
    """
    form = form or form_of(insn)
    if form is None:
        return 0, 0
    reads = writes = 0
    for role in form.reads:
        reads |= _mask(role, insn)
    for role in form.writes:
        writes |= _mask(role, insn)
    if form.name == "call_helper" and insn.imm.__class__ is int:
        reads = arguments_of(insn.imm)
    return reads, writes


def registers(mask: int) -> Iterator[int]:
    """Yield the registers of a bit mask."""
    return (register for register in range(bpf.MAX_BPF_REG) if mask >> register & 1)


@lru_cache
def arguments_of(helper: int) -> int:
    """Return the registers that a helper reads, as a bit mask; of one that is not known, R1 to R5."""
    row = helper_of(helper)
    return ((1 << row.arguments) - 1) << 1 if row else _ARGUMENTS


def _mask(role: str, insn: Insn) -> int:
    if role == "dst":
        return 1 << insn.dst_reg
    if role == "src":
        return 1 << insn.src_reg
    return 1 << int(role[1:]) if role != "mem" else 0


class Access(Value):
    """An access to the stack by R10, or a register that is known to hold R10 and a constant.

    ``off`` is counted from R10. ``kind`` is "read", "write", "both" (an atomic operation), or "lent": a call is given
    the address, and may read or write from there upwards; ``size`` is 0 then.
    """

    off: int
    size: int
    kind: str

    def places(self) -> range:
        """Return the places it touches, of the stack that there is."""
        first = max(self.off, -MAX_BPF_STACK) // 8 * 8
        end = min(self.off + self.size, 0) if self.kind != "lent" else 0
        return range(first, end, 8)


class DefUse:
    """The chains of one graph; each is found when it is asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._effects: list[tuple[int, int]] = [effect(*pair) for pair in zip(graph.insns, graph.forms, strict=True)]
        self._live: list[int] | None = None
        self._accesses: dict[int, list[Access]] | None = None

    # the stack

    def accesses(self, pc: int) -> list[Access]:
        """Return the accesses to the stack by the instruction at ``pc``, as far as their place is known."""
        if self._accesses is None:
            self._accesses = dict(self._stack())
        return self._accesses.get(pc, [])

    def _stack(self) -> Iterator[tuple[int, list[Access]]]:
        graph = self.graph
        before: dict[int, dict[int, int]] = {f.blocks.start: {_FP: 0} for f in graph.functions if f.blocks}
        todo = list(before)
        while todo:
            number = todo.pop()
            state = dict(before[number])
            for _ in self._through(graph.blocks[number], state):
                pass
            for edge in graph.blocks[number].succs:
                there = before.get(edge.target)
                joined = state if there is None else dict(there.items() & state.items())
                if joined != there:
                    before[edge.target] = dict(joined)
                    todo.append(edge.target)
        for number, state in before.items():
            yield from self._through(graph.blocks[number], dict(state))

    def _through(self, block: Block, state: dict[int, int]) -> Iterator[tuple[int, list[Access]]]:
        """Go through a block with what registers are from R10; yield (pc, accesses)."""
        graph = self.graph
        for index in range(block.first, block.last + 1):
            insn, form = graph.insns[index], graph.forms[index]
            if form is None:
                continue
            found = _access(insn, form, state, self._effects[index][0])
            if found:
                yield graph.pcs[index], found
            after = _moved(insn, form, state)
            for register in registers(self._effects[index][1]):
                state.pop(register, None)
            if after is not None:
                state[insn.dst_reg] = after

    # places

    def reads(self, pc: int) -> tuple[int, ...]:
        """Return the places that the instruction at ``pc`` reads; those of the stack that it lends, too."""
        index = self._index(pc)
        slots = {slot for each in self.accesses(pc) if each.kind != "write" for slot in each.places()}
        return (*registers(self._reads(index)), *sorted(slots, reverse=True))

    def writes(self, pc: int) -> tuple[int, ...]:
        """Return the places that the instruction at ``pc`` writes, or may write where it lends them."""
        index = self._index(pc)
        slots = {slot for each in self.accesses(pc) if each.kind != "read" for slot in each.places()}
        return (*registers(self._effects[index][1]), *sorted(slots, reverse=True))

    def _index(self, pc: int) -> int:
        index = self.graph.index(pc)
        if index is None:
            raise KeyError(pc)
        return index

    def _reads(self, index: int) -> int:
        """Return the registers that an instruction reads; a call of a function reads what that does."""
        form = self.graph.forms[index]
        if form is None or form.name != "call_rel":
            return self._effects[index][0]
        live = self._liveness()
        callee = self._callees.get(index)
        return live[callee] & _ARGUMENTS if callee is not None else self._effects[index][0]

    def _kills(self, index: int, place: int) -> bool:
        """Return whether an instruction writes the whole place, so that nothing older is left of it."""
        if place >= 0:
            return bool(self._effects[index][1] >> place & 1)
        return any(
            each.kind in ("write", "both") and each.off <= place and each.off + each.size >= place + 8
            for each in self.accesses(self.graph.pcs[index])
        )

    # chains

    def definitions(self, pc: int, place: int) -> tuple[int, ...]:
        """Return the pcs that may have written what ``place`` holds before the instruction at ``pc``.

        ENTRY (-1) stands for what the function was entered with: an argument, or nothing at all.
        """
        graph, found, seen = self.graph, set(), set()
        block = graph.block_at(pc)
        todo = [(block, self._index(pc) - 1)]
        while todo:
            block, last = todo.pop()
            for index in range(last, block.first - 1, -1):
                if place in self.writes(graph.pcs[index]):
                    found.add(graph.pcs[index])
                    if self._kills(index, place):
                        break
            else:
                if block.number == graph.functions[block.function].blocks.start:
                    found.add(ENTRY)
                for edge in block.preds:
                    if edge.source not in seen:
                        seen.add(edge.source)
                        todo.append((graph.blocks[edge.source], graph.blocks[edge.source].last))
        return tuple(sorted(found))

    def uses(self, pc: int, place: int) -> tuple[int, ...]:
        """Return the pcs that may read what the instruction at ``pc`` writes to ``place``."""
        graph, found, seen = self.graph, set(), set()
        block = graph.block_at(pc)
        todo = [(block, self._index(pc) + 1)]
        while todo:
            block, first = todo.pop()
            for index in range(first, block.last + 1):
                if place in self.reads(graph.pcs[index]):
                    found.add(graph.pcs[index])
                if self._kills(index, place):
                    break
            else:
                for edge in block.succs:
                    if edge.target not in seen:
                        seen.add(edge.target)
                        todo.append((graph.blocks[edge.target], graph.blocks[edge.target].first))
        return tuple(sorted(found))

    # liveness

    def live(self, pc: int) -> tuple[int, ...]:
        """Return the registers whose values may still be read, before the instruction at ``pc``."""
        live = self._liveness()
        block = self.graph.block_at(pc)
        mask = 0
        for edge in block.succs:
            mask |= live[edge.target]
        for index in range(block.last, self._index(pc) - 1, -1):
            mask = (mask & ~self._effects[index][1]) | self._reads(index)
        return tuple(registers(mask))

    def _liveness(self) -> list[int]:
        """Return what is live at the start of each block; functions are done before their callers."""
        if self._live is not None:
            return self._live
        graph = self.graph
        live = self._live = [0] * len(graph.blocks)
        entry = {f.number: f.blocks.start for f in graph.functions}
        self._callees: dict[int, int] = {}
        callers: dict[int, set[int]] = {}
        for call in graph.calls:
            index = graph.index(call.pc)
            if call.kind == "call" and index is not None:
                self._callees[index] = entry[call.callee]
                callers.setdefault(entry[call.callee], set()).add(graph.block_at(call.pc).number)
        todo = list(range(len(graph.blocks)))
        waiting = set(todo)
        while todo:
            number = todo.pop()
            waiting.discard(number)
            block, mask = graph.blocks[number], 0
            for edge in block.succs:
                mask |= live[edge.target]
            for index in range(block.last, block.first - 1, -1):
                reads, writes = self._effects[index]
                if index in self._callees:
                    reads = live[self._callees[index]] & _ARGUMENTS
                mask = (mask & ~writes) | reads
            if mask != live[number]:
                live[number] = mask
                again: Iterable[int] = (*(edge.source for edge in block.preds), *callers.get(number, ()))
                fresh = [each for each in again if each not in waiting]
                waiting.update(fresh)
                todo += fresh
        return live


def def_use(program: Iterable[Insn] | Graph) -> DefUse:
    """Return the chains of a program, or of its graph."""
    return DefUse(program if isinstance(program, Graph) else flow(program))


def _access(insn: Insn, form: Form, state: dict[int, int], reads: int) -> list[Access]:
    """Return the accesses to the stack that an instruction makes, or lends by its arguments."""
    if form.kind == "call":
        return [Access(state[register], 0, "lent") for register in registers(reads) if register in state and register]
    if not form.size or form.kind == "packet" or insn.off.__class__ is not int:
        return []
    base = insn.src_reg if form.kind == "load" else insn.dst_reg
    if base not in state:
        return []
    kind = {"load": "read", "store": "write"}.get(form.kind, "both")
    return [Access(state[base] + insn.off, form.size, kind)]


def _moved(insn: Insn, form: Form, state: dict[int, int]) -> int | None:
    """Return what the destination is from R10 after an instruction, or None where it is nothing of the kind."""
    if form.name == "mov64_reg":
        return state.get(insn.src_reg)
    base = state.get(insn.dst_reg)
    if base is not None and form.name in ("add64_imm", "sub64_imm"):
        return base + int(insn.imm) if form.name == "add64_imm" else base - int(insn.imm)
    return None
