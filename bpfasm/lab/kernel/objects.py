"""What the lab needs from ELF files: a kernel module's own words (.modinfo), which libraries a program needs, and a
library without debug data.

Only little-endian 64-bit files, which is what the lab's machines run; anything else is left as it is.
"""

from __future__ import annotations

import struct

from bpfasm.errors import LabError
from bpfasm.lab.kernel import packed

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_DYN = struct.Struct("<qQ")
_PT_LOAD = 1
_PT_INTERP = 3
_DT_NEEDED = 1


def sections(elf: bytes) -> dict[str, tuple[int, int]]:
    """Return the sections of an ELF file: name to (offset, size); {} when it is none."""
    if elf[:6] != b"\x7fELF\x02\x01" or len(elf) < _EHDR.size:
        return {}
    head = _EHDR.unpack_from(elf)
    offset, width, count, names = head[6], head[11], head[12], head[13]
    if width != _SHDR.size or not count or names >= count or offset + count * width > len(elf):
        return {}
    rows = [_SHDR.unpack_from(elf, offset + i * width) for i in range(count)]
    table = elf[rows[names][4] : rows[names][4] + rows[names][5]]
    return {
        table[row[0] : max(table.find(b"\0", row[0]), row[0])].decode(errors="replace"): (row[4], row[5])
        for row in rows
    }


def segments(elf: bytes) -> list[tuple[int, int, int]]:
    """Return the segments of an ELF file as (type, offset, size); [] when it is none."""
    if elf[:6] != b"\x7fELF\x02\x01" or len(elf) < _EHDR.size:
        return []
    head = _EHDR.unpack_from(elf)
    offset, width, count = head[5], head[9], head[10]
    if width != _PHDR.size or offset + width * count > len(elf):
        return []
    rows = [_PHDR.unpack_from(elf, offset + i * width) for i in range(count)]
    return [(row[0], row[2], row[5]) for row in rows]


def needed(elf: bytes) -> list[str]:
    """Return the shared libraries that a program or library names, and a program's loader with its path."""
    names = [
        elf[offset : offset + size].rstrip(b"\0").decode(errors="replace")
        for kind, offset, size in segments(elf)
        if kind == _PT_INTERP
    ]
    found = sections(elf)
    start, size = found.get(".dynamic", (0, 0))
    strings, _ = found.get(".dynstr", (0, 0))
    for tag, value in _DYN.iter_unpack(elf[start : start + size - size % _DYN.size]):
        if tag == _DT_NEEDED:
            name = strings + value
            names.append(elf[name : max(elf.find(b"\0", name), name)].decode(errors="replace"))
    return names


def modinfo(module: bytes) -> dict[str, list[str]]:
    """Return what a kernel module says of itself: each key of .modinfo with its values."""
    offset, size = sections(module).get(".modinfo", (0, 0))
    found: dict[str, list[str]] = {}
    for item in module[offset : offset + size].split(b"\0"):
        key, equals, value = item.partition(b"=")
        if equals:
            found.setdefault(key.decode(errors="replace"), []).append(value.decode(errors="replace"))
    return found


def expand(name: str, data: bytes) -> bytes:
    """Return a module as the kernel wants it: not compressed. ``name`` is its file's name."""
    if name.endswith(".ko"):
        return data
    try:
        module = packed.unpack(data)
    except packed.ERRORS:
        module = b""
    if not module:
        raise LabError(
            f"the module {name} cannot be unpacked: it is damaged, or the library for its compression is missing",
            "for .zst install libzstd (apt install libzstd1), or unpack it beside its file",
            rule="lab-module",
        )
    return module


def without_debug(elf: bytes) -> bytes:
    """Return a library without its debug sections, or the same bytes when there are none.

    The loader reads segments only, and debug data comes after the last one. Files without debug data stay whole:
    their other unloaded sections (symbols, probes' notes) are small and wanted.
    """
    if ".debug_info" not in sections(elf):
        return elf
    head = list(_EHDR.unpack_from(elf))
    end = head[5] + head[9] * head[10]
    for kind, start, size in segments(elf):
        if kind == _PT_LOAD:
            end = max(end, start + size)
    head[6] = head[12] = head[13] = 0  # no section table
    return _EHDR.pack(*head) + elf[_EHDR.size : end]
