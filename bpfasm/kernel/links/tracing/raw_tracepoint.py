"""Attaching to tracepoints, by their names (BPF_RAW_TRACEPOINT_OPEN, from kernel 4.17 on)."""

from __future__ import annotations

from errno import EINVAL, ENOENT

from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import RawTracepoint
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: RawTracepoint, mode: str = "auto") -> Link:
    """Attach a program of type RAW_TRACEPOINT at a tracepoint. Raises FeatureMissing, KernelError."""
    try:
        return Link(bpf.raw_tracepoint_open(where.name, program.fd, where.cookie), program, where, "link")
    except OSError as error:
        number = error.errno or 0
    from bpfasm.kernel.links import refused

    if number == ENOENT:
        from bpfasm.kernel.links.tracing.tracepoint_refused import no_tracepoint

        raise no_tracepoint(where.name)
    if number == EINVAL and where.cookie:
        raise refused.no_cookie(where, "6.10")
    raise refused.not_attached(
        program,
        where,
        number,
        "it reads or writes beyond the arguments of this tracepoint, or is writable and the tracepoint is not"
        if number == EINVAL
        else "",
    )
