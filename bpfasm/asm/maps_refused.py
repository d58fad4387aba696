"""Why no kernel would create a map as it is declared, in words."""

from __future__ import annotations

from bpfasm.asm.map_types import EVENTS, RINGS
from bpfasm.errors import IterationAborted, MapError
from bpfasm.isa.where import outside
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.map_types import MapType, Numbers
    from bpfasm.asm.maps import MapSpec


def refused(spec: MapSpec) -> MapError:
    """Return what is wrong with a declaration, and what to do about it."""
    row = spec.row
    for field in ("max_entries", "map_extra"):
        value = getattr(spec, field)
        if not isinstance(value, int):
            return MapError(
                f"{spec.name} has {field}={value!r}, which is {_one_of(value)}",
                f"give it an int: {field}={int(value)}" if isinstance(value, float) else f"give it an int as {field}",
                source=outside(),
                rule="map-entries" if field == "max_entries" else "map-extra",
            )
    if spec.key_size not in row.key:
        return _key(spec)
    if not spec.has_prefixes:
        return MapError(
            f"{spec.name} has keys that are no prefixes: they do not begin with the number of bits, a u32",
            _KEYS["prefix"],
            source=outside(),
            rule="map-key",
        )
    if spec.value_size not in row.value:
        return MapError(
            f"{spec.name} has values of {_bytes(spec.value_size)}, and those of {row.spec} have {sizes(row.value)}",
            "keep larger ones in a map that is not per CPU" if row.per_cpu else "give it values of that size",
            source=outside(),
            rule="map-value",
        )
    if spec.map_extra not in row.extra:
        return MapError(
            f"{spec.name} has map_extra={spec.map_extra:#x}, and {row.spec} takes {numbers(row.extra)}",
            row.note or "leave it out",
            source=outside(),
            rule="map-extra",
        )
    if spec.type in RINGS or spec.max_entries not in row.entries:
        return _entries(spec)
    if spec.record is not None and spec.type not in EVENTS:
        return MapError(
            f"{spec.name} has record=, which is for events, and is {_one(row)}",
            "a Record may be its key or its value: value=MyRecord",
            source=outside(),
            rule="map-record",
        )
    if not hasattr(spec.initial, "__iter__") or (row.keys == "none" and isinstance(spec.initial, dict)):
        kind = "a list of values" if row.keys == "none" else "a dict, or a list where keys are 0, 1, 2 ..."
        return MapError(
            f"{spec.name} has initial={spec.initial!r:.40}, which is {_one_of(spec.initial)}",
            f"what {_one(row)} holds at first is {kind}",
            source=outside(),
            rule="map-initial",
        )
    if spec.inner is None:
        what, do = "does not say what the maps in it look like", "give it inner=, a declaration of such a map"
    else:
        what, do = f"has an inner map, and is {_one(row)}", "ArrayOfMaps and HashOfMaps hold maps"
    return MapError(f"{spec.name} {what}", do, source=outside(), rule="map-inner")


def _one_of(value: object) -> str:
    """Return what a value is, with its article."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def _one(row: MapType) -> str:
    """Return what maps of a type are called, with its article."""
    return f"{'an' if row.spec[0] in 'AEIO' else 'a'} {row.spec}"


#: What to take for a key, by what the keys of a type are.
_KEYS = {
    "none": "declare it with {spec}(...), which takes no key",
    "prefix": "take ipv4_prefix, ipv6_prefix or lpm_key(n), or a Record that begins with the number of bits",
    "index": "its keys are a u32, 0 to max_entries - 1",
}


def _key(spec: MapSpec) -> MapError:
    row = spec.row
    return MapError(
        f"{spec.name} has keys of {_bytes(spec.key_size)}, and those of {row.spec} have {sizes(row.key)}",
        _KEYS.get(row.keys, "give it a key of that size").format(spec=row.spec),
        source=outside(),
        rule="map-key",
    )


def _entries(spec: MapSpec) -> MapError:
    row, entries = spec.row, spec.max_entries
    what = f"{spec.name} has max_entries={entries}, and {row.spec} takes {numbers(row.entries)}"
    if spec.type in RINGS:
        what = f"{spec.name} is a ring of {entries} bytes, and a ring has a power of two of them, in whole pages"
        do = f"give it max_entries={1 << (max(entries, 4096) - 1).bit_length()}"
    elif spec.type == bpf.BPF_MAP_TYPE_ARENA:
        do = "its max_entries are pages, and 4 GiB of them are the most"
    elif len(row.entries) > 1:
        do = "give it max_entries=1 or more"
    else:
        do = "leave max_entries out: it has as many elements as it has owners"
    return MapError(what, do, source=outside(), rule="map-entries")


#: What a map of a type does not have, by operation.
_LACKS = {
    "lookup": "whose elements user space cannot read",
    "update": "whose elements user space does not set",
    "delete": "whose keys cannot be deleted",
    "next": "whose keys are not listed",
    "take": "of which nothing can be taken out",
    "push": "which has keys: set an element with m[key] = value",
    "peek": "which has keys: read an element with m[key]",
}

#: What user space can do with a map instead.
_HAS = {
    "lookup": "m[key], m.get(key), key in m",
    "update": "m[key] = value, m.put(key, value)",
    "delete": "del m[key]",
    "next": "m.items(), m.snapshot()",
}


def no_such_operation(spec: MapSpec, op: str) -> MapError:
    """Return why an operation is not there, and what is."""
    row = spec.row
    lack = _LACKS[op]
    if row.keys == "none" and op in ("delete", "next"):
        lack = "which has no keys"
    elif row.keys == "handle" and op == "next":
        lack = f"whose keys are not listed: a {row.handle} is asked for its own"
    if spec.type in RINGS:
        do = "what is in a ring is read by a reader, and written by programs or a writer"
    elif spec.type == bpf.BPF_MAP_TYPE_ARENA:
        do = "an arena is memory: m.memory()"
    elif row.keys == "none":
        queue = "take" in row.ops
        do = f"it has {'m.push(value), m.pop() and m.peek()' if queue else 'm.add(value) and value in m'}"
    elif row.keys == "index" and op == "delete":
        do = "set the value to 0"
    else:
        do = f"it has {', '.join(words for name, words in _HAS.items() if name in row.ops)}"
    return MapError(f"{spec.name} is {_one(row)}, {lack}", do, source=outside(), rule="map-operation")


def no_such_cpu(spec: MapSpec, cpu: object, cpus: int) -> MapError:
    """Return why there is no value of a CPU, and what is."""
    if spec.per_cpu:
        what = f"{spec.name} has a value for each of {cpus} CPUs, and cpu={cpu!r} is none of them"
        do = f"give a number, 0 to {cpus - 1}, or leave out cpu= for all of them"
    else:
        what, do = f"{spec.name} is {_one(spec.row)}, which has one value for all CPUs", "leave out cpu="
    return MapError(what, do, source=outside(), rule="map-cpu")


def iteration_aborted(spec: MapSpec) -> IterationAborted:
    """Return that going through a map had to start again."""
    return IterationAborted(
        f"{spec.name} changed while it was gone through: keys came a second time",
        "leave out strict=True, which passes over them, or take snapshot()",
        source=outside(),
        rule="map-changed",
    )


def sizes(allowed: Numbers) -> str:
    """Return what sizes are allowed, in words."""
    if len(allowed) > 1 and isinstance(allowed, range) and allowed.step > 1:
        return f"a multiple of {allowed.step} bytes, {_most(allowed)}"
    plain = numbers(allowed)
    return "none" if plain == "0" else f"{plain} byte{'' if plain == '1' else 's'}"


def numbers(allowed: Numbers) -> str:
    """Return what numbers are allowed, in words: ``4 or 8``, ``1 or more``, ``5 to 260``."""
    if isinstance(allowed, tuple):
        return " or ".join(map(str, allowed))
    first, last = allowed[0], allowed[-1]
    if allowed.step > 1:
        return f"multiples of {allowed.step}"
    return f"{first} or more" if last >= (1 << 31) - 1 else f"{first} to {last}"


def _most(allowed: range) -> str:
    return f"{allowed[0]} to {allowed[-1]}"


def _bytes(size: int) -> str:
    return f"{size} byte{'' if size == 1 else 's'}"
