"""How fast events are read, beside what else reads them.

    python3 bench/readers.py [ROUNDS]

A program fills a buffer with events of 48 bytes, and a reader drains it; only the draining is timed. The readers take
turns, so that a busy moment of the machine meets them all; medians are printed, in ns an event. The floor is what
Python can do at all: ``struct.iter_unpack`` over the memory, which makes a tuple of each event and drops it.

libbpf is among them where gcc and libbpf-dev are there, BCC where this interpreter has it (Debian's python3-bpfcc; on
another kernel than its own it needs BCC_KERNEL_SOURCE, a tree of kernel headers).
"""

import ctypes
import os
import sys
import time
from pathlib import Path
from statistics import median
from struct import Struct

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import peers  # noqa: E402

from bpfasm import asm  # noqa: E402
from bpfasm.asm.snippets import perf_output, ringbuf_output  # noqa: E402
from bpfasm.kernel import load  # noqa: E402
from bpfasm.kernel.maps.map import LoadedMap  # noqa: E402
from bpfasm.kernel.readers.perfbuf import PerfReader  # noqa: E402
from bpfasm.kernel.readers.ringbuf import RingReader  # noqa: E402

#: Events a round, and the bytes of the buffers that hold them.
EVENTS = 100_000
BYTES = 8 << 20

#: Events that the program sends at once; the kernel looks at each round of its loop.
BURST = 50

#: BCC's callbacks that ours is set beside: one that does nothing, and one that looks at a field.
BESIDE = ("BCC, a callback that returns 0", "BCC, looking at a field, returns 0")

#: Events in a batch.
BATCH = 1024


class Event(asm.Record):
    """What a tool such as opensnoop sends."""

    time = asm.u64("ns since boot")
    pid = asm.u32("tgid")
    tid = asm.u32("pid")
    uid = asm.u32("user")
    result = asm.s32("what was returned")
    number = asm.u64("which it is")
    comm = asm.chars(16)("name of the thread")


RING = asm.RingBuf("events", max_entries=BYTES, record=Event)
ARRAY = asm.PerfEventArray("events", record=Event)


def sender(send):
    """Return a program that does ``send`` BURST times with an event on the stack."""
    fill = [asm.BPF_ST_MEM(asm.BPF_DW, asm.FP, at, 0x61626364 if at < -48 + 48 else 0) for at in range(-48, 0, 8)]
    return asm.Program(
        "sender",
        asm.BPF_PROG_TYPE_RAW_TRACEPOINT,
        [
            asm.BPF_MOV64_REG(asm.R6, asm.R1),
            *fill,
            asm.BPF_MOV64_IMM(asm.R7, 0),
            asm.label("again"),
            asm.BPF_JMP_IMM(asm.BPF_JGE, asm.R7, BURST, "out"),
            *send,
            asm.label("next"),
            asm.BPF_ALU64_IMM(asm.BPF_ADD, asm.R7, 1),
            asm.BPF_JMP_A("again"),
            asm.label("out"),
            asm.BPF_MOV64_IMM(asm.R0, 0),
            asm.BPF_EXIT_INSN(),
        ],
    )


def by_ring(flags=asm.BPF_RB_NO_WAKEUP):
    """Return the program that fills a ring."""
    return sender(ringbuf_output(RING, -48, Event, "next", flags=flags))


def by_perf():
    """Return the program that fills perf buffers."""
    return sender(perf_output(asm.R6, ARRAY, -48, Event))


def fill(program):
    """Send EVENTS events."""
    for _ in range(EVENTS // BURST):
        program.test_run(ctx=bytes(8))


# Ring buffers: each gives a function that drains, and returns how many events there were


def floor(reader):
    """Unpack the memory of a ring that holds nothing but these events, as fast as Python can."""
    (ring,) = reader.rings
    step = Event.size + 8
    unpack = Struct("=8xQIIIiQ16s").iter_unpack

    def drain():
        start, end = ring.consumer[0], ring.producer[0]
        at = start & ring.size - 1
        count = 0
        for _ in unpack(ring.data[at : at + end - start]):
            count += 1
        ring.consumer[0] = ring._position = end
        assert count * step == end - start
        return count

    return drain


def batches(reader):
    """Read lists of BATCH."""

    def drain():
        count = 0
        while batch := reader.batch(BATCH, timeout=0):
            for _ in batch:
                count += 1
        return count

    return drain


def one_by_one(reader):
    """Read in a loop."""

    def drain():
        count = 0
        for _ in reader.events(timeout=60):
            count += 1
            if count == EVENTS:
                break
        return count

    return drain


def with_field(reader):
    """Read in a loop, and look at a field, as a tool does."""

    def drain():
        count = total = 0
        for event in reader.events(timeout=60):
            total += event.pid
            count += 1
            if count == EVENTS:
                break
        return count

    return drain


def callback(reader):
    """Call a function for each event, as BCC and libbpf do."""
    counter = [0]

    def called(event):
        counter[0] += 1
        return 0

    def drain():
        counter[0] = 0
        while batch := reader.batch(BATCH, timeout=0):
            for event in batch:
                called(event)
        return counter[0]

    return drain


LIBBPF = """
#include <bpf/libbpf.h>
static long count;
static int called(void *ctx, void *data, size_t size) { count++; return 0; }
struct ring_buffer *reader(int fd) { return ring_buffer__new(fd, called, NULL, NULL); }
long drain(struct ring_buffer *rb) { count = 0; ring_buffer__consume(rb); return count; }
"""


def libbpf():
    """Return libbpf's reader of rings, compiled; None where it cannot be."""
    found = peers.compiled(LIBBPF)
    if found is None:
        return None
    found.reader.restype = found.drain.restype = ctypes.c_long
    found.drain.argtypes = [ctypes.c_long]
    return found


def bcc():
    """Return BCC with a ring, perf buffers, and the layout of an event; None where it cannot be."""
    text = f"""
        struct event {{ u64 time; u32 pid, tid, uid; s32 result; u64 number; char comm[16]; }};
        BPF_RINGBUF_OUTPUT(none, 1);
        BPF_RINGBUF_OUTPUT(nothing, {BYTES >> 12});
        BPF_RINGBUF_OUTPUT(field, {BYTES >> 12});
        BPF_PERF_OUTPUT(buffers);
        int f(struct pt_regs *ctx) {{
            struct event e = {{}};
            nothing.ringbuf_output(&e, sizeof(e), 0);
            field.ringbuf_output(&e, sizeof(e), 0);
            buffers.perf_submit(ctx, &e, sizeof(e));
            return 0;
        }}
    """
    return peers.bcc(text)


class Peers:
    """Readers of BCC: one callback that returns 0 at once, one that looks at a field first."""

    def __init__(self, library):
        self.library = library
        self.count = self.seen = 0
        library["nothing"].open_ring_buffer(self.nothing)
        library["field"].open_ring_buffer(self.field)
        library["buffers"].open_perf_buffer(self.perf, page_cnt=BYTES >> 12)

    def nothing(self, ctx, data, size):
        self.count += 1
        return 0

    def field(self, ctx, data, size):
        self.seen = self.library["field"].event(data).pid
        self.count += 1
        return 0

    def perf(self, cpu, data, size):
        self.seen = self.library["buffers"].event(data).pid
        self.count += 1

    def ring(self):
        self.count = 0
        self.library.ring_buffer_consume()
        return self.count

    def perf_buffers(self):
        self.count = 0
        self.library.perf_buffer_poll(0)
        return self.count


class Variant:
    """A reader: how its buffer is filled and drained, and how long the drains took."""

    def __init__(self, name, program, drain):
        self.name, self.program, self.drain = name, program, drain
        self.times = []

    def round(self):
        """Fill, drain, and keep the time."""
        fill(self.program)
        begin = time.thread_time()
        count = self.drain()
        taken = time.thread_time() - begin
        if count != EVENTS:
            raise SystemExit(f"{self.name}: {count} of {EVENTS} events came")
        self.times.append(taken / EVENTS * 1e9)


def ours(kept, read, make=None):
    """Return a ring's program and what drains it."""
    obj = kept(load(by_ring()))
    return obj.programs[0], read(kept(RingReader(obj[RING], make=make)))


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    held = []

    def kept(owned):
        held.append(owned)
        return owned

    rings = [
        Variant("struct.iter_unpack (the floor)", *ours(kept, floor)),
        Variant("batch(1024) of tuples", *ours(kept, batches, tuple)),
        Variant("batch(1024) of records", *ours(kept, batches)),
        Variant("for tuple in reader", *ours(kept, one_by_one, tuple)),
        Variant("for record in reader", *ours(kept, one_by_one)),
        Variant("... looking at a field", *ours(kept, with_field)),
        Variant("a callback for each record", *ours(kept, callback)),
        Variant("a callback for each tuple", *ours(kept, callback, tuple)),
        Variant("for bytes in reader (any size)", *ours(kept, one_by_one, bytes)),
        Variant("for memoryview in reader (any size)", *ours(kept, one_by_one, memoryview)),
    ]
    perf_obj = [kept(load(by_perf())) for _ in range(3)]
    options = {"pages": BYTES >> 12, "wakeup_events": 0}
    perfs = [
        Variant(
            "perf: batch(1024) of tuples",
            perf_obj[0].programs[0],
            batches(kept(PerfReader(perf_obj[0][ARRAY], tuple, **options))),
        ),
        Variant(
            "perf: for record in reader",
            perf_obj[1].programs[0],
            one_by_one(kept(PerfReader(perf_obj[1][ARRAY], **options))),
        ),
        Variant(
            "perf: ... looking at a field",
            perf_obj[2].programs[0],
            with_field(kept(PerfReader(perf_obj[2][ARRAY], **options))),
        ),
    ]
    found = libbpf()
    if found is not None:
        obj = kept(load(by_ring()))
        handle = found.reader(obj[RING].fd)
        rings.append(Variant("libbpf (C), a callback", obj.programs[0], lambda: found.drain(handle)))
    library = bcc()
    if library is not None:
        theirs = Peers(library)
        for name, table, spec, make, drain in (
            ("BCC, a callback that returns 0", "nothing", RING, by_ring, theirs.ring),
            ("BCC, looking at a field, returns 0", "field", RING, by_ring, theirs.ring),
            ("perf: BCC, looking at a field", "buffers", ARRAY, by_perf, theirs.perf_buffers),
        ):
            lent = kept(LoadedMap.from_fd(os.dup(library[table].map_fd), spec))
            obj = kept(load(make(), lent))
            (perfs if spec is ARRAY else rings).append(Variant(name, obj.programs[0], drain))
    try:
        for _ in range(rounds):
            for variant in rings + perfs:
                variant.round()
    finally:
        for owned in reversed(held):
            owned.close()
    least = median(rings[0].times)
    times = {v.name: median(v.times) for v in rings + perfs}
    print(f"{os.uname().release}, Python {sys.version.split()[0]}, median of {rounds}, {EVENTS} events of 48 bytes")
    print(f"{'':<38} {'ns/event':>9} {'M/s':>6} {'floor':>6} {'BCC':>6} {'field':>6}")
    for variant in rings + perfs:
        taken = times[variant.name]
        # A callback of BCC's for perf buffers is given no more than an address: it looks at a field.
        beside = ["", "perf: BCC, looking at a field"] if variant in perfs else list(BESIDE)
        ratios = "".join(f" {times[peer] / taken:6.1f}" if peer in times else f" {'':>6}" for peer in beside)
        print(f"{variant.name:<38} {taken:9.1f} {1e3 / taken:6.2f} {taken / least:6.2f}{ratios}".rstrip())


if __name__ == "__main__":
    main()
