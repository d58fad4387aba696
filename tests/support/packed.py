"""Pack bytes as kernels and modules are packed, with the C libraries of this machine."""

from __future__ import annotations

import ctypes

import pytest


def library(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError:
        pytest.skip(f"{name} is not installed")


def zstd(data: bytes) -> bytes:
    out = ctypes.create_string_buffer(len(data) + 1000)
    function = library("libzstd.so.1").ZSTD_compress
    function.restype = ctypes.c_size_t
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    size = function(out, len(out), data, len(data), 3)
    return out.raw[:size]


def lz4(data: bytes) -> bytes:
    """Compress as `lz4 -l` does, with smaller blocks so that there are several."""
    function = library("liblz4.so.1").LZ4_compress_default
    frame = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), 1 << 16):
        block = data[start : start + (1 << 16)]
        out = ctypes.create_string_buffer(len(block) + 1000)
        size = function(block, out, len(block), len(out))
        frame += size.to_bytes(4, "little") + out.raw[:size]
    return frame
