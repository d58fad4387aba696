"""BTF out of a file: a bare blob, or the section of an ELF file that has it (an object, a vmlinux, a module)."""

from __future__ import annotations

from struct import error as struct_error, unpack_from

from bpfasm.btf.read import Btf
from bpfasm.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.btf.read import Blob

#: Where e_shoff, e_shentsize, e_shnum and e_shstrndx are, and a section header, in ELF of 64 bits (elf(5)).
_HEADER = (0x28, "Q"), (0x3A, "3H")
_SECTION = "2I4Q"


def btf_of(data: Blob, base: Btf | None = None) -> Btf:
    """Return the types in the bytes of a file. Raises DecodeError where it has none."""
    if data[:4] != b"\x7fELF":
        return Btf(data, base)
    section = _section(data, b".BTF")
    if section is None:
        raise DecodeError(
            "this ELF file has no .BTF section",
            "build it with -g for the bpf target, or the kernel with CONFIG_DEBUG_INFO_BTF",
            rule="btf-type",
        )
    return Btf(section, base)


def _section(data: Blob, name: bytes) -> bytes | None:
    order = "<" if data[5:6] == b"\x01" else ">"
    try:
        (start,), (size, count, names) = (unpack_from(order + form, data, at) for at, form in _HEADER)
        rows = [unpack_from(order + _SECTION, data, start + size * number) for number in range(count)]
        strings = rows[names][4]
    except (struct_error, IndexError, OverflowError):
        return None
    for offset, _, _, _, at, length in rows:
        if data[strings + offset : strings + offset + len(name) + 1] == name + b"\0":
            return bytes(data[at : at + length])
    return None
