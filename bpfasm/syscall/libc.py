"""The C library's ``syscall()``, and memory that the kernel can be pointed at. The only importer of ctypes."""

from __future__ import annotations

import ctypes
import os
import sys
from errno import EEXIST

from bpfasm.errors import FeatureMissing
from bpfasm.uapi import unistd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap
    from typing import Any

    #: Bytes at a fixed address: ``buffer.raw`` reads them, ``addressof(buffer)`` is where they are.
    Buffer = ctypes.Array[ctypes.c_char]

if sys.platform != "linux":
    raise FeatureMissing(
        "this is not Linux: there is no bpf(2) here",
        "what needs no kernel works: asm, disasm, explain, the simulator",
        rule="not-linux",
    )

#: Numbers of system calls on this machine.
NR: dict[str, int] = unistd.syscalls.get(os.uname().machine, unistd.syscalls["generic"])

#: ``syscall(number, ...)``: the result, or -1 with the reason in ``errno()``. Other threads run meanwhile.
syscall: Any = ctypes.CDLL(None, use_errno=True).syscall
syscall.restype = ctypes.c_long

#: The same without letting other threads run: 100 ns less, for calls that end within microseconds.
quick_syscall: Any = ctypes.PyDLL(None, use_errno=True).syscall
quick_syscall.restype = ctypes.c_long

addressof = ctypes.addressof
errno = ctypes.get_errno

#: The kernel's own "operation not supported", which some bpf(2) commands let out and errno.h does not have.
ENOTSUPP = 524

#: File descriptors below this one are standard input, output and error: what writes there must not meet a map.
_FIRST_FD = 3


def buffer(content: bytes | int) -> Buffer:
    """Return memory that holds ``content``, or that many zero bytes."""
    if isinstance(content, int):
        return (ctypes.c_char * content)()
    return (ctypes.c_char * len(content)).from_buffer_copy(content)


def buffer_over(memory: Any) -> Buffer:
    """Return a view of writable memory (a ``bytearray``, an ``mmap``) that the kernel can be pointed at."""
    return (ctypes.c_char * len(memory)).from_buffer(memory)


def failure(number: int, call: str) -> OSError:
    """Return the exception for a failed ``call``; one of OSError's subclasses where Python has one."""
    words = "ENOTSUPP: operation not supported" if number == ENOTSUPP else os.strerror(number)
    return OSError(number, f"{call}: {words}")


def good_fd(fd: int) -> int:
    """Return ``fd``, moved up if it is one of the three that have a meaning.

    A bpf(2) field that holds 0 says "no fd", and the kernel gives out fd 0 to whoever closed standard input.
    """
    if fd >= _FIRST_FD:
        return fd
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, _FIRST_FD)
    finally:
        os.close(fd)


#: ``mmap(2)`` and its undoing, with addresses as numbers.
_mmap: Any = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap: Any = ctypes.CDLL(None).munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FAILED = ctypes.c_void_p(-1).value


def mapped(fd: int, size: int, *, writable: bool, address: int = 0, offset: int = 0) -> Buffer:
    """Map ``size`` bytes of a file from ``offset`` on, shared; unmapped when nobody holds the buffer or a view of it.

    With an ``address`` it is there or nowhere. Unlike Python's ``mmap`` it holds no copy of the fd. Raises OSError.
    """
    from mmap import MAP_SHARED, PROT_READ, PROT_WRITE

    at = _mmap(address, size, PROT_READ | (PROT_WRITE if writable else 0), MAP_SHARED, fd, offset)
    if at == _MAP_FAILED:
        raise failure(errno(), "mmap")
    if address and at != address:
        _munmap(at, size)
        raise failure(EEXIST, "mmap")

    class Mapped(ctypes.c_char * size):  # type: ignore[misc]
        #: Whether it is not there any more, in a child that did not get it; somebody else's memory may be.
        gone = False

        def __del__(self, munmap: Any = _munmap, at: int = at, size: int = size) -> None:
            if not self.gone:
                munmap(at, size)

    return Mapped.from_address(at)  # type: ignore[no-any-return]


def private_copy(fd: int, size: int) -> mmap:
    """Return a file's bytes to read, as an ``mmap`` that holds no copy of the fd. Raises OSError.

    Python's own keeps one open for as long as it lives, before 3.13. So the file goes over memory that it got.
    """
    from mmap import MAP_PRIVATE, PROT_READ, mmap

    # A file that cannot be mapped would leave a hole where the memory was: it is freed later, and another's by then.
    mmap(fd, 1, MAP_PRIVATE, PROT_READ).close()
    memory = mmap(-1, size, MAP_PRIVATE)
    fixed = 0x10  # MAP_FIXED, the same on every architecture but alpha and parisc; Python has no name for it
    place = ctypes.addressof(buffer_over(memory))
    if _mmap(place, size, PROT_READ, MAP_PRIVATE | fixed, fd, 0) != place:
        raise failure(errno(), "mmap")
    return memory
