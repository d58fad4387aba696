"""The code of an object: each function in its section, with what a loader has to put in, and where it comes from."""

from __future__ import annotations

import builtins

from bpfasm.asm.btf_types import add_type
from bpfasm.asm.fields import Core, with_number
from bpfasm.asm.kconfig import Config
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.ksym import Ksym
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.prog_types import TYPES
from bpfasm.asm.variables import Global
from bpfasm.elf.layout import R_BPF_64_32, R_BPF_64_64
from bpfasm.elf.writing import refused as object_refused
from bpfasm.elf.writing.functions import CALL
from bpfasm.elf.writing.section_of import section_of
from bpfasm.elf.writing.source import lines_of
from bpfasm.isa.insn import LD_IMM64, SLOT_BYTES, encode, slots
from bpfasm.uapi import bpf, bpf_common, btf as kinds
from bpfasm.uapi.elf import SHF_ALLOC, SHF_EXECINSTR, STB_GLOBAL, STB_LOCAL, STT_FUNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bpfasm.asm.program import Program
    from bpfasm.asm.symbols import Symbol
    from bpfasm.btf.write import Writer
    from bpfasm.elf.writing.draft import Draft
    from bpfasm.elf.writing.functions import Function, Reference
    from bpfasm.elf.writing.local_types import LocalTypes
    from bpfasm.isa.insn import Insn

TEXT = ".text"


class _Placed:
    """A function, the number of its section, and where in it the function is, in bytes."""

    def __init__(self, function: Function, section: str) -> None:
        self.function, self.section = function, section
        self.offset = 0


class Code:
    """The functions of all programs: programs each in the section that its type has, what they call in .text.

    Loaders take what is called from there, and put it behind each program that calls it.
    """

    def __init__(self, draft: Draft, programs: Sequence[tuple[Program, list[Function]]]) -> None:
        """Find a place for each function. Raises AssemblyError for two of one name."""
        self.draft = draft
        self.placed: list[_Placed] = []
        self.called: dict[str, _Placed] = {}
        for _, functions in programs:
            for each in functions[1:]:
                self._share(each)
        for program, functions in programs:
            draft.claim(program.name, "program", object_refused.where(program))
            self.placed.append(_Placed(functions[0], section_of(program)))
        self.sections: dict[str, int] = {}
        ends: dict[str, int] = {}
        for place in self.placed:
            name = place.section
            if name not in self.sections:
                self.sections[name] = draft.elf.add_section(name, flags=SHF_ALLOC | SHF_EXECINSTR, align=SLOT_BYTES)
            place.offset = ends.get(name, 0)
            ends[name] = place.offset + SLOT_BYTES * place.function.slots

    def _share(self, function: Function) -> None:
        """Take in a function that programs call; several may call the same one."""
        known = self.called.get(function.name)
        if known is None:
            source = function.insns[0].source if function.insns else None
            self.draft.claim(function.name, "function", source)
            self.called[function.name] = _Placed(function, TEXT)
            self.placed.append(self.called[function.name])
        elif known.function != function:
            raise object_refused.function_twice(function)

    def operands(self) -> Iterator[tuple[Symbol, Insn, str]]:
        """Yield all operands, with the instruction and the field that each stands in."""
        for place in self.placed:
            insns = dict(slots(place.function.insns))
            for each in place.function.references:
                if each.operand is not None:
                    yield each.operand, insns[each.pc], each.slot

    def write(self, places: dict[Global, tuple[int, int]], local: LocalTypes) -> None:
        """Write the functions; ``places`` are the sections and offsets of variables, ``local`` a kernel's types."""
        for place in self.placed:
            function, section = place.function, self.sections[place.section]
            by_pc = {(each.pc, each.slot): each for each in function.references}
            insns = []
            for pc, insn in slots(function.insns):
                for slot in ("off", "imm"):
                    if (pc, slot) in by_pc:
                        insn = self._related(place, insn, by_pc[pc, slot], places, local)  # noqa: PLW2901
                if (pc, "imm") not in by_pc:
                    object_refused.check_number(insn, pc, function.name)
                insns.append(insn)
            size = SLOT_BYTES * function.slots
            at = self.draft.elf.append(section, encode(insns, self.draft.byteorder))
            assert at == place.offset
            self.draft.elf.add_symbol(
                function.name, section, at, size, STT_FUNC, STB_LOCAL if function.args is None else STB_GLOBAL
            )
            self._describe(place)

    def _related(
        self,
        place: _Placed,
        insn: Insn,
        reference: Reference,
        places: dict[Global, tuple[int, int]],
        local: LocalTypes,
    ) -> Insn:
        """Record what an instruction refers to; return it as the file has it."""
        section, at = self.sections[place.section], place.offset + SLOT_BYTES * reference.pc
        relocate, operand = self.draft.elf.relocate, reference.operand
        wide = insn.code == LD_IMM64
        if reference.callee:
            target = self.called[reference.callee].offset
            relocate(section, at, self.sections[TEXT], R_BPF_64_64 if wide else R_BPF_64_32)
            return insn.replace(src_reg=0, imm=target) if wide else insn.replace(imm=target // SLOT_BYTES - 1)
        if isinstance(operand, MapSpec) and wide and insn.src_reg == bpf.BPF_PSEUDO_MAP_FD:
            relocate(section, at, operand.name, R_BPF_64_64)
            return insn.replace(src_reg=0, imm=0)
        if isinstance(operand, Config) and wide and insn.src_reg == bpf.BPF_PSEUDO_MAP_VALUE and not insn.imm2:
            relocate(section, at, operand.name, R_BPF_64_64)
            return insn.replace(src_reg=0, imm=0)
        if (
            isinstance(operand, Global)
            and not isinstance(operand, Config)
            and wide
            and insn.src_reg == bpf.BPF_PSEUDO_MAP_VALUE
        ):
            data, offset = places[operand]
            # An offset into a variable is one into its section: loaders do not add to a variable's address.
            relocate(section, at, data if insn.imm2 else operand.name, R_BPF_64_64)
            return insn.replace(src_reg=0, imm=offset + insn.imm2 if insn.imm2 else 0, imm2=0)
        if isinstance(operand, Kfunc) and insn.code == CALL:
            relocate(section, at, operand.name, R_BPF_64_32)
            return insn.replace(src_reg=bpf.BPF_PSEUDO_CALL, off=0, imm=-1)
        if isinstance(operand, Ksym) and wide and not insn.src_reg:
            relocate(section, at, operand.name, R_BPF_64_64)
            return insn.replace(imm=0, imm2=0)
        if isinstance(operand, Core) and _relocatable(insn, reference.slot):
            known = local.of(operand)
            access = self.draft.btf.string(known.access)
            self.draft.records.add(self.draft.btf.string(place.section), at, known.type, access, operand.kind)
            return with_number(insn, reference.slot, known.number)
        raise object_refused.operand(insn, reference.pc, place.function.name, operand)

    def _describe(self, place: _Placed) -> None:
        """Say of a function what it is called, what it takes, and which lines it comes from."""
        draft, function = self.draft, place.function
        name = draft.btf.string(place.section)
        linkage = kinds.BTF_FUNC_STATIC if function.args is None else kinds.BTF_FUNC_GLOBAL
        prototype = _prototype(draft.btf, function)
        type = draft.btf.add(kinds.BTF_KIND_FUNC, function.name, prototype, count=linkage)
        draft.functions.add(name, place.offset, type)
        for pc, file, text, line in lines_of(function.insns):
            record = draft.btf.string(file), draft.btf.string(text), line << 10
            draft.lines.add(name, place.offset + SLOT_BYTES * pc, *record)


def _relocatable(insn: Insn, slot: str) -> bool:
    """Tell whether loaders change a number there: in arithmetic, the offset of an access, or BPF_LD_IMM64."""
    kind = insn.code & 7
    if slot == "off":
        return kind in (bpf_common.BPF_LDX, bpf_common.BPF_ST, bpf_common.BPF_STX)
    arithmetic = kind in (bpf_common.BPF_ALU, bpf.BPF_ALU64) and not insn.code & bpf_common.BPF_X
    return arithmetic or (insn.code == LD_IMM64 and not insn.src_reg)


def _prototype(btf: Writer, function: Function) -> int:
    """Return the type of a function: a context is known by its struct's name, a Record stands for a pointer."""
    parameters = []
    for place, kind in enumerate(function.args or (), 1):
        name = f"arg{place}"
        if kind == "ctx":
            row = TYPES.get(function.type)
            context = row.ctx if row and row.ctx.startswith("struct ") else ""
            struct = btf.add_struct(context.removeprefix("struct "), 0, []) if context else 0
            name, type = "ctx", btf.add(kinds.BTF_KIND_PTR, third=struct)
        elif isinstance(kind, builtins.type):
            type = btf.add(kinds.BTF_KIND_PTR, third=add_type(btf, kind))
        else:
            type = add_type(btf, kind)
        parameters.append(btf.words(btf.string(name), type))
    number = btf.add_int("int", 4, kinds.BTF_INT_SIGNED)
    return btf.add(kinds.BTF_KIND_FUNC_PROTO, third=number, rest=b"".join(parameters), count=len(parameters))
