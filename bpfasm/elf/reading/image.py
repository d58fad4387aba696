"""An object's sections of variables, as the maps that they become: ``.data``, ``.rodata``, ``.bss``, ``.kconfig``.

The compiler has decided where a variable is: instructions refer to the section and an offset. So there is a map for
each section, whose one value is the section's bytes, and whose variables are known by name as those of programs in
Python are.
"""

from __future__ import annotations

from bpfasm.asm.maps import NAME_MAX, MapSpec
from bpfasm.asm.types import u32
from bpfasm.asm.variables import Global, Section
from bpfasm.elf.reading.types import type_of
from bpfasm.errors import BpfasmError
from bpfasm.uapi import bpf, btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.btf.read import Btf
    from bpfasm.elf.reading.types import MapTypes


class Image(Section):
    """The bytes of a section, and the variables that are known in it, each at its offset.

    ``content`` is what the file has; what is missing up to ``length`` bytes is 0.
    """

    content: bytes = b""
    length: int = 0

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.length

    def pack(self, values: dict[Global, Any]) -> bytes:
        """Return the bytes of the section; what has no value keeps what the file has."""
        data = bytearray(self.content.ljust(self.length, b"\0"))
        for variable, offset in self.places:
            if variable in values:
                data[offset : offset + variable.size] = variable.pack(values[variable])
        return bytes(data)

    def __hash__(self) -> int:
        return hash((self.name, self.length))


def image_map(prefix: str, image: Image, *, const: bool, types: MapTypes | None) -> MapSpec:
    """Return the map that a section becomes. Const ones are frozen, so that the verifier knows what is in them."""
    flags = bpf.BPF_F_MMAPABLE | (bpf.BPF_F_RDONLY_PROG if const else 0)
    return MapSpec.as_is(
        name=map_name(prefix, image.name),
        type=bpf.BPF_MAP_TYPE_ARRAY,
        key=u32,
        value=image,
        max_entries=1,
        flags=flags,
        initial={0: {}},
        types=types,
    )


def map_name(prefix: str, section: str) -> str:
    """Return what the map of a section is called: the object's name, as far as there is room, and its own.

    It is what libbpf calls it, by which bpftool and others know it. A name with two dots goes without the object's.
    """
    if "." not in section[1:]:
        section = section[: NAME_MAX + 1]
        section = prefix[: max(0, NAME_MAX - max(7, len(section)))] + section
    return plain_name(section)


def plain_name(name: str) -> str:
    """Return the name that the kernel takes for a name."""
    return "".join(c if c in "._" or (c.isascii() and c.isalnum()) else "_" for c in name)[:NAME_MAX]


def variables(
    btf: Btf, rows: Iterable[tuple[str, int, int]], length: int, *, const: bool
) -> tuple[tuple[Global, int], ...]:
    """Return the variables of a section, each a ``Global`` and its offset: from (name, type, offset) of each.

    What has no name in C, or no bytes in the section, is left out; a second of one name is ``NAME_2``.
    """
    found: list[tuple[Global, int]] = []
    seen: dict[str, int] = {}
    known: dict[int, Any] = {}
    for name, type, offset in rows:
        try:
            kind = type_of(btf, type, known)
            number = seen.get(name, 0) + 1
            variable = Global(name if number == 1 else f"{name}_{number}", kind, const=const)
        except BpfasmError:
            continue
        if offset + variable.size <= length:
            seen[name] = number
            found.append((variable, offset))
    return tuple(found)


def is_data(name: str) -> bool:
    """Tell the sections that hold variables by their names."""
    return name.startswith((".data", ".rodata", ".bss")) and name.partition(".")[2].partition(".")[0] in _DATA


_DATA = ("data", "rodata", "bss")

#: The kinds that are entries of a section of variables.
ENTRIES = (kinds.BTF_KIND_VAR, kinds.BTF_KIND_FUNC)
