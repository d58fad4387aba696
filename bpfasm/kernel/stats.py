"""What running programs costs: counted by the kernel while somebody asks it to."""

from __future__ import annotations

from errno import EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.owned import Owned
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.objects import ids
from bpfasm.syscall import bpf, system
from bpfasm.uapi import bpf as uapi
from bpfasm.value import Value


class Stats(Value):
    """How often a program ran, and for how long altogether: since it was loaded, as far as that was counted.

    ``recursion_misses`` are the times it did not run because it was running already, below itself on the same CPU;
    these are counted always (5.12). ``verified_insns`` is how many instructions the verifier went through (5.16).
    """

    run_cnt: int
    run_time_ns: int
    recursion_misses: int
    verified_insns: int

    @property
    def ns_a_run(self) -> float:
        """The nanoseconds of one run on average, 0 where there was none."""
        return self.run_time_ns / self.run_cnt if self.run_cnt else 0.0


class run_stats(Owned):  # noqa: N801  used like a function
    """Within ``with run_stats():`` the kernel counts the runs of all programs, and the time they take.

    It costs each run some 20 ns. Several processes may ask at a time. Raises FeatureMissing: it takes CAP_SYS_ADMIN.
    """

    def __init__(self) -> None:
        try:
            fd = bpf.enable_stats(uapi.BPF_STATS_RUN_TIME)
        except OSError as error:
            raise _refused(error.errno or 0) from None
        super().__init__(fd)

    def __repr__(self) -> str:
        return "<run_stats>"


def _refused(number: int) -> FeatureMissing | KernelError:
    from bpfasm.kernel.base.privilege import not_permitted

    if number == EPERM:
        return not_permitted("counting the runs of programs", ("CAP_SYS_ADMIN",))
    return KernelError(
        number,
        f"the kernel ({system.release()}) does not count the runs of programs: {errno_name(number)}",
        "it does from 5.8 on; sysctl kernel.bpf_stats_enabled=1 asks older ones",
        rule="object-info",
    )


def stats_of(fd: int) -> Stats:
    """Return the counts of a program. Raises KernelError."""
    about = ids.info("prog", fd)
    return Stats(*(about[name] for name in Stats._fields))
