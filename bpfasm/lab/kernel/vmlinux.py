"""Take the kernel out of its bzImage, so that the guest starts without unpacking it.

An emulated processor takes most of a second for that. QEMU starts the ELF file inside directly, by the entry that a
kernel with CONFIG_PVH names in a note; where the note, or the library that unpacks, is missing, the bzImage does too.
"""

from __future__ import annotations

import struct
from pathlib import Path

from bpfasm.lab import cache
from bpfasm.lab.kernel import packed
from bpfasm.lab.kernel.objects import segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_PT_NOTE = 4
#: XEN_ELFNOTE_PHYS32_ENTRY: the address to enter at in 32-bit mode.
_PVH_ENTRY = 18
_LARGEST = 512 << 20


def directly(image: Path) -> Path:
    """Return the uncompressed kernel of a bzImage, from the cache, or the image itself where that is not possible."""
    state = image.stat()

    def write(file: BinaryIO) -> None:
        kernel = unpack(image.read_bytes())
        # An empty file says: not this one.
        file.write(kernel if has_pvh_entry(kernel) else b"")

    made = cache.built("vmlinux", "", [str(image), state.st_size, state.st_mtime_ns, packed.libraries()], write)
    return made if made.stat().st_size else image


def unpack(image: bytes) -> bytes:
    """Return the kernel inside a bzImage (Documentation/arch/x86/boot.rst, payload_offset); b"" when it cannot be."""
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        return b""
    start = (image[0x1F1] + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[start : start + int.from_bytes(image[0x24C:0x250], "little")]
    # After the compressed data, its size when unpacked.
    data, size = payload[:-4], int.from_bytes(payload[-4:], "little")
    if not 0 < size <= _LARGEST:
        return b""
    try:
        kernel = packed.unpack(data, size)
    except packed.ERRORS:
        return b""
    return kernel if len(kernel) == size else b""


def has_pvh_entry(kernel: bytes) -> bool:
    """Whether an ELF kernel has the note that QEMU starts it by."""
    for kind, offset, size in segments(kernel):
        at, end = offset, min(offset + size, len(kernel))
        while kind == _PT_NOTE and at + 12 <= end:
            name_size, value_size, note = struct.unpack_from("<III", kernel, at)
            name = kernel[at + 12 : at + 12 + name_size]
            if note == _PVH_ENTRY and name == b"Xen\0":
                return True
            at += 12 + (name_size + 3 & ~3) + (value_size + 3 & ~3)
    return False
