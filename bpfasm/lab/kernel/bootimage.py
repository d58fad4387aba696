"""Tell what a kernel's image is: the processor it is for and its release (``uname -r``), from the file alone."""

from __future__ import annotations

import re
import zlib

from bpfasm.errors import LabError
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_GZIP = b"\x1f\x8b"
_LARGEST = 256 << 20

#: What every kernel says of itself (init/version.c linux_banner).
_BANNER = re.compile(rb"Linux version (\d[^ \0]*) ")


class BootImage(Value):
    """What an image says of itself: ``arch`` as in ``uname -m``, and the release."""

    arch: str
    release: str


def read(image: Path) -> BootImage:
    """Return what an image is: an x86 bzImage, or an arm64 Image, which may be packed with gzip.

    Raise LabError for a file that cannot be read or is none of these.
    """
    try:
        with image.open("rb") as file:
            head = file.read(0x10000)
            if head[0x202:0x206] == b"HdrS":
                return BootImage("x86_64", _release_of_bzimage(head))
            data = head + file.read(_LARGEST) if _may_be_arm64(head) else b""
    except OSError as error:
        raise LabError(
            f"cannot read the kernel {image}: {error.strerror}", "name a vmlinuz that you may read", rule="lab-kernel"
        ) from None
    if data[:2] == _GZIP:
        data = _gunzip(data, _LARGEST)
    if not _is_arm64(data):
        raise LabError(
            f"{image} is not a bootable kernel image (bzImage, or Image on arm64)",
            "name a vmlinuz, as in /boot",
            rule="lab-kernel",
        )
    banner = _BANNER.search(data)
    return BootImage("aarch64", banner[1].decode(errors="replace") if banner else "unknown")


def _release_of_bzimage(head: bytes) -> str:
    """Return the first word of kernel_version (Documentation/arch/x86/boot.rst)."""
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    words = head[start : start + 256].split(b"\0")[0].split()
    return words[0].decode(errors="replace") if words else "unknown"


def _may_be_arm64(head: bytes) -> bool:
    return _is_arm64(_gunzip(head, 64) if head[:2] == _GZIP else head)


def _is_arm64(data: bytes) -> bool:
    """Whether the magic number is there (Documentation/arch/arm64/booting.rst)."""
    return data[0x38:0x3C] == b"ARM\x64"


def _gunzip(data: bytes, most: int) -> bytes:
    """Return the first ``most`` bytes of what is packed; what cannot be unpacked is nothing."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data, most)
    except zlib.error:
        return b""
