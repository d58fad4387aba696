"""Iterators: links whose file a program writes when it is read (from kernel 5.8 on)."""

from __future__ import annotations

import os
from contextlib import nullcontext
from errno import EBADF, EINVAL, ENOENT, ESRCH

from bpfasm.kernel.links.cgroup_fd import cgroup_fd
from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf
from bpfasm.syscall.layout import put
from bpfasm.syscall.libc import buffer
from bpfasm.uapi.bpf import (
    BPF_CGROUP_ITER_SELF_ONLY,
    BPF_TRACE_ITER,
    sizeof_union_bpf_iter_link_info,
    union_bpf_iter_link_info,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from bpfasm.asm.attach.iterator import Iterator
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


class IteratorLink(Link):
    """A link whose program goes over objects of the kernel each time it is read."""

    def open(self) -> BinaryIO:
        """Return a file that runs the program as it is read, from the first object to the last; close it.

        Raises KernelError. A program that returns 1 is run again for the same object, at most; reading raises what it
        fails with as OSError. (kernel/bpf/bpf_iter.c)
        """
        try:
            return os.fdopen(bpf.iter_create(self.fd), "rb", buffering=0)
        except OSError as error:
            from bpfasm.kernel.links.refused import not_attached

            program = self.program
            raise not_attached(program, self.target, error.errno or 0) from None  # type: ignore[arg-type]

    def read(self) -> bytes:
        """Go over all objects once; return what the program wrote."""
        with self.open() as file:
            return file.read()


def _must_know_tasks(where: Iterator) -> None:
    """Refuse what kernels before 6.1 pass over: they would go over all tasks."""
    from bpfasm.errors import FeatureMissing
    from bpfasm.syscall import system
    from bpfasm.syscall.probe.vmlinux import vmlinux

    if not vmlinux().names("BPF_TASK_ITER_TID"):
        raise FeatureMissing(
            f"{where} of one task: this kernel ({system.release()}) goes over all tasks only",
            "it came with 6.1; leave tid, pid and pid_fd out, and let the program compare",
            rule="iterator-target",
        )


def open_link(program: LoadedProgram, where: Iterator, mode: str = "auto") -> IteratorLink:
    """Attach an iterator's program; nothing runs until the link is read. Raises FeatureMissing, KernelError."""
    if where.tid or where.pid or where.pid_fd:
        _must_know_tasks(where)
    with cgroup_fd(where.cgroup) if where.cgroup != "" else nullcontext(0) as cgroup:
        given = {
            "map.map_fd": getattr(where.map, "fd", where.map) or 0,
            "task.tid": where.tid,
            "task.pid": where.pid,
            "task.pid_fd": where.pid_fd,
            "cgroup.cgroup_fd": cgroup,
            "cgroup.order": where.order or (BPF_CGROUP_ITER_SELF_ONLY if where.target == "cgroup" else 0),
        }
        fields: dict[str, object] = {}
        if any(given.values()):
            info = buffer(sizeof_union_bpf_iter_link_info)
            for name, value in given.items():
                if value:
                    put(info, "union bpf_iter_link_info", union_bpf_iter_link_info, name, value)
            fields = {"iter_info": info, "iter_info_len": len(info)}
        try:
            fd = bpf.link_create(prog_fd=program.fd, attach_type=BPF_TRACE_ITER, **fields)  # type: ignore[arg-type]
            return IteratorLink(fd, program, where, "link")
        except OSError as error:
            number = error.errno or 0
    from bpfasm.kernel.links.refused import not_attached

    do = ""
    if number in (EBADF, EINVAL) and where.target.endswith(("_elem", "_map")) and where.map is None:
        do = f'say which map: iterator("{where.target}", map=counts)'
    elif number in (EBADF, EINVAL):
        do = "the target takes no such map or cgroup"
    elif number in (ENOENT, ESRCH):
        do = "there is no such task"
    raise not_attached(program, where, number, do)
