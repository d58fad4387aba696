"""Unpack what kernels and their modules are packed with: gzip, xz, zstd, and lz4's legacy frame.

Python has the first two; the others are asked of the C libraries that apt and kmod bring along.
"""

from __future__ import annotations

import ctypes
import lzma
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What can go wrong with data that is damaged or cut, or where a library is missing.
ERRORS = (OSError, AttributeError, ValueError, zlib.error, lzma.LZMAError)

_LARGEST = 512 << 20
_LIBRARIES = ("liblz4.so.1", "libzstd.so.1")


def unpack(data: bytes, size: int = 0) -> bytes:
    """Return what is packed in ``data``; b"" when it is packed in no known way.

    ``size`` is how large it is unpacked, where something but the data says so; lz4 needs it. What is raised for
    data that is damaged is one of ``ERRORS``, so is a library that is not here.
    """
    if data[:2] == b"\x1f\x8b":
        return _whole(zlib.decompressobj(wbits=31), data)
    if data[:6] == b"\xfd7zXZ\0":
        return _whole(lzma.LZMADecompressor(), data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(data, size)
    if data[:4] == b"\x02\x21\x4c\x18":
        return _lz4(data, size)
    return b""


def libraries() -> list[str]:
    """Return which of the C libraries are on this machine."""
    return [name for name in _LIBRARIES if _is_here(name)]


def _is_here(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _whole(unpacker: Any, data: bytes) -> bytes:
    """Unpack one stream, whatever comes after it."""
    unpacked: bytes = unpacker.decompress(data)
    if not unpacker.eof:
        raise ValueError("packed data that is cut off")
    return unpacked


def _zstd(data: bytes, size: int) -> bytes:
    library = ctypes.CDLL("libzstd.so.1")
    if not size:
        library.ZSTD_getFrameContentSize.restype = ctypes.c_uint64
        library.ZSTD_getFrameContentSize.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
        size = library.ZSTD_getFrameContentSize(data, len(data))
        if size > _LARGEST:  # -1: the frame does not say; -2: it is none
            raise ValueError("zstd data that does not say how large it is")
    out = ctypes.create_string_buffer(size)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    if library.ZSTD_decompress(out, size, data, len(data)) != size:
        raise ValueError("zstd data that does not unpack")
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
            raise ValueError("an lz4 block that does not unpack")
        at, done = at + 4 + length, done + got
    return out.raw[:done]
