"""The maps that an object declares: those of ``.maps``, described by BTF, and those of ``maps``, by five numbers."""

from __future__ import annotations

from bisect import bisect_right

from bpfasm.asm.handles import fd32, fd64
from bpfasm.asm.map_types import RINGS, type_of as row_of
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.types import u32
from bpfasm.elf.reading.image import plain_name
from bpfasm.elf.reading.types import MapTypes, type_of
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as kinds
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.btf.read import Btf, BtfType, Member
    from bpfasm.elf.read import Elf, Section
    from bpfasm.elf.reading.types import ObjectTypes

#: The members of a declaration that are a number, and the fields they become.
_NUMBERS = {
    "type": "type",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "map_extra": "map_extra",
    "numa_node": "numa_node",
    "key_size": "key",
    "value_size": "value",
}

#: Where libbpf pins a map that is to be pinned by its name.
_PINS = "/sys/fs/bpf"

#: What a map of programs or maps is followed by in its declaration: what it holds at first.
_VALUES = "values"


class Declared(Value):
    """A map as an object declares it: its whole name, where it stands, and the map.

    ``values_at`` is the offset of what it holds at first, None where that is nothing.
    """

    name: str
    section: int
    offset: int
    size: int
    spec: MapSpec
    values_at: int | None = None


def declared_by_types(file: Elf, btf: Btf, types: ObjectTypes) -> list[Declared]:
    """Return the maps of ``.maps``. Raises DecodeError for a declaration that is none."""
    section = file.section(".maps")
    ids = btf.find(".maps", kinds.BTF_KIND_DATASEC)
    if section is None or not ids:
        return []
    found: list[Declared] = []
    for row in btf.type(ids[0]).members:
        variable = btf.type(row.type)
        if variable.kind != kinds.BTF_KIND_VAR:
            raise _broken(f"entry {row.name} of .maps is no variable")
        definition = btf.resolve(variable.type)
        if definition.kind != kinds.BTF_KIND_STRUCT:
            raise _broken(f"the map {variable.name} is no struct")
        fields, values_at = _fields(btf, types, definition, variable.name, inner=False)
        spec = _spec(variable.name, fields)
        found.append(Declared(variable.name, section.index, row.offset, row.size, spec, _plus(row.offset, values_at)))
    return found


def _plus(offset: int, more: int | None) -> int | None:
    return None if more is None else offset + more


def _fields(
    btf: Btf, types: ObjectTypes, definition: BtfType, name: str, *, inner: bool
) -> tuple[dict[str, Any], int | None]:
    """Return the fields of a map, and the offset of what it holds at first."""
    fields: dict[str, Any] = {}
    ids = {"key": 0, "value": 0}
    values_at = None
    for member in definition.members:
        if member.name in _NUMBERS:
            fields.setdefault(_NUMBERS[member.name], _number(btf, member, name))
        elif member.name in ids:
            type = _behind(btf, member, name)
            ids[member.name] = type
            fields[member.name] = type_of(btf, type)
        elif member.name == "pinning":
            pinning = _number(btf, member, name)
            if pinning not in (0, 1):
                raise _broken(f"the map {name} has pinning {pinning}", "it is 0, or 1 for LIBBPF_PIN_BY_NAME")
            fields["pinned"] = f"{_PINS}/{name}" if pinning else False
        elif member.name == _VALUES and not inner:
            values_at = member.offset // 8
            element = btf.resolve(btf.resolve(member.type).type)
            within = btf.resolve(element.type) if element.kind == kinds.BTF_KIND_PTR else element
            if within.kind == kinds.BTF_KIND_STRUCT:
                inside, _ = _fields(btf, types, within, f"{name}.inner", inner=True)
                fields["inner"] = _spec(f"{name}.inner", inside)
        else:
            raise _broken(
                f"the map {name} has a member {member.name}, which is unknown",
                f"a map has {', '.join((*_NUMBERS, *ids, 'pinning', _VALUES))}",
            )
    if "type" not in fields:
        raise _broken(f"the map {name} has no type", "write __uint(type, BPF_MAP_TYPE_HASH) in it")
    if any(ids.values()):
        fields["types"] = MapTypes(types, ids["key"], ids["value"])
    return fields, values_at


def _spec(name: str, fields: dict[str, Any]) -> MapSpec:
    """Return a map; what the kernel takes for granted of its type needs no saying."""
    row = row_of(fields["type"])
    fields = {"key": 0, "value": 0, "max_entries": 0, **fields}
    if row.handle:
        # What stands for something open is written as an fd, and told the kernel as a number.
        which = "key" if row.keys == "handle" else "value"
        size = fields[which] if isinstance(fields[which], int) else fields[which].size
        if size in (0, 4, 8) and which == "value":
            fields[which] = fd64 if size == 8 else fd32
        elif which == "key" and size in (0, 4):
            fields[which] = fd32
    if row.keys == "index" and fields["key"] in (0, 4):
        fields["key"] = u32
    if fields["type"] in RINGS and fields["max_entries"] > 0:
        # A ring is a power of two, and whole pages; libbpf makes any number one.
        fields["max_entries"] = 1 << (max(fields["max_entries"], 4096) - 1).bit_length()
    return MapSpec.as_is(name=plain_name(name), initial={}, **fields)


def _number(btf: Btf, member: Member, name: str) -> int:
    """Return a number that a declaration holds: the elements of an array behind a pointer, or an enumerator."""
    found = btf.resolve(member.type)
    if found.kind == kinds.BTF_KIND_PTR:
        array = btf.resolve(found.type)
        if array.kind == kinds.BTF_KIND_ARRAY:
            return array.detail
    elif found.kind in (kinds.BTF_KIND_ENUM, kinds.BTF_KIND_ENUM64) and len(found.members) == 1:
        return found.members[0].value
    raise _broken(f"{member.name} of the map {name} holds no number", f"write __uint({member.name}, 1) in it")


def _behind(btf: Btf, member: Member, name: str) -> int:
    """Return the type that a declaration's pointer points to."""
    found = btf.resolve(member.type)
    if found.kind != kinds.BTF_KIND_PTR:
        raise _broken(f"{member.name} of the map {name} is no pointer", f"write __type({member.name}, int) in it")
    return found.type


#: struct bpf_map_def of libbpf before 1.0, and the first words of those of iproute2 and others.
_DEFINITION = ("type", "key", "value", "max_entries", "flags")


def declared_by_numbers(file: Elf) -> list[Declared]:
    """Return the maps of the sections ``maps`` and ``maps/*``, as objects before BTF declare them.

    Raises DecodeError for one that has more than the five numbers that all agree on.
    """
    found = []
    for section in file.sections:
        if section.name == "maps" or section.name.startswith("maps/"):
            found += _in_section(file, section)
    return found


def _in_section(file: Elf, section: Section) -> list[Declared]:
    data = file.contents(section)
    symbols = sorted((each.value, each.name) for each in file.symbols if each.section == section.index and each.name)
    starts = dict(symbols)
    if not starts:
        return []
    ends = [*list(starts)[1:], len(data)]
    found = []
    for (offset, name), end in zip(starts.items(), ends, strict=True):
        raw = data[offset:end]
        numbers = [int.from_bytes(raw[at : at + 4], file.order) for at in range(0, len(raw) // 4 * 4, 4)]
        if len(numbers) < len(_DEFINITION):
            raise _broken(f"the map {name} has {len(raw)} bytes, and a struct bpf_map_def has 20")
        if any(numbers[len(_DEFINITION) :]):
            raise _broken(
                f"the map {name} has more than the five fields of struct bpf_map_def",
                'declare it in SEC(".maps"), which says what each field is',
            )
        fields = dict(zip(_DEFINITION, numbers, strict=False))
        found.append(Declared(name, section.index, offset, end - offset, _spec(name, fields)))
    return found


def _broken(what: str, do: str = "see Documentation/bpf/libbpf for how a map is declared") -> DecodeError:
    return DecodeError(f"this is no whole BPF object: {what}", do, rule="object")


def fill(
    maps: list[Declared], places: list[tuple[int, int, Any]], pointer: int, broken: Callable[[str], DecodeError]
) -> None:
    """Put what maps of maps and of programs hold at first into them: from (section, offset, value) of each.

    The maps refer to programs that refer to the maps, so their ``initial`` are dicts that are filled at last.
    """
    order = sorted(maps, key=lambda each: (each.section, each.offset))
    starts = [(each.section, each.offset) for each in order]
    for section, offset, value in places:
        at = bisect_right(starts, (section, offset)) - 1
        owner = order[at] if at >= 0 and order[at].section == section else None
        if owner is None or owner.values_at is None or not owner.values_at <= offset < owner.offset + owner.size:
            raise broken(
                f"byte {offset} of .maps refers to {getattr(value, 'name', value)}, and is no element of a map"
            )
        owner.spec.initial[(offset - owner.values_at) // pointer] = value
