"""The types and source lines of programs that come from object files, as the kernel takes them."""

from __future__ import annotations

from struct import pack

from bpfasm.asm.program import Subprog
from bpfasm.elf.reading.code import Line
from bpfasm.isa.insn import Insn, slots
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Linked
    from bpfasm.asm.maps import MapSpec
    from bpfasm.asm.program import Program
    from bpfasm.elf.reading.code import FunctionType
    from bpfasm.kernel.btf.opened import OpenTypes


def object_fields(linked: Linked, opened: OpenTypes) -> dict[str, Any] | None:
    """Return the fields of BPF_PROG_LOAD that say which types a program's functions have.

    None where some function has no type in the object: it was written here.
    """
    main = linked.program.types
    known = _types_of(linked.program)
    found = [(start, known.get(name)) for start, name in linked.functions]
    if main is None or any(each is None or each.types is not main.types for _, each in found):
        return None
    fd = opened.fd(main.types)
    if fd is None:
        return {}
    functions = [word for start, each in found if each for word in (start, each.id)]
    fields: dict[str, Any] = {
        "prog_btf_fd": fd,
        "func_info": buffer(pack(f"={len(functions)}I", *functions)),
        "func_info_rec_size": 8,
        "func_info_cnt": len(found),
    }
    lines = _lines(linked)
    if lines:
        fields |= {
            "line_info": buffer(pack(f"={len(lines)}I", *lines)),
            "line_info_rec_size": 16,
            "line_info_cnt": len(lines) // 4,
        }
    return fields


def _lines(linked: Linked) -> list[int]:
    """Return the words of the records of lines; none where a function begins without one, as the kernel wants it."""
    starts = {start for start, _ in linked.functions}
    words: list[int] = []
    before = None
    for pc, insn in slots(linked.insns):
        line = insn.where
        if not isinstance(line, Line):
            if pc in starts:
                return []
            continue
        if line is not before or pc in starts:
            words += (pc, *line.words)
        before = line
    return words


def _types_of(program: Program) -> dict[str, FunctionType | None]:
    """Return what is known of the functions of a program, by name."""
    found = {program.name: program.types}
    bodies: list[Program | Subprog] = [program]
    for body in bodies:
        for insn in body.insns:
            called = insn.imm if isinstance(insn, Insn) else None
            if isinstance(called, Subprog) and called.name not in found:
                found[called.name] = called.types
                bodies.append(called)
    return found


def create_with_object_types(spec: MapSpec, fields: dict[str, Any], opened: OpenTypes) -> int:
    """Create a map with its types, else and where that is refused without. Raises OSError."""
    assert spec.types is not None
    fd = opened.fd(spec.types.types) if spec.row.btf != "no" else None
    if fd is None:
        return bpf.map_create(**fields)
    types = {"btf_fd": fd, "btf_key_type_id": spec.types.key, "btf_value_type_id": spec.types.value}
    try:
        return bpf.map_create(**fields, **types)
    except OSError:
        if spec.row.btf == "must":
            raise
        return bpf.map_create(**fields)
