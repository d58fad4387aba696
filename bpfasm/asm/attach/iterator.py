"""Iterators: programs that go over the kernel's objects when a file is read."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, c_name, refuse
from bpfasm.uapi.bpf import BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Iterator(Place):
    """What an iterator goes over, and which part of it.

    ``target`` is ``"task"``, ``"bpf_map"``, ``"tcp"`` ...: each ``bpf_iter_NAME`` of the kernel. Of
    ``"bpf_map_elem"`` and ``"bpf_sk_storage_map"`` ``map`` is the map, declared, loaded, or an fd. Of ``"task"`` and
    its kin one of ``tid``, ``pid``, ``pid_fd`` may say whose. Of ``"cgroup"`` ``cgroup`` is a path or an fd and
    ``order`` one of BPF_CGROUP_ITER_*.
    """

    target: str
    map: Any = None
    tid: int = 0
    pid: int = 0
    pid_fd: int = 0
    cgroup: str | int = ""
    order: int = 0

    takes = (BPF_PROG_TYPE_TRACING,)

    def __post_init__(self) -> None:
        c_name("iterator", self.target, "an iterator", 'write iterator("task"), iterator("bpf_map_elem", map=counts)')
        if sum(map(bool, (self.tid, self.pid, self.pid_fd))) > 1:
            raise refuse("iterator() takes one of tid, pid and pid_fd", "a tid is one thread, a pid all of a process")

    def told_at_load(self) -> dict[str, Any]:
        """Return what the kernel's types call it."""
        return {"expected_attach_type": BPF_TRACE_ITER, "attach_btf": self.target}

    def __str__(self) -> str:
        return f"iterator {self.target}"


def iterator(
    target: str,
    *,
    map: Any = None,
    tid: int = 0,
    pid: int = 0,
    pid_fd: int = 0,
    cgroup: str | int = "",
    order: int = 0,
) -> Iterator:
    """Run the program for each object of a kind when the link's file is read; it writes the file by bpf_seq_write().

    ``link.read()`` returns what it wrote. The program's type is BPF_PROG_TYPE_TRACING. (5.8; ``map`` 5.9, ``cgroup``
    6.1, ``tid``, ``pid``, ``pid_fd`` 6.1)
    """
    return Iterator(target, map, tid, pid, pid_fd, cgroup, order)
