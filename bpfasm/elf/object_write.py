"""``write_object()``: programs, their maps and variables to an object file, as clang would have written it.

libbpf and bpftool load it, on another kernel than the one it was made on: what depends on a kernel is a
relocation or a CO-RE record, which they resolve. It is made from programs that are not linked.

>>> from bpfasm.asm import *
>>> hits = ArrayMap("hits", value=u64, max_entries=1)
>>> body = [BPF_LD_MAP_FD(R1, hits), BPF_MOV64_IMM(R0, XDP_PASS), BPF_EXIT_INSN()]
>>> prog = Program("count", BPF_PROG_TYPE_XDP, body)
>>> write_object(prog)[:4]
b'\\x7fELF'
"""

from __future__ import annotations

import sys

from bpfasm.asm.fields import Core
from bpfasm.asm.gather import Gathered
from bpfasm.asm.kconfig import Config
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.ksym import Ksym
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.asm.struct_ops import StructOps
from bpfasm.asm.variables import Section
from bpfasm.btf.read import Btf
from bpfasm.elf.writing import data as object_data, refused as object_refused
from bpfasm.elf.writing.code import Code
from bpfasm.elf.writing.draft import Draft
from bpfasm.elf.writing.functions import split
from bpfasm.elf.writing.local_types import LocalTypes
from bpfasm.elf.writing.structs import write_structs
from bpfasm.errors import AssemblyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.isa.insn import ByteOrder


def write_object(
    *items: Program | MapSpec | StructOps,
    types: Btf | Iterable[Btf] = (),
    byteorder: ByteOrder = sys.byteorder,
    leave_initial: bool = False,
) -> bytes:
    """Return the bytes of an object with programs, and with the maps and variables that they refer to.

    A ``MapSpec`` among the items is declared whether a program refers to it or not, and of a ``StructOps`` the
    programs are written, too. ``types`` are those of a kernel,
    or of several: what programs name of a kernel, fields and functions, is looked up there, the first that has it
    counts, and its essential parts go along. With ``leave_initial`` the first contents of maps are left to the
    loader, where an object cannot say them. Raises AssemblyError, MapError or LinkError for what an object has no
    place for, and for what the types do not have.
    """
    held = {id(each) for item in items if isinstance(item, StructOps) for each in item.programs}
    for item in items:
        if isinstance(item, Program):
            object_refused.check_program(item, member=id(item) in held)
    gathered = Gathered(items)
    programs = [(each.program, split(each)) for each in gathered.assembled]
    for program, _ in programs:  # those that maps hold as well
        object_refused.check_program(program, member=id(program) in held)
    if not programs and not gathered.specs and not gathered.struct_ops:
        raise AssemblyError(
            "an object without programs and maps is none", "name one: write_object(program)", rule="object-program"
        )
    draft = Draft(byteorder)
    code = Code(draft, programs)
    used = {
        operand.name: insn.source for operand, insn, _ in reversed([*code.operands()]) if isinstance(operand, MapSpec)
    }
    specs = [spec for spec in gathered.specs.values() if not isinstance(spec.value, Section)]
    for spec in specs:
        object_refused.check_map(spec, used.get(spec.name), leave_initial=leave_initial)
    object_data.write_license(draft, [program for program, _ in programs])
    object_data.write_maps(draft, specs)
    places = object_data.write_variables(draft, gathered.variables)
    object_data.write_options(draft, [each for each in gathered.variables if isinstance(each, Config)])
    local = LocalTypes(draft.btf, (types,) if isinstance(types, Btf) else tuple(types))
    externs: dict[str, tuple[int, int, bool]] = {}
    for operand, insn, _ in code.operands():
        if isinstance(operand, Core):
            local.want(operand, insn.source)
        elif isinstance(operand, Kfunc | Ksym):
            kind, type = local.extern(operand, insn.source)
            externs[operand.name] = kind, type, operand.weak
    object_data.write_externs(draft, externs)
    write_structs(draft, gathered.struct_ops, local)
    local.write()
    code.write(places, local)
    return draft.to_bytes()
