"""Perf events for bpf_perf_event_output(): one for each CPU, its memory, its place in the program's array."""

from __future__ import annotations

import os
from errno import EINVAL, ENODEV
from struct import unpack
from time import CLOCK_MONOTONIC

from bpfasm.asm.perfmem import PerfMemory
from bpfasm.kernel.readers.claims import claim, release
from bpfasm.syscall import perf_event, system
from bpfasm.syscall.barrier import grace_period
from bpfasm.syscall.files import check_files
from bpfasm.syscall.memory import PAGESIZE, Mapped
from bpfasm.uapi.bpf import BPF_MAP_TYPE_PERF_EVENT_ARRAY
from bpfasm.uapi.perf_event import (
    PERF_COUNT_SW_BPF_OUTPUT,
    PERF_FORMAT_LOST,
    PERF_SAMPLE_RAW,
    PERF_SAMPLE_TIME,
    PERF_TYPE_SOFTWARE,
    struct_perf_event_mmap_page,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpfasm.kernel.maps.map import LoadedMap
    from bpfasm.kernel.readers.claims import Claim

_HEAD = struct_perf_event_mmap_page["data_head"][0]
_TAIL = struct_perf_event_mmap_page["data_tail"][0]


class PerfEvents:
    """The events of a perf event array: ``fds`` by CPU, and their ``buffers``.

    The fds are the owner's to close: they are in ``held`` from the moment that they are open.
    """

    def __init__(self, map: LoadedMap, held: list[int], order: Callable[[], object] | None) -> None:
        self.map = map
        self._held = held
        self.fds: dict[int, int] = {}
        self.buffers: list[PerfMemory] = []
        self._mapped: list[Mapped] = []
        self._claims: list[Claim] = []
        self._order = order
        #: What the kernel is asked for when it is asked how many were lost; 0 where it cannot tell.
        self._read_format = PERF_FORMAT_LOST

    def open(self, pages: int, cpus: Iterable[int] | None, *, timed: bool, fields: dict[str, int]) -> None:
        """Open an event on each CPU, map its buffer, and let programs find it.

        ``cpus`` None are those online. ``fields`` are more of ``struct perf_event_attr``: how readers are woken, or
        ``write_backward`` for buffers that are overwritten.
        """
        spec = self.map.spec
        if spec.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            from bpfasm.kernel.readers.refused import no_reader

            raise no_reader(spec, "PerfReader")
        if pages < 1 or pages & pages - 1:
            from bpfasm.kernel.readers.refused import pages_no_power

            raise pages_no_power(pages)
        for cpu in system.online_cpus() if cpus is None else cpus:
            fd = self._open(cpu, timed, fields)
            if fd is None:
                continue
            self._held.append(fd)
            self.fds[cpu] = fd
            self._map(cpu, fd, pages, timed=timed, write=not fields.get("write_backward"))
            self._claims.append(claim(self.map, cpu))  # another reader's event there would be put out of its place
            # Last, since from now on programs write to it.
            self.map[cpu] = fd
        if not self.fds:
            from bpfasm.kernel.readers.refused import none_online

            raise none_online(spec)

    def _open(self, cpu: int, timed: bool, fields: dict[str, int]) -> int | None:
        """Open the event of a CPU; return its fd, None where the CPU is not online."""
        if timed:
            # The clock of bpf_ktime_get_ns() and of time.monotonic_ns(). Records that are no samples have it too.
            fields = {"use_clockid": 1, "clockid": CLOCK_MONOTONIC, "sample_id_all": 1, **fields}
        while True:
            try:
                return perf_event.perf_event_open(
                    cpu=cpu,
                    type=PERF_TYPE_SOFTWARE,
                    config=PERF_COUNT_SW_BPF_OUTPUT,
                    sample_type=PERF_SAMPLE_RAW | (PERF_SAMPLE_TIME if timed else 0),
                    sample_period=1,
                    read_format=self._read_format,
                    **fields,
                )
            except OSError as error:
                number = error.errno or 0
            if number == ENODEV:
                return None
            if number == EINVAL and self._read_format:
                self._read_format = 0  # before 6.0
                continue
            check_files(number, f"the perf buffer of CPU {cpu} for {self.map.spec.name} was not opened")
            from bpfasm.kernel.readers.refused import not_opened

            raise not_opened(self.map.spec, cpu, number)

    def _map(self, cpu: int, fd: int, pages: int, *, timed: bool, write: bool) -> None:
        # What cannot be written, and so never says how far it was read, is overwritten.
        try:
            mapped = Mapped(fd, PAGESIZE * (1 + pages), write=write)
        except OSError as error:
            from bpfasm.kernel.readers.refused import not_mapped

            raise not_mapped(self.map.spec, error.errno or 0) from None
        self._mapped.append(mapped)
        view = mapped.view
        self.buffers.append(
            PerfMemory(
                view[PAGESIZE:],
                view[_HEAD : _HEAD + 8].cast("Q"),
                view[_TAIL : _TAIL + 8].cast("Q"),
                cpu=cpu,
                name=self.map.spec.name,
                timed=timed,
                order=self._order,
            )
        )

    def lost(self) -> dict[int, int]:
        """Return how many events found no place, by CPU."""
        if not self._read_format:
            return {buffer.cpu: buffer.lost for buffer in self.buffers}
        return {cpu: unpack("2Q", os.read(fd, 16))[1] for cpu, fd in self.fds.items()}

    def pause(self, pause: bool) -> None:
        """Let no event in, or let them in again."""
        for fd in self.fds.values():
            perf_event.pause_output(fd, pause)

    def settle(self) -> None:
        """Wait until programs that were writing when the buffers were paused have written."""
        online = set(system.online_cpus())
        try:
            grace_period(cpu for cpu in self.fds if cpu in online)
        except OSError as error:
            from bpfasm.kernel.readers.refused import not_settled

            raise not_settled(self.map.spec, error.errno or 0) from None

    def withdraw(self) -> None:
        """Take the events out of the program's array, where that is still open."""
        for _, cpu in () if self.map.closed else self._claims:
            try:
                del self.map[cpu]
            except KeyError:
                continue  # putting it there failed

    def unmap(self, child: bool = False) -> None:
        """Let go of the memory. A child has none: the kernel does not copy these mappings (VM_DONTCOPY)."""
        for buffer in self.buffers:
            buffer.close()
        self.buffers.clear()
        for mapped in self._mapped:
            mapped.forget() if child else mapped.close()
        self._mapped.clear()
        self.fds.clear()
        release(self._claims)
