"""The data of an object: its license, its maps, its variables, and the kernel functions that it calls."""

from __future__ import annotations

from bpfasm.asm.btf_types import add_type
from bpfasm.asm.kconfig import Config
from bpfasm.asm.record import Record
from bpfasm.asm.variables import KCONFIG, Global, laid_out
from bpfasm.elf.kconfig import add_config_type
from bpfasm.elf.layout import R_BPF_64_ABS64
from bpfasm.elf.writing import refused as object_refused
from bpfasm.elf.writing.byteorder import in_order
from bpfasm.elf.writing.map_definitions import Definition, inner_first
from bpfasm.errors import AssemblyError
from bpfasm.uapi.btf import (
    BTF_FUNC_EXTERN,
    BTF_KIND_CONST,
    BTF_KIND_DECL_TAG,
    BTF_KIND_FUNC,
    BTF_KIND_VAR,
    BTF_VAR_GLOBAL_EXTERN,
)
from bpfasm.uapi.elf import (
    SHF_ALLOC,
    SHF_WRITE,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_GLOBAL,
    STB_WEAK,
    STT_OBJECT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.asm.maps import MapSpec
    from bpfasm.asm.program import Program
    from bpfasm.elf.writing.draft import Draft

_WORD = 8

#: What a declaration tag of a map begins with that names the record of its events.
RECORD_TAG = "bpfasm.record:"

#: Sections of variables: the type of the section, whether programs write to it.
_KINDS = {".rodata": (SHT_PROGBITS, False), ".data": (SHT_PROGBITS, True), ".bss": (SHT_NOBITS, True)}


def write_license(draft: Draft, programs: Iterable[Program]) -> None:
    """Write the license that all programs have. Raises AssemblyError where they differ."""
    found = {each.license: each for each in programs}
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise AssemblyError(
            f"{first.name} has the license {one!r} and {second.name} {other!r}, and an object has one for all",
            "write them to two objects, or give them one license",
            source=object_refused.where(second),
            rule="object-license",
        )
    for text in found:
        data = text.encode() + b"\0"
        section = draft.elf.add_section("license", data, flags=SHF_ALLOC | SHF_WRITE)
        draft.elf.add_symbol("_license", section, 0, len(data), STT_OBJECT)


def write_maps(draft: Draft, specs: Iterable[MapSpec]) -> None:
    """Declare maps in .maps."""
    section, rows = 0, []
    for spec in inner_first(specs):
        draft.claim(spec.name, "map")
        section = section or draft.elf.add_section(".maps", flags=SHF_ALLOC | SHF_WRITE, align=_WORD)
        definition = Definition(draft.btf, spec)
        at = draft.elf.append(section, bytes(definition.size))
        draft.elf.add_symbol(spec.name, section, at, definition.size, STT_OBJECT)
        for offset, name in definition.slots.items():
            draft.elf.relocate(section, at + offset, name, R_BPF_64_ABS64)
        variable = draft.btf.add_var(spec.name, definition.type)
        rows.append((variable, at, definition.size))
        _tag(draft, variable, spec.record)
    if rows:
        draft.btf.add_datasec(".maps", rows[-1][1] + rows[-1][2], rows)


def _tag(draft: Draft, variable: int, record: Any) -> None:
    """Say of a buffer what its events are: C has no place for it, and a tag hurts nobody."""
    if isinstance(record, type) and issubclass(record, Record):
        add_type(draft.btf, record)
        name = f"{RECORD_TAG}{record.__name__}"
        draft.btf.add(BTF_KIND_DECL_TAG, name, variable, draft.btf.words(0xFFFF_FFFF))


def write_variables(draft: Draft, variables: Iterable[Global]) -> dict[Global, tuple[int, int]]:
    """Write variables; return the section and the offset of each.

    What has no first value is in .bss, whose bytes the file does not hold.
    """
    found: dict[str, list[Global]] = {}
    for each in variables:
        if isinstance(each, Config):
            continue
        found.setdefault(".bss" if each.init is None and not each.const else each.section, []).append(each)
    at: dict[Global, tuple[int, int]] = {}
    for name, group in found.items():
        type, writable = _KINDS[name]
        places = laid_out(group)
        size = places[-1][1] + places[-1][0].size
        data, rows = bytearray(size), []
        section = draft.elf.add_section(
            name,
            type=type,
            flags=SHF_ALLOC | SHF_WRITE * writable,
            align=_WORD,
            size=size,
        )
        for variable, offset in places:
            draft.claim(variable.name, "variable")
            value = in_order(variable.type, variable.pack(variable.init), draft.byteorder)
            data[offset : offset + variable.size] = value
            draft.elf.add_symbol(variable.name, section, offset, variable.size, STT_OBJECT)
            rows.append((draft.btf.add_var(variable.name, _type(draft, variable)), offset, variable.size))
            at[variable] = section, offset
        if type == SHT_PROGBITS:
            draft.elf.fill(section, bytes(data))
        draft.btf.add_datasec(name, size, rows)
    return at


def _type(draft: Draft, variable: Global) -> int:
    """Return a variable's type; what is not to change is const, as in C."""
    plain = add_type(draft.btf, variable.type)
    return draft.btf.add(BTF_KIND_CONST, third=plain) if variable.const else plain


def write_options(draft: Draft, options: Iterable[Config]) -> None:
    """Declare what the kernel's configuration says in .kconfig; whoever loads the object lays it out."""
    rows = []
    for each in options:
        draft.claim(each.name, "option")
        draft.elf.add_symbol(each.name, SHN_UNDEF, bind=STB_WEAK if each.weak else STB_GLOBAL)
        type = add_config_type(draft.btf, each)
        rows.append(
            (draft.btf.add(BTF_KIND_VAR, each.name, type, draft.btf.words(BTF_VAR_GLOBAL_EXTERN)), 0, each.size)
        )
    if rows:
        draft.btf.add_datasec(KCONFIG, 0, rows)


def write_externs(draft: Draft, externs: dict[str, tuple[int, int, bool]]) -> None:
    """Declare what is the kernel's in .ksyms: by its name BTF_KIND_FUNC or _VAR, its type, and whether it is weak."""
    rows = []
    for name, (kind, type, weak) in externs.items():
        draft.claim(name, "kernel symbol")
        draft.elf.add_symbol(name, SHN_UNDEF, bind=STB_WEAK if weak else STB_GLOBAL)
        if kind == BTF_KIND_FUNC:
            id = draft.btf.add(kind, name, type, count=BTF_FUNC_EXTERN)
        else:
            id = draft.btf.add(kind, name, type, draft.btf.words(BTF_VAR_GLOBAL_EXTERN))
        rows.append((id, 0, 0))
    if rows:
        draft.btf.add_datasec(".ksyms", 0, rows)
