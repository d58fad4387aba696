"""Why a program was not attached where it was verified for, in words."""

from __future__ import annotations

from errno import E2BIG, EBUSY, EEXIST, EINVAL, ENOENT, EPERM

from bpfasm.asm.attach.tracing import Freplace, TpBtf
from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.kernel.links import refused
from bpfasm.syscall import system
from bpfasm.syscall.libc import ENOTSUPP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.tracing import Traced
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram


def refusal(program: LoadedProgram, where: Traced, number: int) -> BpfasmError:
    """Say why the kernel refused."""
    if number == EPERM:
        return refused.not_attached(program, where, number)
    if number in (EINVAL, ENOTSUPP) and where.cookie and not _bare(program):
        return refused.no_cookie(where, "6.10" if isinstance(where, TpBtf) else "6.0")
    if number in (ENOTSUPP, EINVAL) and not isinstance(where, TpBtf) and _no_trampolines():
        return FeatureMissing(
            f"this kernel ({system.release()}) attaches nothing at the entry of functions (no "
            "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, or no such code for this processor)",
            f"take a kprobe or a tracepoint, or {IN_THE_LAB}",
            rule="no-trampoline",
        )
    sentences = {
        EBUSY: (
            "the function has a program already that excludes others",
            "one freplace and no fentry, or the other way round: detach the other (`bpfasm link list`)",
        ),
        EEXIST: ("the program is attached there already", "close its other link first"),
        E2BIG: ("38 programs are attached there, and no more find room", "see them with `bpfasm link list`"),
        ENOENT: ("the function is gone", "its module was unloaded, or its program closed"),
    }
    what = f"{program.name} was not attached at {where}"
    text, do = sentences.get(number, (errno_name(number), "dmesg may tell more"))
    if number == EINVAL and isinstance(where, Freplace):
        text, do = "the function was replaced already", "close the other link first (`bpfasm link list`)"
    return KernelError(number, f"{what}: {text}", do, rule="attach-refused")


def _bare(program: LoadedProgram) -> bool:
    """Return whether the program is refused without a cookie, too; if not, nothing stays attached."""
    import os

    from bpfasm.syscall import bpf

    try:
        os.close(bpf.raw_tracepoint_open("", program.fd))
    except OSError:
        return True
    return False


def _no_trampolines() -> bool:
    from bpfasm.kernel.features import ask
    from bpfasm.syscall.probe.answer import NO

    return ask("link/tracing").state == NO
