"""Attaching at a security hook for the processes of a cgroup (from kernel 6.0 on)."""

from __future__ import annotations

from errno import EBADF, EINVAL

from bpfasm.kernel.links.cgroup_fd import cgroup_fd
from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.tracing import LsmCgroup
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: LsmCgroup, mode: str = "auto") -> Link:
    """Attach an LSM program to a cgroup. Raises FeatureMissing, KernelError."""
    with cgroup_fd(where.cgroup) as fd:
        try:
            made = bpf.link_create(prog_fd=program.fd, target_fd=fd, attach_type=where.attach_type)
            return Link(made, program, where, "link")
        except OSError as error:
            number = error.errno or 0
    from bpfasm.kernel.links.refused import not_attached

    do = "give the folder of a cgroup of version 2, below /sys/fs/cgroup" if number in (EBADF, EINVAL) else ""
    raise not_attached(program, where, number, do)
