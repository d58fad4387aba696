"""Samples: a program runs at every so manyth event of a counter of the processor's or the kernel's."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi.bpf import BPF_PROG_TYPE_PERF_EVENT


def events() -> dict[str, tuple[int, int]]:
    """Return type and config of the events that have names: the kernel's own, and those of most processors."""
    from bpfasm.uapi import perf_event as uapi

    groups = (
        (uapi.PERF_TYPE_SOFTWARE, "PERF_COUNT_SW_", uapi.enum_perf_sw_ids),
        (uapi.PERF_TYPE_HARDWARE, "PERF_COUNT_HW_", uapi.enum_perf_hw_id),
    )
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): (type, getattr(uapi, name))
        for type, prefix, group in groups
        for name in group
        if not name.endswith("_MAX")
    }


class PerfEvent(Place):
    """An event of perf's and how often it is sampled: each ``period``th time, or ``frequency`` times a second.

    ``event`` is a name (``cpu-clock``, ``page-faults``, ``cpu-cycles`` ...) or (type, config) as in ``struct
    perf_event_attr``. ``pid`` is the process that counts, 0 this one; None is every process, on each of the ``cpus``
    (None: those online).
    """

    event: str | tuple[int, int]
    period: int = 0
    frequency: int = 0
    pid: int | None = None
    cpus: tuple[int, ...] | None = None
    cookie: int = 0

    takes = (BPF_PROG_TYPE_PERF_EVENT,)

    def __post_init__(self) -> None:
        if isinstance(self.event, str) and self.event not in events():
            raise refuse(
                f"perf_event(): there is no event {self.event!r}",
                f"the names are {', '.join(events())}; any other is (type, config)",
            )
        if bool(self.period) == bool(self.frequency):
            raise refuse(
                "perf_event() takes a period or a frequency",
                'write perf_event("cpu-clock", frequency=99), or perf_event("page-faults", period=1)',
            )

    @property
    def numbers(self) -> tuple[int, int]:
        """Its type and config in ``struct perf_event_attr``."""
        return events()[self.event] if isinstance(self.event, str) else self.event

    def __str__(self) -> str:
        event = self.event if isinstance(self.event, str) else f"{self.event[0]}:{self.event[1]:#x}"
        return f"perf event {event}"


def perf_event(
    event: str | tuple[int, int],
    *,
    period: int = 0,
    frequency: int = 0,
    pid: int | None = None,
    cpus: tuple[int, ...] | None = None,
    cookie: int = 0,
) -> PerfEvent:
    """Run the program at every ``period``th event, or about ``frequency`` times a second.

    ``perf_event("cpu-clock", frequency=99)`` samples what all CPUs are doing. With a ``pid`` it is one process's, 0
    this one's. The program's type is BPF_PROG_TYPE_PERF_EVENT. (4.9)
    """
    return PerfEvent(event, period, frequency, pid, cpus, cookie)
