"""Structs of functions in an object: variables of .struct_ops, with programs in the place of functions.

A loader compares the members by name with those of its kernel's struct, and moves them to their places there; so the
object has those alone that are set. (libbpf: bpf_map__init_kern_struct_ops())
"""

from __future__ import annotations

from bpfasm.asm.program import Program
from bpfasm.elf.layout import R_BPF_64_ABS64
from bpfasm.elf.sections import STRUCTS
from bpfasm.errors import LinkError, MapError
from bpfasm.uapi import btf as kinds
from bpfasm.uapi.elf import SHF_ALLOC, SHF_WRITE, STT_OBJECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.asm.struct_ops import StructOps
    from bpfasm.btf.read import Btf, BtfType, Member
    from bpfasm.elf.writing.draft import Draft
    from bpfasm.elf.writing.local_types import LocalTypes

#: Registered by the map itself, as every kernel takes it. Those of a link have another section (6.4, libbpf 1.2).
SECTION, _ = STRUCTS

_WORD = 8


def write_structs(draft: Draft, structs: Iterable[StructOps], local: LocalTypes) -> None:
    """Write structs of functions. Raises LinkError where no types that were given have one, MapError for a value."""
    section, rows = 0, []
    for each in structs:
        draft.claim(each.name, "struct of functions")
        section = section or draft.elf.add_section(SECTION, flags=SHF_ALLOC | SHF_WRITE, align=_WORD)
        btf, struct = _found(each, local.sources)
        members = {member.name: member for member in struct.members}
        chosen = sorted((_member(each, members, name, struct) for name in each.members), key=lambda it: it.offset)
        words, end, places = [], 0, {}
        for member in chosen:
            size, align = btf.size_of(member.type), _align(btf, member.type)
            places[member.name] = at = -(-end // align) * align
            words.append(draft.btf.words(draft.btf.string(member.name), local.shape(btf, member.type), 8 * at))
            end = at + size
        end = -(-end // _WORD) * _WORD
        type = draft.btf.add(kinds.BTF_KIND_STRUCT, struct.name, end, b"".join(words), count=len(words))
        data = bytearray(end)
        for member in chosen:
            data[(at := places[member.name]) : at + btf.size_of(member.type)] = _content(draft, each, member, btf)
        at = draft.elf.append(section, bytes(data))
        draft.elf.add_symbol(each.name, section, at, end, STT_OBJECT)
        for name, value in each.members.items():
            if isinstance(value, Program):
                draft.elf.relocate(section, at + places[name], value.name, R_BPF_64_ABS64)
        rows.append((draft.btf.add_var(each.name, type), at, end))
    if rows:
        draft.btf.add_datasec(SECTION, rows[-1][1] + rows[-1][2], rows)


def _found(spec: StructOps, sources: Iterable[Btf]) -> tuple[Btf, BtfType]:
    name = spec.struct.rpartition(":")[2]
    for btf in sources:
        for id in btf.find(name, kinds.BTF_KIND_STRUCT):
            return btf, btf.type(id)
    raise LinkError(
        f"no types were given that have struct {name}, and an object describes what it fills",
        "give those of a kernel that has it: write_object(..., types=Btf(...))",
        rule="object-types",
    )


def _member(spec: StructOps, members: dict[str, Member], name: str, struct: BtfType) -> Member:
    if name not in members:
        raise LinkError(
            f"struct {struct.name} has no member {name} in the types that were given",
            f"its members are {', '.join(each for each in members if each)}",
            rule="core-missing",
        )
    if members[name].offset % 8 or members[name].bits:
        raise MapError(
            f"the member {name} of {spec} is a bit field, which loaders do not fill",
            "leave it out, and load it from here: load(...)",
            rule="struct-ops",
        )
    return members[name]


def _content(draft: Draft, spec: StructOps, member: Member, btf: Btf) -> bytes:
    """Return the bytes of a member: zeros where a loader puts a program in."""
    value, size = spec.members[member.name], btf.size_of(member.type)
    if isinstance(value, Program):
        return bytes(size)
    filled = value if isinstance(value, bytes) else (value % (1 << 8 * size)).to_bytes(size, draft.byteorder)
    if len(filled) > size:
        raise MapError(
            f"the member {member.name} of {spec} has {size} bytes, and {len(filled)} were given",
            "give it a number, or as many bytes as it has at most",
            rule="struct-ops",
        )
    return bytes(filled.ljust(size, b"\0"))


def _align(btf: Btf, id: int) -> int:
    """Return what a member's place is a multiple of."""
    type = btf.resolve(id)
    while type.kind == kinds.BTF_KIND_ARRAY:
        type = btf.resolve(type.type)
    size = btf.size_of(type.id)
    return size if size in (1, 2, 4) else _WORD
