"""Attaching to network namespaces: choosing sockets (sk_lookup, from kernel 5.9 on)."""

from __future__ import annotations

import os
from errno import E2BIG, EEXIST, EINVAL

from bpfasm.errors import KernelError
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from bpfasm.asm.attach.sockets import FlowDissector, SkLookup
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)

#: Where `ip netns` keeps those that it names.
_NAMED = "/run/netns"


def _opened(netns: str | int) -> Iterator[int]:
    if isinstance(netns, int):
        yield netns
        return
    path = netns if "/" in netns else f"{_NAMED}/{netns}" if netns else "/proc/self/ns/net"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            number,
            f"the network namespace {netns} was not opened: {errno_name(number)}",
            "give a name that `ip netns` lists, or /proc/PID/ns/net",
            rule="netns",
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


def netns_fd(netns: str | int) -> AbstractContextManager[int]:
    """Open a network namespace for a while; an fd that is given stays open. Raises KernelError."""
    from contextlib import contextmanager

    return contextmanager(_opened)(netns)


def open_link(program: LoadedProgram, where: SkLookup | FlowDissector, mode: str = "auto") -> Link:
    """Attach to a network namespace. Raises FeatureMissing, KernelError."""
    with netns_fd(where.netns) as fd:
        try:
            made = bpf.link_create(prog_fd=program.fd, target_fd=fd, attach_type=where.attach_type)
            return Link(made, program, where, "link")
        except OSError as error:
            number = error.errno or 0
    raise refusal(program, where, number)


def refusal(program: LoadedProgram, where: SkLookup | FlowDissector, number: int) -> Exception:
    """Say why it was not attached."""
    from bpfasm.kernel.links.refused import not_attached

    dos = {
        EEXIST: "there is one already, here or in the first namespace, which is for all; `bpfasm link list` shows it",
        E2BIG: "64 programs are attached already, and there is no room for more",
        EINVAL: "what was given is no network namespace",
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
