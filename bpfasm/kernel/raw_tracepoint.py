"""Attaching to tracepoints, by their names (BPF_RAW_TRACEPOINT_OPEN, from kernel 4.17 on)."""

from __future__ import annotations

from errno import EINVAL, ENOENT, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.link import Link
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import RawTracepoint
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs import LoadedProgram


def attach_raw_tracepoint(program: LoadedProgram, target: RawTracepoint) -> Link:
    """Attach a program of type RAW_TRACEPOINT at a tracepoint. Raises FeatureMissing, KernelError."""
    if program.program.type not in (BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE):
        raise _refusal(program, target, EINVAL)
    try:
        fd = bpf.raw_tracepoint_open(target.name, program.fd)
    except OSError as error:
        number = error.errno or 0
    else:
        return Link(fd, program, target, "link")
    raise _refusal(program, target, number)


def _refusal(program: LoadedProgram, target: RawTracepoint, number: int) -> BpfasmError:
    from bpfasm.kernel.privilege import not_permitted
    from bpfasm.kernel.words import errno_name, prog_type
    from bpfasm.syscall import system

    if number == ENOENT:
        return FeatureMissing(
            f"this kernel ({system.release()}) has no tracepoint {target.name}",
            "see those it has: ls /sys/kernel/tracing/events/*; they are named without the group",
            rule="no-tracepoint",
        )
    if number == EPERM:
        return not_permitted(f"attaching {program.name} at {target}", ("CAP_BPF", "CAP_PERFMON"))
    what = f"attaching {program.name} at {target} failed: {errno_name(number)}"
    if number == EINVAL:
        what = f"{program.name} is of type {prog_type(program.program.type)}, and cannot be attached at {target}"
    return KernelError(number, what, "it takes a BPF_PROG_TYPE_RAW_TRACEPOINT", rule="program-type")
