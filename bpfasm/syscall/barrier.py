"""Memory barriers, for memory that is shared with the kernel; and waiting for what is being written to it.

Where processors keep loads in order, and stores behind the loads before them (x86-64, s390x), reading a ring takes
none: CPython reads and writes an item of a memoryview of 4 or 8 bytes by one ``memcpy`` of that constant size, which
compilers make one instruction of (Objects/memoryobject.c). Elsewhere (arm64, riscv64) a system call stands in for the
instruction that Python does not have: membarrier(2) is a full barrier for its caller, documented as such, and with
MEMBARRIER_CMD_GLOBAL_EXPEDITED it interrupts nobody who did not register for it (kernel/sched/membarrier.c
membarrier_global_expedited()).
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from errno import ENOSYS

from bpfasm.syscall.libc import NR, errno, failure, quick_syscall, syscall
from bpfasm.uapi.membarrier import MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_GLOBAL_EXPEDITED, MEMBARRIER_CMD_QUERY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Barrier = Callable[[], object]

#: Machines whose processors keep loads in order and stores behind earlier loads: all but a load that overtakes a
#: store to another place.
STRONG = ("x86_64", "s390x")

_NR_MEMBARRIER = NR["__NR_membarrier"]


def barriers(machine: str = "") -> tuple[Barrier | None, Barrier]:
    """Return what acquires and releases (None where the processor does), and what is a full barrier.

    Raises OSError on a machine that needs membarrier(2) where it is not allowed or not there.
    """
    if (machine or os.uname().machine) in STRONG:
        return None, _locked
    commands: int = quick_syscall(_NR_MEMBARRIER, MEMBARRIER_CMD_QUERY, 0, 0)
    if commands < 0:
        raise failure(errno(), "membarrier")
    if not commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        raise failure(ENOSYS, "membarrier")
    return _membarrier, _membarrier


def grace_period(cpus: Iterable[int]) -> None:
    """Wait until what these CPUs were in the middle of, with preemption off or reading under RCU, is done.

    It takes some 10 ms: membarrier(2) waits for a grace period of RCU (MEMBARRIER_CMD_GLOBAL). A kernel with CPUs
    that tick for nobody (nohz_full=) refuses that; there this thread runs on each CPU for a moment instead. Raises
    OSError where it may not.
    """
    if not syscall(_NR_MEMBARRIER, MEMBARRIER_CMD_GLOBAL, 0, 0):
        return
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            os.sched_setaffinity(0, (cpu,))
    finally:
        os.sched_setaffinity(0, allowed)


def _membarrier() -> None:
    quick_syscall(_NR_MEMBARRIER, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)


def _locked() -> None:
    """Make a full barrier of an instruction with a lock prefix, which is how a lock is taken that nobody holds."""
    allocate_lock().acquire()
