"""``RingReader``: the events of ring buffers (BPF_MAP_TYPE_RINGBUF)."""

from __future__ import annotations

from bpfasm.asm.ringmem import RingMemory
from bpfasm.asm.shape import shape_of
from bpfasm.kernel.readers.claims import claim, release
from bpfasm.kernel.readers.reader import Reader
from bpfasm.syscall.memory import PAGESIZE, Mapped
from bpfasm.uapi.bpf import BPF_F_RB_OVERWRITE, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_RINGBUF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.shape import Shape
    from bpfasm.kernel.maps.map import LoadedMap
    from bpfasm.kernel.readers.claims import Claim


class RingReader(Reader):
    """Read the events of one or several ring buffers.

    ``make`` is what to make of an event: a Record class, a type, ``tuple``, ``bytes``, ``memoryview``, or a function
    of a memoryview; where it is None, what the ring was declared with (``record=``), else bytes. A tuple has a
    record's fields as ``struct`` unpacks them, texts with their zeros; it takes a third of the time. A view is of the
    ring's own memory: it is valid until the next event is read.

    ``lost`` is a per-CPU array whose element 0 counts, by CPU, what found no place: a ring does not count that
    itself, and the snippets ``ringbuf_reserve`` and ``ringbuf_output`` do.

    In a ring that overwrites (BPF_F_RB_OVERWRITE, from kernel 6.19 on) events are copied before they are decoded;
    those that were overwritten before are passed over.

    Raises KernelError, FeatureMissing; RecordError for a ``make`` that is none.
    """

    def __init__(self, map: LoadedMap, *more: LoadedMap, make: Any = None, lost: LoadedMap | None = None) -> None:
        maps = (map, *more)
        for each in maps:
            if each.spec.type != BPF_MAP_TYPE_RINGBUF:
                from bpfasm.kernel.readers.refused import no_reader

                raise no_reader(each.spec, "RingReader")
        if lost is not None and lost.spec.type != BPF_MAP_TYPE_PERCPU_ARRAY:
            from bpfasm.kernel.readers.refused import no_counter

            raise no_counter(lost.spec)
        shapes = [shape_of(make, each.spec.record) for each in maps]
        super().__init__(", ".join(each.spec.name for each in maps))
        self._lost = lost
        self._mapped: list[Mapped] = []
        self._claims: list[Claim] = []
        self._rings: list[tuple[RingMemory, Shape]] = []
        self._first = 0
        try:
            for each, shape in zip(maps, shapes, strict=True):
                self._claims.append(claim(each))  # one reader: its position frees what was read
                self._rings.append((self._map(each), shape))
            self._watch(each.fd for each in maps)
        except BaseException:
            self.close()
            raise

    @property
    def rings(self) -> tuple[RingMemory, ...]:
        """The memory of each ring: its ``size``, what is ``available``, and its positions, in bytes."""
        return tuple(ring for ring, _ in self._rings)

    @property
    def lost_by_cpu(self) -> dict[int, int] | None:
        """How many events found no place, by CPU, where that is counted; None where nobody counts."""
        return None if self._lost is None else {cpu: n for cpu, n in enumerate(self._lost[0]) if n}

    def _map(self, map: LoadedMap) -> RingMemory:
        try:
            # The kernel lets nobody write the rest, and maps the data twice in a row.
            consumer = Mapped(map.fd, PAGESIZE, write=True)
            self._mapped.append(consumer)
            rest = Mapped(map.fd, PAGESIZE + 2 * map.spec.max_entries, PAGESIZE)
            self._mapped.append(rest)
        except OSError as error:
            from bpfasm.kernel.readers.refused import not_mapped

            raise not_mapped(map.spec, error.errno or 0, map.fd) from None
        return RingMemory(
            rest.view[PAGESIZE:],
            rest.view[:PAGESIZE].cast("Q"),
            consumer.view.cast("Q"),
            name=map.spec.name,
            overwrites=bool(map.spec.flags & BPF_F_RB_OVERWRITE),
            order=self._acquire,
        )

    def _take(self, out: list[Any], limit: int) -> None:
        rings = self._rings
        for number in range(self._first, self._first + len(rings)):
            ring, shape = rings[number % len(rings)]
            ring.take(shape, limit - len(out), out)
            if len(out) >= limit:
                # The next one begins where this one stopped, so that a busy ring does not keep the others waiting.
                self._first = (number + 1) % len(rings)
                return

    def _ready(self) -> bool:
        return any(ring.ready() for ring, _ in self._rings)

    def _withdraw(self) -> None:
        for ring in self.rings:
            ring.release()

    def _unmap(self, child: bool) -> None:
        release(self._claims)
        for ring, _ in self._rings:
            ring.close()
        self._rings.clear()
        for mapped in self._mapped:
            mapped.close()
