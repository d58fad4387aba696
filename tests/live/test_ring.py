"""Reading ring buffers: exact counts of known workloads."""

import gc
import os
import select
import signal
import threading
import time

import pytest
from support.helpers import has_helper
from support.producers import MANY, TEXT, Event, by_output, by_reserve, produce, run, texts_by_output

from bpfasm.asm import *
from bpfasm.asm.snippets import ringbuf_reserve, ringbuf_submit
from bpfasm.errors import BpfasmError, DecodeError, KernelError, RecordError
from bpfasm.kernel import load
from bpfasm.kernel.readers.ringbuf import RingReader
from bpfasm.syscall import bpf, system

pytestmark = pytest.mark.lab

PAGE = 4096
CPUS = system.online_cpus()
SIZE = Event.size + 8  # of an event in a ring

#: How long something may take that is to happen at once.
SOON_S = 30


def events(size=PAGE, **more):
    return RingBuf("events", max_entries=size, record=Event, **more)


def numbers(found):
    return [event.number for event in found]


@pytest.fixture
def ring():
    """A program, loaded, and the reader of its ring of a page."""
    spec = events()
    program = by_reserve(spec)
    with load(program) as obj, obj.reader(spec) as reader:
        yield obj[program], reader


@pytest.fixture
def lost():
    return PerCpuArrayMap("lost", value=u64, max_entries=1)


@pytest.mark.parametrize("make", [by_reserve, by_output])
def test_23_in_23_out(make):
    spec = events()
    program = make(spec)
    before = time.monotonic_ns()
    with load(program) as obj, obj.reader(spec) as reader:
        assert reader.drain() == []
        produce(obj[program], 100, 23, tag=7)
        found = reader.drain()
        assert reader.drain() == []
    assert numbers(found) == list(range(100, 123))
    assert {event.tag for event in found} == {7}
    assert all(before < event.time < time.monotonic_ns() for event in found)
    assert [event.time for event in found] == sorted(event.time for event in found)


@pytest.mark.parametrize("make", [by_reserve, by_output])
def test_what_overflows_is_counted(make, lost):
    spec = events()
    program = make(spec, lost)
    room = (PAGE - 1) // SIZE  # the kernel never fills a ring to its last byte
    with load(program) as obj, obj.reader(spec, lost=lost) as reader:
        assert (reader.lost, reader.lost_by_cpu) == (0, {})
        produced = received = 0
        for count in (50, 127, 128, 300, 1000):
            produce(obj[program], produced, count, cpu=CPUS[-1])
            found = reader.drain()
            assert numbers(found) == list(range(produced, produced + min(count, room)))
            produced += count
            received += len(found)
            assert produced == received + reader.lost
        assert reader.lost_by_cpu == {CPUS[-1]: reader.lost}
    assert room == 127
    assert produced - received == 1 + 173 + 873


def test_without_a_counter_nobody_knows_what_was_lost(ring):
    _, reader = ring
    assert reader.lost is None
    assert reader.lost_by_cpu is None


@pytest.mark.parametrize("make", [None, tuple, bytes, memoryview, len])
def test_many_in_order(make):
    spec = events()
    program = by_reserve(spec)
    seen = []
    with load(program) as obj, obj.reader(spec, make=make) as reader:
        for start in range(0, MANY, 50):
            produce(obj[program], start, 50)  # half of the ring: a view's place is free when the next is asked for
            found = reader.drain()
            if make is None:
                seen += numbers(found)
            elif make is tuple:
                seen += [row[0] for row in found]
            elif make is len:
                seen += [start + at for at, length in enumerate(found) if length == Event.size]
            else:
                seen += [Event.from_bytes(bytes(each)).number for each in found]
    assert seen == list(range(MANY))


def test_events_of_every_size_at_every_offset():
    spec = RingBuf("events", max_entries=PAGE)
    program = texts_by_output(spec)
    sent, found = [], []
    with load(program) as obj, obj.reader(spec) as reader:
        for number in range(3 * TEXT):
            size = number * 5 % (TEXT + 1)
            run(obj[program], size, number % 256)
            sent.append(bytes([number % 256]) * size)
            if number % 17 == 0:
                found += reader.drain()
        found += reader.drain()
        assert reader.rings[0].consumer_position == reader.rings[0].producer_position > 5 * PAGE
    assert found == sent


def test_an_event_of_another_size_is_an_error_and_no_loss():
    spec = RingBuf("events", max_entries=PAGE, record=u32)
    program = texts_by_output(spec)
    with load(program) as obj, obj.reader(spec) as reader:
        for size in (4, 4, 5, 4):
            run(obj[program], size, 1)
        with pytest.raises(RecordError, match="an event of 5 bytes came, and u32 is 4") as caught:
            reader.drain()
        assert caught.value.rule == "event-size"
        assert reader.drain() == [0x01010101] * 3


def test_discarded_events_are_passed_over():
    spec = events()
    program = by_reserve(spec, discard_odd=True)
    with load(program) as obj, obj.reader(spec) as reader:
        produce(obj[program], 0, 100)
        assert numbers(reader.drain()) == list(range(0, 100, 2))
        produce(obj[program], 1, 1)
        assert reader.rings[0].available == SIZE
        assert reader.drain() == []
        assert reader.rings[0].available == 0


def test_what_a_ring_tells_of_itself(ring):
    program, reader = ring
    (memory,) = reader.rings
    produce(program, 0, 5)
    assert (memory.size, memory.available, memory.producer_position, memory.consumer_position) == (
        PAGE,
        5 * SIZE,
        5 * SIZE,
        0,
    )
    reader.batch(2)
    assert (memory.available, memory.consumer_position) == (3 * SIZE, 2 * SIZE)


def test_a_later_reader_goes_on_where_one_stopped():
    spec = events()
    program = by_reserve(spec)
    with load(program) as obj:
        produce(obj[program], 0, 10)
        with RingReader(obj[spec]) as reader:
            assert numbers(reader.batch(4)) == [0, 1, 2, 3]
        with RingReader(obj[spec], make=memoryview) as reader:
            assert len(reader.batch(2)) == 2
        with RingReader(obj[spec]) as reader:
            assert numbers(reader.drain()) == [6, 7, 8, 9]


def test_a_ring_has_one_reader(ring):
    _, reader = ring
    with load(events()) as obj, pytest.raises(BpfasmError) as caught:
        obj.reader(events())
        obj.reader(events())
    assert caught.value.rule == "ring-in-use"
    reader.drain()


def test_what_does_not_count_what_is_lost():
    other = HashMap("other", key=u32, value=u64, max_entries=1)
    with load(events(), other) as obj, pytest.raises(BpfasmError) as caught:
        obj.reader(events(), lost=other)
    assert caught.value.what == "other does not count what is lost: it is no per-CPU array"


def test_several_rings_by_one_reader():
    specs = [RingBuf(f"events{number}", max_entries=PAGE, record=Event) for number in range(3)]
    programs = [by_reserve(spec).replace(name=f"program{number}") for number, spec in enumerate(specs)]
    with load(*programs) as obj, obj.reader(*specs) as reader:
        for number, program in enumerate(programs):
            produce(obj[program], 0, 50, tag=number)
        found = []
        for tag in (0, 1, 2, 0, 1, 2):
            batch = reader.batch(20)
            assert [event.tag for event in batch] == [tag] * 20
            found += batch
        found += reader.drain()
    for tag in range(3):
        assert [event.number for event in found if event.tag == tag] == list(range(50))


def test_a_busy_ring_does_not_keep_the_others_waiting():
    specs = [RingBuf(f"events{number}", max_entries=PAGE, record=Event) for number in range(2)]
    programs = [by_reserve(spec).replace(name=f"program{number}") for number, spec in enumerate(specs)]
    with load(*programs) as obj, obj.reader(*specs) as reader:
        produce(obj[programs[1]], 0, 1, tag=1)
        for _ in range(2):
            produce(obj[programs[0]], 0, 10)
            found = reader.batch(10)
        assert 1 in {event.tag for event in found}


# Waiting


def test_no_event_before_the_time_is_up(ring):
    _, reader = ring
    for wait in (lambda: reader.batch(timeout=0.05), lambda: list(reader.events(timeout=0.05))):
        start = time.monotonic()
        assert wait() == []
        assert 0.05 <= time.monotonic() - start < SOON_S
    assert reader.read(timeout=0) is None


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until(condition):
    """Poll until something is so."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        os.sched_yield()


def asleep(reader):
    """Whether somebody sleeps for events: in the kernel, or on the way there for good."""
    return bool(reader._sleepers)


@pytest.mark.lab(on="one")
@pytest.mark.parametrize("rounds", [1, MANY // 20], ids=["once", "often"])
def test_an_event_wakes_the_reader(deep_sleep, ring, rounds):
    program, reader = ring
    found = []
    for number in range(rounds):
        thread = in_thread(lambda: found.append(reader.read(timeout=SOON_S)))
        until(lambda: asleep(reader))
        produce(program, number, 1)
        thread.join()
    assert numbers(found) == list(range(rounds))


@pytest.mark.lab(on="one")
def test_an_iteration_with_a_producer_on_another_cpu(deep_sleep, ring):
    """Many events through a page, in whatever state the reader is: none lost, for the producer waits."""
    program, reader = ring

    def send():
        for start in range(0, MANY, 100):
            until(lambda: reader.rings[0].available < PAGE - 100 * SIZE)
            produce(program, start, 100, cpu=CPUS[-1])

    thread = in_thread(send)
    found = []
    for event in reader.events(timeout=SOON_S):
        found.append(event.number)
        if len(found) == MANY:
            break
    thread.join()
    assert found == list(range(MANY))


def sends_after(spec, name, *wait):
    """Return a program that reserves an event, waits, and submits it."""
    return Program(
        name,
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        [
            *ringbuf_reserve(spec, u64, "full"),
            BPF_MOV64_REG(R6, R0),
            BPF_ST_MEM(BPF_DW, R6, 0, 7),
            *wait,
            *ringbuf_submit(R6),
            label("full"),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_an_event_that_is_being_written_is_not_waited_for_busily(deep_sleep):
    """The ring is readable meanwhile, and says so to whoever polls it; submitting it wakes the reader."""
    spec = RingBuf("events", max_entries=PAGE, record=u64)
    told = ArrayMap("told", value=u64, max_entries=1)
    until_told = Subprog(
        "until_told",
        [
            BPF_LD_MAP_VALUE(R1, told, 0),
            BPF_LDX_MEM(BPF_DW, R1, R1, 0),
            BPF_MOV64_IMM(R0, 0),
            BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
            BPF_MOV64_IMM(R0, 1),  # the end of the loop
            label("out"),
            BPF_EXIT_INSN(),
        ],
    )
    wait = [
        BPF_MOV64_IMM(R1, 1 << 23),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, until_told, 0),
        BPF_MOV64_IMM(R3, 0),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_loop),
    ]
    quick, slow = sends_after(spec, "quick"), sends_after(spec, "slow", *wait * 16)
    if not has_helper(BPF_FUNC_loop):
        pytest.skip("this kernel has no bpf_loop (5.17)")
    obj = load(quick, slow)
    found, looks = [], []

    def read():
        found.append(reader.read(timeout=SOON_S))

    def look():
        looks.append(1)
        return type(reader)._ready(reader)

    def write():
        # The kernel lets nothing else run on the CPU of a program.
        os.sched_setaffinity(0, {CPUS[-1]})
        run(obj[slow], 0)

    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPUS[0]})
    try:
        with obj, obj.reader(spec) as reader:
            thread = in_thread(read)
            until(lambda: asleep(reader))
            run(obj[quick], 0)  # by level, epoll now goes on reporting the ring for as long as it is readable
            thread.join()
            writer = in_thread(write)
            until(lambda: reader.rings[0].available)
            reader._ready = look
            thread = in_thread(read)
            until(lambda: asleep(reader) or found[1:])
            busy = not reader.rings[0].ready()
            obj[told][0] = 1
            writer.join()
            thread.join()
    finally:
        os.sched_setaffinity(0, allowed)
    assert busy
    assert found == [7, 7]
    assert len(looks) < 10


def test_without_a_wakeup_events_wait_for_the_end_of_the_time():
    spec = events()
    program = by_reserve(spec, flags=BPF_RB_NO_WAKEUP)
    with load(program) as obj, obj.reader(spec) as reader:
        found = []
        start = time.monotonic()
        thread = in_thread(lambda: found.extend(reader.batch(timeout=0.3)))
        until(lambda: asleep(reader) or found)
        produce(obj[program], 0, 5)
        thread.join()
        assert numbers(found) == [0, 1, 2, 3, 4]
        assert time.monotonic() - start >= 0.3


def test_a_forced_wakeup_comes_for_every_event(deep_sleep):
    """A reader that has not read all before it is not woken; by force it is."""
    spec = events()
    quiet, loud = by_reserve(spec, flags=BPF_RB_NO_WAKEUP), by_output(spec, flags=BPF_RB_FORCE_WAKEUP)
    with load(quiet, loud) as obj, obj.reader(spec) as reader:
        found = []
        thread = in_thread(lambda: found.extend(reader.batch(timeout=SOON_S)))
        until(lambda: asleep(reader))
        produce(obj[quiet], 0, 5)
        produce(obj[loud], 5, 1)
        thread.join()
        found += reader.drain()
    assert numbers(found) == [0, 1, 2, 3, 4, 5]


def test_a_watermark():
    spec = events()
    program = by_reserve(spec, watermark=20 * SIZE)
    with load(program) as obj, obj.reader(spec) as reader, select.epoll() as waiting:
        waiting.register(obj[spec].fd, select.EPOLLIN | select.EPOLLET)
        wakeups = []
        for number in range(60):
            produce(obj[program], number, 1)
            # The kernel wakes by an interrupt to itself; one that is not to come is not waited for.
            if waiting.poll(5 if number % 20 == 19 else 0):
                wakeups.append(number)
                assert len(reader.drain()) == 20
    assert wakeups == [19, 39, 59]


def test_select(ring):
    program, reader = ring
    assert select.select([reader], [], [], 0)[0] == []
    produce(program, 0, 3)
    assert select.select([reader], [], [], SOON_S)[0] == [reader]
    assert len(reader.drain()) == 3
    assert select.select([reader], [], [], 0)[0] == []


# Closing


def test_close_wakes_a_blocked_reader(deep_sleep, ring):
    _, reader = ring
    ended = []
    threads = [
        in_thread(lambda: ended.append(reader.batch())),
        in_thread(lambda: ended.append(list(reader))),
        in_thread(lambda: ended.append(reader.read())),
    ]
    until(lambda: len(reader._sleepers) == 3)
    start = time.monotonic()
    reader.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < SOON_S
    assert sorted(map(str, ended)) == ["None", "[]", "[]"]
    assert reader.closed
    reader.close()


def test_a_closed_reader_does_not_answer(ring):
    _, reader = ring
    reader.close()
    for access in (reader.batch, reader.drain, reader.read, reader.fileno, lambda: next(iter(reader))):
        with pytest.raises(ValueError, match="<RingReader events> is closed"):
            access()


def test_a_reader_may_be_closed_in_its_own_loop(ring):
    program, reader = ring
    produce(program, 0, 100)
    seen = []
    for event in reader:
        seen.append(event.number)
        if event.number == 9:
            reader.close()
    assert seen == list(range(10))


def test_a_signal_handler_may_close_it(ring):
    _, reader = ring
    before = signal.signal(signal.SIGALRM, lambda *_: reader.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert list(reader) == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert reader.closed


@pytest.mark.lab(on="one")
def test_a_signal_handler_may_read(ring):
    """Whatever the reader is doing at that moment: no event twice, none lost, no deadlock."""
    program, reader = ring
    seen = []

    def handler(*_):
        seen.extend(reader.drain())
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # only now: where all is slow, handlers would pile up

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        for start in range(0, 2 * MANY, 50):
            produce(program, start, 50)
            seen += reader.batch(30, timeout=0)
            seen += reader.batch(30, timeout=0)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # first of all, since the handler sets the timer
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seen += reader.drain()
    assert sorted(numbers(seen)) == list(range(2 * MANY))


# One that comes while Python collects garbage is dropped there, and told of.
@pytest.mark.lab(on="one")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_loses_no_event(ring):
    program, reader = ring
    seen, interrupts = [], 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    produced = 0
    try:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                if reader.rings[0].available < PAGE // 2:
                    produce(program, produced, 50)
                    produced += 50
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                # For ever, were it not that Python drops what is raised while it collects garbage.
                for event in reader.events(timeout=1):
                    seen.append(event)
            except KeyboardInterrupt:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seen += reader.drain()
    assert numbers(seen) == list(range(produced))
    assert interrupts > 20


# Threads and processes


@pytest.mark.lab(on="one")
def test_two_threads_share_the_events(deep_sleep, ring):
    program, reader = ring
    seen = [[], []]
    threads = [in_thread(lambda own=own: own.extend(reader.events(timeout=SOON_S))) for own in seen]
    for start in range(0, 5000, 50):
        until(lambda: reader.rings[0].available < PAGE // 2)
        produce(program, start, 50)
    until(lambda: sum(map(len, seen)) == 5000)
    reader.close()
    for thread in threads:
        thread.join()
    assert sorted(numbers(seen[0] + seen[1])) == list(range(5000))


def test_who_leaves_some_wakes_the_next(deep_sleep, ring):
    """Three wait; one wake-up brings three events, and each reads one."""
    program, reader = ring
    seen = []
    threads = [in_thread(lambda: seen.extend(reader.batch(1, timeout=SOON_S))) for _ in range(3)]
    until(lambda: len(reader._sleepers) == 3)
    start = time.monotonic()
    produce(program, 0, 3)
    for thread in threads:
        thread.join()
    assert sorted(numbers(seen)) == [0, 1, 2]
    assert time.monotonic() - start < SOON_S


@pytest.mark.lab(on="one")
@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_producers_on_every_cpu(lost):
    """The order of each is kept, and what is not received is lost, exactly."""
    spec = events(16 * PAGE)
    program = by_reserve(spec, lost)
    each = 5000
    with load(program) as obj, obj.reader(spec, lost=lost) as reader:
        threads = [
            in_thread(lambda cpu=cpu: produce(obj[program], cpu * each, each, tag=cpu, cpu=cpu)) for cpu in CPUS
        ]
        found = []
        while any(thread.is_alive() for thread in threads):
            found += reader.batch(timeout=0.01)
        found += reader.drain()
        for thread in threads:
            thread.join()
        assert len(found) + reader.lost == each * len(CPUS)
    for cpu in CPUS:
        own = [event for event in found if event.tag == cpu]
        assert {event.cpu for event in own} <= {cpu}
        assert numbers(own) == sorted(numbers(own))
        assert len(set(numbers(own))) == len(own)


def test_a_child_does_not_read(ring):
    program, reader = ring
    produce(program, 0, 10)
    child = os.fork()
    if not child:
        status = 1
        try:
            assert reader.closed
            try:
                reader.drain()
            except ValueError:
                status = 0
            reader.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert numbers(reader.drain()) == list(range(10))


def test_a_fork_while_a_thread_waits(deep_sleep, ring):
    program, reader = ring
    seen = []
    thread = in_thread(lambda: seen.append(reader.read(timeout=SOON_S)))
    until(lambda: asleep(reader))
    child = os.fork()
    if not child:
        os._exit(not reader.closed)
    assert os.waitpid(child, 0)[1] == 0
    produce(program, 5, 1)
    thread.join()
    assert numbers(seen) == [5]


def test_forgotten_it_is_closed_with_a_warning():
    spec = events()
    with load(spec) as obj:
        reader = RingReader(obj[spec])
        with pytest.warns(
            ResourceWarning, match=r"<RingReader events> was never closed; it was made at .*test_ring\.py"
        ):
            del reader
        RingReader(obj[spec]).close()


def test_the_rest_may_be_closed_first():
    spec = events()
    program = by_reserve(spec)
    obj = load(program)
    with RingReader(obj[spec]) as reader:
        produce(obj[program], 0, 3)
        obj.close()
        assert numbers(reader.drain()) == [0, 1, 2]


def test_it_goes_with_the_rest():
    spec = events()
    with load(spec) as obj:
        reader = obj.reader(spec)
    assert reader.closed


# What cannot be


@pytest.mark.parametrize("declare", [HashMap, ArrayMap])
def test_a_map_without_events(declare):
    spec = declare("table", value=u64, max_entries=1, **({"key": u32} if declare is HashMap else {}))
    with load(spec) as obj, pytest.raises(BpfasmError) as caught:
        obj.reader(spec)
    assert caught.value.rule == "no-reader"
    assert caught.value.what.startswith("table is a map of type BPF_MAP_TYPE_")


def test_a_second_reader_of_another_process_breaks_it(ring):
    """It moves the position that this one has read to; what is read then is no record, or this one's again."""
    program, reader = ring
    produce(program, 0, 10)
    (memory,) = reader.rings
    memory._position += PAGE
    with pytest.raises(DecodeError) as caught:
        reader.drain()
    assert caught.value.rule == "ring-broken"
    memory._position -= PAGE
    assert numbers(reader.drain()) == list(range(10))


def test_the_kernel_protects_what_is_its_own(ring):
    _, reader = ring
    (memory,) = reader.rings
    for view in (memory.data, memory.producer):
        with pytest.raises(TypeError, match="read-only"):
            view[0] = 1


@pytest.fixture
def nothing_mapped():
    """Let go of what tests before have left in cycles: a caught error holds its frames."""
    gc.collect()
    assert "bpf-map" not in (system.read("/proc/self/maps") or "")


def test_closed_it_is_unmapped(nothing_mapped, ring):
    program, reader = ring
    produce(program, 0, 3)
    reader.drain()
    assert (system.read("/proc/self/maps") or "").count("bpf-map") == 2
    reader.close()
    assert "bpf-map" not in (system.read("/proc/self/maps") or "")


def test_a_view_outlives_the_reader(nothing_mapped):
    spec = RingBuf("events", max_entries=PAGE)
    program = texts_by_output(spec)
    with load(program) as obj:
        with obj.reader(spec, make=memoryview) as reader:
            run(obj[program], 8, ord("x"))
            (view,) = reader.drain()
            part = view[:4]
        with pytest.raises(ValueError, match="released"):
            view[0]
        assert bytes(part) == b"xxxx"
    del part
    assert "bpf-map" not in (system.read("/proc/self/maps") or "")


def test_memory_that_cannot_be_had(monkeypatch):
    import resource

    spec = events()
    with load(spec) as obj:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, hard))
        try:
            with pytest.raises(KernelError) as caught:
                RingReader(obj[spec])
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert caught.value.rule == "reader-memory"
        RingReader(obj[spec]).close()


# Rings that overwrite


@pytest.fixture
def overwriting():
    """A ring that overwrites its oldest events, where the kernel has that."""
    spec = events(flags=BPF_F_RB_OVERWRITE)
    try:
        fd = bpf.map_create(map_type=spec.type, max_entries=PAGE, map_flags=spec.flags)
    except OSError:
        # The flag is what this kernel does not take: without it there is such a ring.
        os.close(bpf.map_create(map_type=spec.type, max_entries=PAGE))
        pytest.skip("this kernel has no rings that overwrite")
    os.close(fd)
    return spec


def test_a_ring_that_overwrites_keeps_the_newest(overwriting):
    program = by_reserve(overwriting)
    with load(program) as obj, obj.reader(overwriting) as reader:
        produce(obj[program], 0, 50)
        assert numbers(reader.drain()) == list(range(50))
        produce(obj[program], 50, 1000)
        found = numbers(reader.drain())
        assert found == list(range(1050 - len(found), 1050))
        assert len(found) >= 126
        produce(obj[program], 1050, 10)
        assert numbers(reader.drain()) == list(range(1050, 1060))


def test_a_ring_that_overwrites_wakes_its_reader(deep_sleep, overwriting):
    program = by_reserve(overwriting)
    with load(program) as obj, obj.reader(overwriting) as reader:
        for number in (0, 1, 500):
            found = []
            thread = in_thread(lambda found=found: found.append(reader.read(timeout=SOON_S)))
            until(lambda: asleep(reader))
            produce(obj[program], number, 1)
            thread.join()
            assert numbers(found) == [number]
            produce(obj[program], number, 300)
            reader.drain()


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_reading_while_it_is_overwritten(overwriting):
    program = by_reserve(overwriting)
    with load(program) as obj, obj.reader(overwriting) as reader:
        thread = in_thread(lambda: produce(obj[program], 0, 2 * MANY, cpu=CPUS[-1]))
        found = []
        while thread.is_alive():
            found += reader.drain()
        thread.join()
        found += reader.drain()
    seen = numbers(found)
    assert seen == sorted(set(seen))
    assert seen[-1] == 2 * MANY - 1
    assert {(event.cpu, event.tag) for event in found} == {(CPUS[-1], 0)}
    assert len(seen) > 127
