"""Samples of perf events: a program at every so manyth (from kernel 4.9 on)."""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, EMFILE, ENODEV, ENOENT, EOPNOTSUPP, EPERM, ESRCH

from bpfasm.kernel.links.tracing.perf_link import bind
from bpfasm.syscall import perf_event, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.sampling import PerfEvent
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "perf")


def open_link(program: LoadedProgram, where: PerfEvent, mode: str = "auto") -> Link:
    """Sample a perf event. The link has an fd for each CPU, or one for a process.

    ``mode`` is ``link`` (from kernel 5.15 on), ``perf`` (the program set by ioctl), or ``auto``, the first that is
    there. Raises FeatureMissing, KernelError.
    """
    type, config = where.numbers
    fields = {"type": type, "config": config, "sample_period": where.period or where.frequency}
    if where.frequency:
        fields["freq"] = 1
    cpus = [-1] if where.pid is not None and where.cpus is None else where.cpus or system.online_cpus()
    opened: list[int] = []
    try:
        for cpu in cpus:
            opened.append(perf_event.perf_event_open(pid=-1 if where.pid is None else where.pid, cpu=cpu, **fields))
    except BaseException as error:
        for fd in opened:
            os.close(fd)
        if isinstance(error, OSError):
            raise _refusal(where, error.errno or 0) from None
        raise
    return bind(opened, program, where, mode, cookie=where.cookie)


def _refusal(where: PerfEvent, number: int) -> BpfasmError:
    from bpfasm.errors import FeatureMissing, KernelError
    from bpfasm.kernel.base.privilege import event_not_permitted
    from bpfasm.kernel.base.words import errno_name

    if number in (EPERM, EACCES):
        return event_not_permitted(f"opening {where}", errno_name(number))
    if number in (ENOENT, EOPNOTSUPP, ENODEV):
        return FeatureMissing(
            f"this machine has no {where}: {errno_name(number)}",
            "virtual machines often count nothing of the processor's; cpu-clock is the kernel's own",
            rule="no-perf-event",
        )
    sentences = {
        ESRCH: (f"there is no process {where.pid}", "it ended meanwhile"),
        EMFILE: ("this process has too many files open", "ulimit -n raises the limit: it takes one for each CPU"),
        EINVAL: ("EINVAL", "a frequency is at most kernel.perf_event_max_sample_rate; a CPU must be online"),
    }
    text, do = sentences.get(number, (errno_name(number), "dmesg may tell more"))
    return KernelError(number, f"{where} was not opened: {text}", do, rule="attach-refused")
