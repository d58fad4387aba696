"""What an object has no place for, by name: what only this process, or this kernel, knows."""

from __future__ import annotations

from bpfasm.asm.fields import Core, FirstOf
from bpfasm.asm.kconfig import Config
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.asm.variables import Section
from bpfasm.elf.writing.byteorder import in_order
from bpfasm.elf.writing.functions import CALL
from bpfasm.elf.writing.map_definitions import contents
from bpfasm.errors import AssemblyError, MapError
from bpfasm.isa.insn import LD_IMM64
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.elf.writing.functions import Function
    from bpfasm.errors import Source
    from bpfasm.isa.insn import ByteOrder, Insn

#: What a number in BPF_LD_IMM64 is, by its pseudo source, and what to write instead.
_NUMBERS = {
    bpf.BPF_PSEUDO_MAP_FD: ("a map's file descriptor", "declare the map: counts = ArrayMap(...)"),
    bpf.BPF_PSEUDO_MAP_VALUE: ("a map's file descriptor", "declare a variable: limit = Global(...)"),
    bpf.BPF_PSEUDO_MAP_IDX: ("a place in a list of file descriptors", "declare the map: counts = ArrayMap(...)"),
    bpf.BPF_PSEUDO_MAP_IDX_VALUE: (
        "a place in a list of file descriptors",
        "declare a variable: limit = Global(...)",
    ),
    bpf.BPF_PSEUDO_BTF_ID: ("the id of a type of one kernel", "look the symbol up when the program is loaded"),
}


def check_number(insn: Insn, pc: int, program: str) -> None:
    """Refuse a number that means something to one process or one kernel only."""
    found = None
    if insn.code == LD_IMM64:
        found = _NUMBERS.get(insn.src_reg)
    elif insn.code == CALL and insn.src_reg == bpf.BPF_PSEUDO_KFUNC_CALL:
        found = "the id of a function of one kernel", 'name the function: kfunc("bpf_rcu_read_lock")'
    if found:
        raise AssemblyError(
            f"slot {pc} of {program} has {found[0]}, {insn.imm}, which an object cannot carry to another machine",
            found[1],
            source=insn.source,
            rule="object-number",
        )


def operand(insn: Insn, pc: int, function: str, operand: Any) -> AssemblyError:
    """Return that nothing in an object stands for an operand where it is."""
    what, do = f"{operand!r} where no loader puts it in", "take a macro that has a place for it"
    if isinstance(operand, FirstOf):
        what = f"a choice, {operand!r}, and an object has one field for each instruction"
        do = "ask which is there, and jump: BPF_MOV64_IMM(R1, field(...).exists), BPF_JMP_IMM(BPF_JEQ, R1, 0, ...)"
    elif isinstance(operand, Core):
        what = f"{operand!r} where loaders put no number in"
        do = "put it into a register first: BPF_MOV64_IMM(R1, ...)"
    elif isinstance(operand, Config):
        what = f"a byte within {operand!r}, and loaders put in its address only"
        do = "load the address, BPF_LD_MAP_VALUE(R1, ..., 0), and add to the register or in the load"
    elif isinstance(operand, MapSpec):
        what = f"the address of a value of {operand!r}, and loaders put in the map itself only"
        do = "look the value up: bpf_map_lookup_elem, or declare a variable: Global(...)"
    return AssemblyError(f"slot {pc} of {function} has {what}", do, source=insn.source, rule="object-operand")


def function_twice(function: Function) -> AssemblyError:
    """Return that two programs have different functions of one name."""
    return AssemblyError(
        f"two different functions are called {function.name}",
        "give one of them another name: symbols are shared by all programs of an object",
        source=function.insns[0].source,
        rule="function-twice",
    )


def where(program: Program) -> Source | None:
    """Return the line of a program's first instruction."""
    return next((item.source for item in program.insns if item.source), None)


def check_program(each: Program, *, member: bool) -> None:
    """Refuse what an object cannot tell a loader of a program; ``member`` says that a struct holds it."""
    what = do = ""
    if each.types is not None:
        what, do = "comes from an object file, and refers to its types", "that file is what would be written: copy it"
    elif each.type == bpf.BPF_PROG_TYPE_UNSPEC:
        what, do = "has no type", "declare it with one: Program(name, BPF_PROG_TYPE_KPROBE, [...])"
    elif each.ifindex:
        what = f"is for the device {each.ifindex}, which is this machine's"
        do = "leave ifindex out, and have the loader say it"
    elif each.attach_prog:
        what = "replaces a function of a program that is said when it is loaded"
        do = "leave attach_prog out, and have the loader set the target"
    elif isinstance(each.attach_btf, int) and each.attach_btf:
        what = f"is loaded for type {each.attach_btf} of one kernel"
        do = 'name the type: attach_btf="vfs_read"'
    elif each.type == bpf.BPF_PROG_TYPE_STRUCT_OPS and not member:
        what = "is a member of a struct, which has to be in the object with it"
        do = "write the struct: write_object(StructOps(...))"
    if what:
        raise AssemblyError(f"{each.name} {what}", do, source=where(each), rule="object-program")


def no_section(each: Program) -> AssemblyError:
    """Return that no section's name says what a program is told at load."""
    from bpfasm.uapi import names

    type = names(bpf, "bpf_prog_type").get(each.type, str(each.type))
    attach = names(bpf, "bpf_attach_type").get(each.expected_attach_type, str(each.expected_attach_type))
    told = f"{type} with expected_attach_type={attach} and flags={each.flags:#x}"
    if each.attach:
        told += f" at {each.attach}"
    return AssemblyError(
        f"{each.name} is {told}, and no section's name says that",
        "leave out what the loader can say, or load it from here: load(program)",
        source=where(each),
        rule="object-program",
    )


def more_than_a_name(each: Program, field: str, value: object) -> AssemblyError:
    """Return that a place says something that no section's name has room for."""
    return AssemblyError(
        f"{each.name} is to be attached at {each.attach} with {field}={value!r}, which no section's name says",
        f"leave {field} out, and have the loader say it",
        source=where(each),
        rule="object-program",
    )


def check_map(spec: MapSpec, source: Source | None, *, leave_initial: bool) -> None:
    """Refuse what a declaration of a map does not say."""
    if isinstance(spec.pinned, str):
        raise MapError(
            f"the map {spec.name} is pinned at {spec.pinned}, and an object leaves the folder to the loader",
            "say pinned=True: loaders pin it by its name, most often in /sys/fs/bpf",
            source=source,
            rule="object-map",
        )
    if not leave_initial and _lost(spec):
        raise MapError(
            f"the map {spec.name} holds something from the start, and an object has no place for that",
            "leave initial= out and fill it when it is loaded, or take an ArrayMap, which has zeros from the start",
            source=source,
            rule="object-initial",
        )


def _lost(spec: MapSpec) -> bool:
    """Tell whether the first content of a map is one that an object cannot say."""
    held = contents(spec)
    if held:
        indices = all(isinstance(index, int) and 0 <= index < 1 << 16 for index in held)
        return not indices or len(held) < len(spec.initial) or spec.key_size != 4
    return bool(spec.initial) and not _zeros(spec)


def first_content(spec: MapSpec, byteorder: ByteOrder) -> dict[bytes, bytes]:
    """Return what a map holds at first that an object cannot say, as bytes. Raises MapError for handles."""
    if isinstance(spec.value, Section) or not spec.initial or contents(spec) or _zeros(spec):
        return {}
    if spec.row.keys == "none" or spec.row.handle:
        check_map(spec, None, leave_initial=False)
    from bpfasm.asm.codec import codec_of

    pack_key = codec_of(spec.key, f"a key of {spec.name}").pack
    pack_value = codec_of(spec.value, f"a value of {spec.name}").pack
    items = spec.initial.items() if isinstance(spec.initial, dict) else enumerate(spec.initial)
    return {
        in_order(spec.key, pack_key(key), byteorder): in_order(spec.value, pack_value(value), byteorder)
        for key, value in items
    }


def _zeros(spec: MapSpec) -> bool:
    """Tell whether a map holds at first what arrays hold anyway."""
    if spec.type not in (bpf.BPF_MAP_TYPE_ARRAY, bpf.BPF_MAP_TYPE_PERCPU_ARRAY):
        return False
    from bpfasm.asm.codec import codec_of

    pack = codec_of(spec.value, f"the value of {spec.name}").pack
    values = spec.initial.values() if isinstance(spec.initial, dict) else spec.initial
    return all(not any(pack(value)) for value in values)
