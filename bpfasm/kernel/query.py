"""What is attached where programs stand in rows: cgroups, devices (tcx), network namespaces, maps of sockets."""

from __future__ import annotations

import os
from errno import ENOSPC
from struct import unpack_from

from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from bpfasm.uapi.bpf import BPF_F_QUERY_EFFECTIVE, BPF_TCX_EGRESS, BPF_TCX_INGRESS
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach import Place

#: So many programs are asked for at first; a row that is longer says how long it is.
_ROOM = 64


class Attached(Value):
    """Programs and links in the order in which they run, by id; 0 is a program without a link.

    ``flags`` are BPF_F_ALLOW_* of a cgroup. ``revision`` counts the changes of a row, where the kernel does.
    """

    prog_ids: tuple[int, ...]
    link_ids: tuple[int, ...] = ()
    flags: int = 0
    revision: int = 0


def query(place: Place, *, effective: bool = False) -> Attached:
    """Return what is attached at a place: a ``cgroup()``, ``tcx()``, ``sk_lookup()`` or ``flow_dissector()``.

    With ``effective`` what a cgroup has from those above, too. Raises KernelError.
    """
    from bpfasm.errors import KernelError
    from bpfasm.kernel.base.words import errno_name

    where: Any = place
    try:
        if hasattr(where, "device"):
            from bpfasm.kernel.links.network.device import index

            return ask(index(where.device), where.attach_type)
        if hasattr(where, "netns"):
            from bpfasm.kernel.links.network.netns import netns_fd

            with netns_fd(where.netns) as fd:
                return ask(fd, where.attach_type)
        from bpfasm.kernel.links.cgroup_fd import cgroup_fd

        with cgroup_fd(where.cgroup) as fd:
            return ask(fd, where.attach_type, BPF_F_QUERY_EFFECTIVE if effective else 0)
    except KernelError:
        raise
    except OSError as error:
        number = error.errno or 0
    raise KernelError(
        number,
        f"what is attached at {place} cannot be asked: {errno_name(number)}",
        "this kernel may not have the kind: `bpfasm features` shows it",
        rule="attach-query",
    )


def ask(target: int, attach_type: int, flags: int = 0) -> Attached:
    """Ask by an fd, or a device's index. Raises OSError."""
    # Only devices tell of links and of the row's revision; others refuse to be asked for it.
    in_rows = attach_type in (BPF_TCX_INGRESS, BPF_TCX_EGRESS)
    room = _ROOM
    while True:
        progs, links = buffer(4 * room), buffer(4 * room)
        fields: dict[str, Any] = {
            "target_fd": target,
            "attach_type": attach_type,
            "query_flags": flags,
            "prog_ids": progs,
            "prog_cnt": room,
        }
        if in_rows:
            fields["link_ids"] = links
        try:
            told = bpf.prog_query(**fields)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            room *= 4
            continue
        count = told["query.prog_cnt"]
        return Attached(
            unpack_from(f"={count}I", progs),
            unpack_from(f"={count}I", links) if in_rows else (),
            told["query.attach_flags"],
            told["query.revision"] if in_rows else 0,
        )


def mounted_cgroups() -> list[str]:
    """Return the folders of all cgroups (version 2) that can be seen from here, the root first."""
    from bpfasm.syscall import system

    return [folder for point in system.mounts("cgroup2")[:1] for folder, _, _ in os.walk(point)]
