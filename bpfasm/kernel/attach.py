"""``attach()``: from a program and the description of a place to a link."""

from __future__ import annotations

from bpfasm.asm.attach import Kprobe, RawTracepoint
from bpfasm.errors import AssemblyError
from bpfasm.uapi.bpf import BPF_PROG_TYPE_KPROBE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.kprobe import Mode
    from bpfasm.kernel.link import Link
    from bpfasm.kernel.programs import LoadedProgram

MODES = ("auto", "link", "perf", "tracefs")


def attach(program: LoadedProgram, target: Kprobe | RawTracepoint | None = None, mode: Mode = "auto") -> Link:
    """Attach a program where its ``attach`` says, or at ``target``; return the link, which is the caller's to close.

    ``mode`` picks a mechanism where there are several, as for kprobes; ``auto`` takes the best that is there, and
    ``link.mode`` says which. Raises FeatureMissing, KernelError.
    """
    where = target or program.program.attach
    if mode not in MODES:
        raise AssemblyError(f"there is no mode {mode!r}", f"the modes are {', '.join(MODES)}", rule="attach-mode")
    if where is None:
        raise AssemblyError(
            f"{program.name} does not say where it is to be attached",
            'declare it with attach=kprobe("vfs_read"), or name the place here',
            rule="attach-target",
        )
    if isinstance(where, RawTracepoint):
        from bpfasm.kernel.raw_tracepoint import attach_raw_tracepoint

        return attach_raw_tracepoint(program, where)
    if program.program.type != BPF_PROG_TYPE_KPROBE:
        from bpfasm.kernel.kprobe_refused import wrong_type

        raise wrong_type(program, where)
    from bpfasm.kernel.kprobe import attach_kprobe

    return attach_kprobe(program, where, mode)
