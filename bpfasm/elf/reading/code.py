"""The functions of an object: bytes of its sections of code to instructions whose operands are values.

What the compiler left to relocations becomes the operand that a program in Python has in that slot: a map, a
function, a variable of the kernel. A function that is called is a ``Subprog``; each is read once, when the first
program needs it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from bpfasm.asm.program import Subprog
from bpfasm.elf.reading.core import operand_of
from bpfasm.errors import DecodeError
from bpfasm.isa.insn import LD_IMM64, SLOT_BYTES, Insn, decode, slots
from bpfasm.uapi import bpf, bpf_common, elf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.btf.core import Sought
    from bpfasm.btf.read import Btf
    from bpfasm.elf.read import Elf, Section, Symbol
    from bpfasm.elf.reading.btf_ext import CodeInfo, CoreRecord
    from bpfasm.elf.reading.types import ObjectTypes

_CALL = bpf_common.BPF_JMP | bpf.BPF_CALL

#: A chain of calls in an object is no longer. The kernel takes 8 (MAX_CALL_FRAMES).
_MOST_CALLS = 64


class Line(tuple[str, int]):
    """Where an instruction comes from: a file and a line, and the three words that tell a kernel so.

    The words are the last of ``struct bpf_line_info``, whose strings are those of the object's types.
    """

    words: tuple[int, int, int]


class FunctionType(Value):
    """What an object's types say of a function: its id among them."""

    types: ObjectTypes
    id: int


class Function(Value):
    """A function of a section of code: its first slot, and how many it has."""

    name: str
    section: int
    start: int
    count: int
    bind: int


class Code:
    """The sections of code of an object, and what their instructions refer to.

    ``place`` gives what is at an offset of a section of another kind, ``extern`` what an undefined symbol stands for:
    each returns the instruction with an operand, or None.
    """

    def __init__(
        self,
        file: Elf,
        infos: dict[str, CodeInfo],
        types: ObjectTypes | None,
        btf: Btf | None,
        place: Callable[[Insn, Section, int], Insn | None],
        extern: Callable[[Insn, Symbol], Insn | None],
    ) -> None:
        self._file, self._infos, self._types, self._btf = file, infos, types, btf
        self._place, self._extern = place, extern
        self._sections: dict[int, tuple[list[int], list[Insn]]] = {}
        self._subprogs: dict[Function, Subprog] = {}
        self._reading: list[Function] = []
        self._names: dict[str, int] = {}
        self._sought: dict[tuple[int, int, str], Sought] = {}
        self.functions = _functions(file, self.broken)
        self._starts = {(each.section, each.start): each for each in self.functions}

    def broken(self, what: str, do: str = "build it again with clang -target bpf") -> DecodeError:
        """Return the error for something in the object that does not hold."""
        prefix = f"{self._file.name}: " if self._file.name else ""
        return DecodeError(f"{prefix}this is no whole BPF object: {what}", do, rule="object")

    def section_of(self, function: Function) -> str:
        """Return the name of a function's section."""
        return self._file.sections[function.section].name

    def type_of(self, function: Function) -> FunctionType | None:
        """Return what the types say of a function, None where they say nothing."""
        info = self._infos.get(self.section_of(function))
        id = info.functions.get(SLOT_BYTES * function.start) if info else None
        return FunctionType(self._types, id) if self._types and id else None

    def body(self, function: Function) -> list[Insn]:
        """Return the instructions of a function. Raises DecodeError."""
        if function in self._reading or len(self._reading) >= _MOST_CALLS:
            chain = " calls ".join(each.name for each in (*self._reading[-3:], function))
            raise self.broken(f"{chain}, and there is no end to it", "BPF programs have no recursion: use a loop")
        self._reading.append(function)
        try:
            pcs, insns = self._section(function.section)
            first, last = (bisect_left(pcs, at) for at in (function.start, function.start + function.count))
            return [
                self._linked(insn, pc, function) for pc, insn in zip(pcs[first:last], insns[first:last], strict=True)
            ]
        finally:
            self._reading.pop()

    def subprog(self, section: int, start: int) -> Subprog:
        """Return the function that begins at a slot of a section. Raises DecodeError where none does."""
        function = self._starts.get((section, start))
        if function is None:
            raise self.broken(f"no function begins at slot {start} of {self._file.sections[section].name}")
        if function not in self._subprogs:
            number = self._names[function.name] = self._names.get(function.name, 0) + 1
            name = function.name if number == 1 else f"{function.name}_{number}"
            self._subprogs[function] = Subprog(name, self.body(function), types=self.type_of(function))
        return self._subprogs[function]

    def _section(self, index: int) -> tuple[list[int], list[Insn]]:
        """Return the slots and instructions of a section, with all but calls resolved."""
        if index not in self._sections:
            section = self._file.sections[index]
            data = self._file.contents(section)
            if len(data) % SLOT_BYTES:
                raise self.broken(f"{section.name} has {len(data)} bytes, and instructions have {SLOT_BYTES}")
            insns = decode(data, self._file.order)
            pcs = [pc for pc, _ in slots(insns)]
            info = self._infos.get(section.name)
            if info and info.lines:
                insns = self._with_lines(pcs, insns, info.lines)
            for each in info.cores if info else ():
                at = self._index(pcs, each.offset, section)
                insns[at] = self._with_core(insns[at], each)
            self._sections[index] = pcs, insns
            self._relocate(section, pcs, insns)
        return self._sections[index]

    def _index(self, pcs: list[int], offset: int, section: Section) -> int:
        """Return which instruction begins at an offset in bytes."""
        at = bisect_left(pcs, offset // SLOT_BYTES)
        if offset % SLOT_BYTES or at == len(pcs) or pcs[at] != offset // SLOT_BYTES:
            raise self.broken(f"something is said of byte {offset} of {section.name}, where no instruction begins")
        return at

    def _with_lines(self, pcs: list[int], insns: list[Insn], lines: dict[int, tuple[int, int, int]]) -> list[Insn]:
        """Return the instructions with their source: a record holds until the next one."""
        assert self._btf
        files: dict[int, str] = {}
        found, line = [], None
        new = tuple.__new__
        for pc, insn in zip(pcs, insns, strict=True):
            words = lines.get(SLOT_BYTES * pc)
            if words:
                if words[0] not in files:
                    files[words[0]] = self._btf.string(words[0])
                line = Line((files[words[0]], words[2] >> 10))
                line.words = words
            found.append(new(Insn, (*insn[:7], line)))
        return found

    def _with_core(self, insn: Insn, record: CoreRecord) -> Insn:
        assert self._btf
        return operand_of(self._btf, record, insn, self._sought)

    def _relocate(self, section: Section, pcs: list[int], insns: list[Insn]) -> None:
        """Put the operands of relocations into the instructions; functions are left as where they begin."""
        symbols = self._file.symbols
        for reloc in self._file.relocations(section):
            at = self._index(pcs, reloc.offset, section)
            if reloc.symbol >= len(symbols):
                raise self.broken(f"a relocation of {section.name} is about symbol {reloc.symbol}, which is none")
            symbol = symbols[reloc.symbol]
            insns[at] = self._operand(insns[at], symbol, section, pcs[at])

    def _operand(self, insn: Insn, symbol: Symbol, section: Section, pc: int) -> Insn:
        wide = insn.code == LD_IMM64 and insn.width == 2
        call = insn.code == _CALL
        if not (wide or call) or not isinstance(insn.imm, int):
            raise self.broken(f"slot {pc} of {section.name} refers to {symbol.name}, and is no call or BPF_LD_IMM64")
        found = None
        if symbol.section == elf.SHN_UNDEF:
            found = self._extern(insn, symbol)
            if found is None:
                raise self.broken(
                    f"{symbol.name or 'a symbol without a name'} is in no section",
                    "link the objects that belong together: bpftool gen object OUT.o IN.o ...; "
                    "what is the kernel's is declared with __ksym or __kconfig",
                )
            return found
        if symbol.section >= len(self._file.sections):
            raise self.broken(f"the symbol {symbol.name} is in section {symbol.section}, which is none")
        target = self._file.sections[symbol.section]
        if target.flags & elf.SHF_EXECINSTR:
            start = symbol.value // SLOT_BYTES + (insn.imm + 1 if call else insn.imm // SLOT_BYTES)
            return insn.replace(
                src_reg=bpf.BPF_PSEUDO_CALL if call else bpf.BPF_PSEUDO_FUNC, imm=_Start((target.index, start))
            )
        if wide:
            found = self._place(insn, target, symbol.value + insn.imm)
        if found is None:
            raise self.broken(f"slot {pc} of {section.name} refers to {symbol.name or target.name}, in {target.name}")
        return found

    def _linked(self, insn: Insn, pc: int, function: Function) -> Insn:
        """Return an instruction of a function, with the function that it calls as a value."""
        imm = insn.imm
        if imm.__class__ is _Start:
            return insn.replace(imm=self.subprog(*imm))
        if insn.src_reg == bpf.BPF_PSEUDO_CALL and insn.code == _CALL:
            return insn.replace(imm=self.subprog(function.section, pc + imm + 1))
        return insn


class _Start(tuple[int, int]):
    """Where a function begins: the number of its section, and its slot."""


def _functions(file: Elf, broken: Callable[[str], DecodeError]) -> list[Function]:
    """Return the functions that the symbols name, in the order of sections and slots."""
    found: dict[tuple[int, int], Function] = {}
    for symbol in file.symbols:
        if symbol.type != elf.STT_FUNC or not 0 < symbol.section < len(file.sections):
            continue
        section = file.sections[symbol.section]
        if not section.flags & elf.SHF_EXECINSTR:
            continue
        if symbol.value % SLOT_BYTES or symbol.size % SLOT_BYTES or symbol.value + symbol.size > section.size:
            raise broken(f"the function {symbol.name} is not within {section.name}")
        where = section.index, symbol.value // SLOT_BYTES
        name = symbol.name or f"function_{where[1]}"
        found.setdefault(where, Function(name, *where, symbol.size // SLOT_BYTES, symbol.bind))
    order = [found[where] for where in sorted(found)]
    for one, other in pairwise(order):
        if one.section == other.section and one.start + one.count > other.start:
            raise broken(f"the functions {one.name} and {other.name} overlap")
    return order
