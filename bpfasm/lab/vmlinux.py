"""Take the kernel out of its bzImage, so that the guest starts without unpacking it.

An emulated processor takes most of a second for that. QEMU starts the ELF file inside directly, by the entry that a
kernel with CONFIG_PVH names in a note; where the note, or the library that unpacks, is missing, the bzImage does too.
"""

from __future__ import annotations

import ctypes
import lzma
import struct
import zlib
from pathlib import Path

from bpfasm.lab import cache
from bpfasm.lab.objects import segments

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

    made = cache.built("vmlinux", "", [str(image), state.st_size, state.st_mtime_ns, _libraries()], write)
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
        kernel = _unpack(data, size)
    except (OSError, AttributeError, ValueError, zlib.error, lzma.LZMAError):
        return b""
    return kernel if len(kernel) == size else b""


def _unpack(data: bytes, size: int) -> bytes:
    if data[:2] == b"\x1f\x8b":
        return zlib.decompressobj(wbits=31).decompress(data)
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(data, size)
    if data[:4] == b"\x02\x21\x4c\x18":
        return _lz4(data, size)
    return b""


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


def _libraries() -> list[str]:
    """Return which unpacking libraries there are: apt brings both, and Python has neither before 3.14."""
    return [name for name in ("liblz4.so.1", "libzstd.so.1") if _open(name)]


def _open(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _zstd(data: bytes, size: int) -> bytes:
    out = ctypes.create_string_buffer(size)
    unpack_frame = ctypes.CDLL("libzstd.so.1").ZSTD_decompress
    unpack_frame.restype = ctypes.c_size_t
    unpack_frame.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    if unpack_frame(out, size, data, len(data)) != size:
        return b""
    return out.raw


def _lz4(data: bytes, size: int) -> bytes:
    """Unpack the legacy frame: a magic number, then blocks of at most 8 MiB, each after its length."""
    out = ctypes.create_string_buffer(size)
    unpack_block = ctypes.CDLL("liblz4.so.1").LZ4_decompress_safe
    unpack_block.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    at, done = 4, 0
    while at + 4 <= len(data) and done < size:
        length = int.from_bytes(data[at : at + 4], "little")
        block = data[at + 4 : at + 4 + length]
        got = unpack_block(block, ctypes.addressof(out) + done, len(block), size - done)
        if got <= 0:
            raise ValueError("a block that does not unpack")
        at, done = at + 4 + length, done + got
    return out.raw[:done]
