"""Attaching to sockets: what one receives, and which of those that share an address gets it."""

from __future__ import annotations

import os
from errno import EBADF, EINVAL, ENOENT, ENOMEM, ENOTSOCK, EPERM

from bpfasm.kernel.links.placed import PlacedLink
from bpfasm.uapi import socket as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.sockets import Reuseport, SocketFilter
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("sockopt",)

#: The options that attach and detach, by the class of the place.
_OPTIONS = {
    "SocketFilter": (uapi.SO_ATTACH_BPF, uapi.SO_DETACH_BPF),
    "Reuseport": (uapi.SO_ATTACH_REUSEPORT_EBPF, uapi.SO_DETACH_REUSEPORT_BPF),
}


def open_link(program: LoadedProgram, where: SocketFilter | Reuseport, mode: str = "auto") -> Link:
    """Attach to a socket, by an option of it. Raises KernelError, FeatureMissing."""
    attach, detach = _OPTIONS[type(where).__name__]

    def exchange(new: int, _old: int) -> None:
        try:
            _set(where.number, attach, new)
        except OSError as error:
            raise _refusal(program, where, error.errno or 0) from None

    def undo(_program: int) -> None:
        try:
            _set(where.number, detach, 0)
        except OSError as error:
            # The socket was closed, and the program went with it.
            if error.errno not in (EBADF, ENOENT, ENOTSOCK):
                raise

    exchange(program.fd, 0)
    return PlacedLink(program, where, "sockopt", undo, exchange=exchange)


def _set(fd: int, option: int, value: int) -> None:
    """Set an option of a socket that is somebody else's to close. Raises OSError."""
    from socket import socket

    with socket(fileno=os.dup(fd)) as same:
        same.setsockopt(uapi.SOL_SOCKET, option, value)


def _refusal(program: LoadedProgram, where: SocketFilter | Reuseport, number: int) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.links.refused import not_attached

    dos = {
        EBADF: "the socket is closed",
        ENOTSOCK: "the file descriptor is not of a socket",
        EINVAL: "set SO_REUSEPORT on the socket first; it takes programs that were loaded for it",
        ENOMEM: "the sockets' memory is full: net.core.optmem_max",
        EPERM: "the filter of the socket is locked (SO_LOCK_FILTER)",
    }
    return not_attached(program, where, number, dos.get(number, ""))
