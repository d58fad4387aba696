"""The kernel inside a bzImage, in each way kernels are packed."""

from __future__ import annotations

import gzip
import lzma
import random
import struct
from pathlib import Path

import pytest
from support.packed import lz4, zstd

from bpfasm.lab.kernel import vmlinux


def elf(note: int = 18, name: bytes = b"Xen\0", body: bytes = b"") -> bytes:
    """Return an ELF file of one note segment: after another note, the one asked for."""
    notes = struct.pack("<III", 4, 5, 1) + b"GNU\0" + b"12345\0\0\0"
    notes += struct.pack("<III", len(name), 4, note) + name + bytes(-len(name) % 4) + b"\0\0\0\1"
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(notes), len(notes), 4)
    return head + segment + notes + body


def bzimage(packed: bytes, size: int) -> bytes:
    """Return a bzImage with one sector of setup code and this payload at 100 bytes into the rest."""
    head = bytearray(1024 + 100)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    payload = packed + size.to_bytes(4, "little")
    struct.pack_into("<II", head, 0x248, 100, len(payload))
    return bytes(head) + payload + b"what comes after"


KERNEL = elf(body=random.Random(1).randbytes(100_000) + bytes(200_000))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd, lz4])
def test_a_kernel_is_unpacked(pack):
    assert vmlinux.unpack(bzimage(pack(KERNEL), len(KERNEL))) == KERNEL


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd, lz4])
def test_a_payload_that_is_damaged_is_none(pack):
    packed = pack(KERNEL)
    for cut in (2, 5, 10, len(packed) // 2):
        assert vmlinux.unpack(bzimage(packed[:cut], len(KERNEL))) == b""


@pytest.mark.parametrize(
    "image", [b"", bytes(0x1000), bzimage(b"unknown packing", 100), bzimage(gzip.compress(KERNEL), 0)]
)
def test_what_cannot_be_unpacked_is_none(image: bytes):
    assert vmlinux.unpack(image) == b""


def test_the_note_that_names_the_entry():
    assert vmlinux.has_pvh_entry(elf())
    assert not vmlinux.has_pvh_entry(elf(note=17))
    assert not vmlinux.has_pvh_entry(elf(name=b"Xem\0"))
    assert not vmlinux.has_pvh_entry(b"")
    whole = elf()
    for end in range(len(whole) - 8):
        assert not vmlinux.has_pvh_entry(whole[:end])


def test_it_is_unpacked_once_and_again_when_the_image_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = tmp_path / "vmlinuz"
    image.write_bytes(bzimage(gzip.compress(KERNEL), len(KERNEL)))
    made = vmlinux.directly(image)
    assert made.read_bytes() == KERNEL
    monkeypatch.setattr(vmlinux, "unpack", lambda _: pytest.fail("unpacked twice"))
    assert vmlinux.directly(image) == made
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image.write_bytes(bzimage(gzip.compress(KERNEL + b"2"), len(KERNEL) + 1))
    assert vmlinux.directly(image).read_bytes() == KERNEL + b"2"


@pytest.mark.parametrize("kernel", [elf(note=1), b""], ids=["no entry", "not unpacked"])
def test_an_image_that_cannot_be_started_directly_is_started_as_it_is(kernel: bytes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = Path(tmp_path / "vmlinuz")
    image.write_bytes(bzimage(gzip.compress(kernel), len(kernel)))
    assert vmlinux.directly(image) == image
    assert vmlinux.directly(image) == image
