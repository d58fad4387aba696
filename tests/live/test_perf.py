"""Reading perf buffers: exact counts of known workloads, on every CPU that is online."""

import itertools
import os
import select
import struct
import threading
import time

import pytest
from support import zygote
from support.producers import MANY, TEXT, Event, by_perf, produce, run, texts_by_perf

from bpfasm.asm import *
from bpfasm.asm.perfmem import Lost
from bpfasm.errors import BpfasmError, KernelError, RecordError
from bpfasm.kernel import load
from bpfasm.kernel.readers.perfbuf import FlightRecorder, PerfReader
from bpfasm.syscall import perf_event, system
from bpfasm.uapi.perf_event import PERF_COUNT_SW_BPF_OUTPUT, PERF_FORMAT_LOST, PERF_TYPE_SOFTWARE

pytestmark = pytest.mark.lab

PAGE = 4096
CPUS = system.online_cpus()
SIZE = (8 + 4 + Event.size + 7) // 8 * 8  # of a sample
SOON_S = 30

spec = PerfEventArray("events", record=Event)
program = by_perf(spec)


@pytest.fixture
def obj():
    with load(program) as loaded:
        yield loaded


def numbers(found):
    return [event.number for event in found]


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


def kernel_counts_lost():
    """Whether the kernel tells how many events found no place (6.0)."""
    try:
        os.close(
            perf_event.perf_event_open(
                cpu=CPUS[0],
                type=PERF_TYPE_SOFTWARE,
                config=PERF_COUNT_SW_BPF_OUTPUT,
                read_format=PERF_FORMAT_LOST,
            )
        )
    except OSError:
        return False
    return True


def test_23_in_23_out(obj):
    with obj.reader(spec) as reader:
        assert reader.cpus == tuple(CPUS)
        for cpu in CPUS:
            assert reader.drain() == []
            produce(obj[program], 100, 23, tag=7, cpu=cpu)
            found = reader.drain()
            assert (reader.lost, reader.lost_by_cpu) == (0, {})
            assert numbers(found) == list(range(100, 123))
            assert {(event.tag, event.cpu) for event in found} == {(7, cpu)}


@pytest.mark.parametrize("make", [None, tuple, bytes, memoryview, len])
def test_many_in_order(obj, make):
    seen = []
    with obj.reader(spec, make=make, pages=1) as reader:
        for start in range(0, MANY, 50):
            produce(obj[program], start, 50, cpu=CPUS[-1])
            found = reader.drain()
            if make is None:
                seen += numbers(found)
            elif make is tuple:
                seen += [row[0] for row in found]
            elif make is len:
                seen += [start + at for at, length in enumerate(found) if length == Event.size + 4]
            else:
                seen += [struct.unpack_from("=Q", each)[0] for each in found]
        assert reader.lost == 0
    assert seen == list(range(MANY))


def test_what_overflows_is_counted(obj):
    """It is told before the next event that finds a place, and by newer kernels at once."""
    with obj.reader(spec, pages=1, show_lost=True) as reader:
        produced = received = told = 0
        for count in (50, 127, 128, 300, 1000):
            produce(obj[program], produced, count, cpu=CPUS[-1])
            produced += count
            if kernel_counts_lost():
                found = reader.drain()
                received += sum(isinstance(each, Event) for each in found)
                told += sum(each.count for each in found if isinstance(each, Lost))
                assert produced == received + reader.lost
            else:
                received += sum(isinstance(each, Event) for each in reader.drain())
            # The one more that tells how many were lost before it.
            produce(obj[program], produced, 1, cpu=CPUS[-1])
            produced += 1
            *before, last = reader.drain()
            assert last.number == produced - 1
            received += 1
            told += sum(each.count for each in before)
            assert produced == received + reader.lost
            assert told == reader.lost
        assert reader.lost_by_cpu == {CPUS[-1]: reader.lost}
        assert reader.lost > 1000


def test_what_was_lost_stands_where_it_would_have_been(obj):
    with obj.reader(spec, pages=1, show_lost=True) as reader:
        room = PAGE // SIZE
        produce(obj[program], 0, room + 5, cpu=CPUS[0])
        reader.batch(room // 2)
        produce(obj[program], 1000, 3, cpu=CPUS[0])
        found = reader.drain()
    at = next(number for number, each in enumerate(found) if isinstance(each, Lost))
    before, gap, after = found[:at], found[at], found[at + 1 :]
    assert numbers(after) == [1000, 1001, 1002]
    assert gap == Lost(CPUS[0], room + 5 - 1 - before[-1].number)


@pytest.mark.lab(on="one")
def test_events_of_every_size_at_every_offset():
    events = PerfEventArray("events")
    texts = texts_by_perf(events)
    sent, found = [], []
    with load(texts) as obj, obj.reader(events, pages=1) as reader:
        for number in range(4 * TEXT):
            size = number * 5 % TEXT + 1
            run(obj[texts], size, number % 255 + 1, cpu=CPUS[0])
            sent.append(bytes([number % 255 + 1]) * size)
            if number % 17 == 0:
                found += reader.drain()
        found += reader.drain()
        assert reader.lost == 0
    assert len(found) == len(sent)
    assert all(
        got[: len(text)] == text and len(got) - len(text) in range(8) for got, text in zip(found, sent, strict=True)
    )


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_events_of_all_cpus_in_the_order_of_their_times(obj):
    with obj.reader(spec, ordered=True) as reader:
        for number in range(500):
            produce(obj[program], number, 1, cpu=CPUS[number % len(CPUS)])
        found = reader.drain()
        assert reader.drain() == []
    assert numbers(found) == list(range(500))
    assert {event.cpu for event in found} == set(CPUS)


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_in_order_while_all_cpus_go_on(obj):
    each = 5000
    with obj.reader(spec, ordered=True, pages=64) as reader:
        threads = [in_thread(lambda cpu=cpu: produce(obj[program], 0, each, tag=cpu, cpu=cpu)) for cpu in CPUS]
        found = []
        while any(thread.is_alive() for thread in threads):
            found += reader.batch(1000, timeout=0.01)
        for thread in threads:
            thread.join()
        found += reader.drain() + reader.drain()
        lost = reader.lost
    assert len(found) + lost == each * len(CPUS)
    # The program's time is taken a moment before the kernel's: two CPUs may be that much apart.
    disorder = [a.time - b.time for a, b in itertools.pairwise(found) if a.time > b.time and a.cpu != b.cpu]
    assert len(disorder) < len(found) / 10
    for cpu in CPUS:
        own = numbers(event for event in found if event.cpu == cpu)
        assert own == sorted(own)


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_what_was_lost_is_in_order_too(obj):
    with obj.reader(spec, ordered=True, pages=1, show_lost=True) as reader:
        produce(obj[program], 0, 1, cpu=CPUS[0])
        produce(obj[program], 0, 200, cpu=CPUS[1])
        reader.drain()
        produce(obj[program], 500, 1, cpu=CPUS[0])
        produce(obj[program], 501, 1, cpu=CPUS[1])
        found = reader.drain()
    assert [type(each) for each in found] == [Event, Lost, Event]
    assert (found[0].number, found[1].cpu, found[2].number) == (500, CPUS[1], 501)


@pytest.mark.lab(on="one")
def test_events_wake_the_reader(deep_sleep, obj):
    with obj.reader(spec) as reader:
        found = []
        for number in range(100):
            thread = in_thread(lambda: found.append(reader.read(timeout=SOON_S)))
            until(lambda: reader._sleepers)
            produce(obj[program], number, 1, cpu=CPUS[number % len(CPUS)])
            thread.join()
    assert numbers(found) == list(range(100))


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize(
    ("options", "wakeups"),
    [
        ({"pages": 2, "wakeup_events": 20}, [19, 39, 59]),
        ({"pages": 2, "wakeup_watermark": 20 * SIZE - 1}, [19, 39, 59]),
        ({"pages": 1, "wakeup_events": 0}, [PAGE // SIZE // 2]),
        ({"pages": 1, "wakeup_events": 1}, list(range(70))),
        ({}, list(range(70))),
    ],
)
def test_wakeups(obj, options, wakeups):
    cpu = CPUS[0]
    with obj.reader(spec, cpus=[cpu], **options) as reader, select.epoll() as waiting:
        waiting.register(reader._perf.fds[cpu], select.EPOLLIN | select.EPOLLET)
        seen = []
        for number in range(70):
            produce(obj[program], number, 1, cpu=cpu)
            if waiting.poll(5 if number in wakeups else 0):
                seen.append(number)
        assert seen == wakeups
        assert len(reader.drain()) == 70


def test_what_woke_nobody_is_there_when_the_time_is_up(obj):
    with obj.reader(spec, wakeup_events=100) as reader:
        found = []
        thread = in_thread(lambda: found.extend(reader.batch(timeout=0.2)))
        until(lambda: reader._sleepers or found)
        produce(obj[program], 0, 5)
        thread.join()
        assert numbers(found) == [0, 1, 2, 3, 4]


def test_close_wakes_a_blocked_reader(deep_sleep, obj):
    with obj.reader(spec) as reader:
        ended = []
        thread = in_thread(lambda: ended.append(list(reader)))
        until(lambda: reader._sleepers)
        reader.close()
        thread.join()
    assert ended == [[]]
    for access in (reader.drain, reader.pause, reader.resume, lambda: reader.lost):
        with pytest.raises(ValueError, match="<PerfReader events> is closed"):
            access()


def test_pause_and_resume(obj):
    with obj.reader(spec) as reader:
        produce(obj[program], 0, 3)
        reader.pause()
        produce(obj[program], 3, 4, cpu=CPUS[0])
        reader.resume()
        produce(obj[program], 7, 2, cpu=CPUS[0])
        assert sorted(numbers(reader.drain())) == [0, 1, 2, 7, 8]
        assert reader.lost == 4


def test_after_the_reader_programs_find_no_buffer(obj):
    failed = PerfEventArray("events")
    told = Program(
        "told",
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        [
            BPF_ST_MEM(BPF_DW, FP, -8, 0),
            BPF_LD_MAP_FD(R2, failed),
            BPF_MOV32_IMM(R3, BPF_F_CURRENT_CPU),
            BPF_MOV64_REG(R4, FP),
            BPF_ALU64_IMM(BPF_ADD, R4, -8),
            BPF_MOV64_IMM(R5, 8),
            BPF_EMIT_CALL(BPF_FUNC_perf_event_output),
            BPF_EXIT_INSN(),
        ],
    )
    with load(told) as other:
        no_buffer = run(other[told], 0, cpu=CPUS[0])
        with other.reader(failed, cpus=CPUS[:1]) as reader:
            assert reader.cpus == tuple(CPUS[:1])
            assert run(other[told], 0, cpu=CPUS[0]) == 0
            assert len(reader.drain()) == 1
            if len(CPUS) > 1:
                assert run(other[told], 0, cpu=CPUS[1]) == no_buffer
        assert run(other[told], 0, cpu=CPUS[0]) == no_buffer == (1 << 32) - 2  # -ENOENT


def test_a_cpu_that_is_not_online_is_passed_over(obj):
    """One may come after the last possible one: the kernel then says EINVAL, and that is an error."""
    offline = [cpu for cpu in range(system.possible_cpus()) if cpu not in CPUS]
    if offline:
        with PerfReader(obj[spec], cpus=[*CPUS, *offline]) as reader:
            assert reader.cpus == tuple(CPUS)
        with pytest.raises(KernelError, match="none of the CPUs") as caught:
            PerfReader(obj[spec], cpus=offline)
        assert caught.value.rule == "perf-open"
    with pytest.raises(KernelError) as caught:
        PerfReader(obj[spec], cpus=[1 << 20])
    assert caught.value.rule == "perf-open"


@pytest.fixture
def spare_cpu():
    """A CPU that can be taken offline, in a guest of the lab: nobody else's there."""
    if not zygote.IN_GUEST:
        pytest.skip("CPUs are taken offline in the lab only")
    switch = f"/sys/devices/system/cpu/cpu{CPUS[-1]}/online"
    if len(CPUS) < 2 or not os.path.exists(switch):
        pytest.skip("no CPU can be taken offline here")

    def turn(on):
        with open(switch, "w") as file:
            file.write(str(int(on)))

    yield CPUS[-1], turn
    turn(True)


def test_a_cpu_that_goes_offline(obj, spare_cpu):
    cpu, turn = spare_cpu
    turn(False)
    with obj.reader(spec) as reader:
        assert reader.cpus == tuple(CPUS[:-1])
        produce(obj[program], 0, 3, cpu=CPUS[0])
        turn(True)
        produce(obj[program], 3, 3, cpu=cpu)
        assert numbers(reader.drain()) == [0, 1, 2]
    with obj.reader(spec) as reader:
        assert reader.cpus == tuple(CPUS)
        produce(obj[program], 0, 3, cpu=cpu)
        turn(False)
        produce(obj[program], 3, 3, cpu=CPUS[0])
        assert sorted(numbers(reader.drain())) == [0, 1, 2, 3, 4, 5]


# Recording


@pytest.mark.parametrize("count", [0, 1, 50, 1000])
def test_a_flight_recorder_keeps_the_last_events(obj, count):
    cpu = CPUS[0]
    room = PAGE // (SIZE + 8)  # each has its time
    with FlightRecorder(obj[spec], pages=1) as recorder:
        assert recorder.cpus == tuple(CPUS)
        produce(obj[program], 0, count, cpu=cpu)
        found = recorder.snapshot()
        assert numbers(found) == list(range(max(0, count - room), count))
        assert recorder.snapshot() == found
        produce(obj[program], count, 3, cpu=cpu)
        assert numbers(recorder.snapshot())[-3:] == list(range(count, count + 3))


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_a_flight_recorder_puts_cpus_in_order(obj):
    with FlightRecorder(obj[spec], pages=1) as recorder:
        for number in range(1000):
            produce(obj[program], number, 1, cpu=CPUS[number % len(CPUS)])
        found = numbers(recorder.snapshot())
    assert found == list(range(1000 - len(found), 1000))
    assert len(found) > 150


def test_a_snapshot_while_programs_go_on(obj):
    with FlightRecorder(obj[spec], pages=1) as recorder:
        thread = in_thread(lambda: produce(obj[program], 0, 5000, cpu=CPUS[-1]))
        while thread.is_alive():
            found = numbers(recorder.snapshot())
            assert found == sorted(set(found))
        thread.join()
        # What came while it was read is missing, and after that all are there.
        produce(obj[program], 5000, 100, cpu=CPUS[-1])
        assert numbers(recorder.snapshot())[-50:] == list(range(5050, 5100))


@pytest.mark.parametrize("kind", [PerfReader, FlightRecorder])
def test_an_array_has_one_reader_for_each_cpu(obj, kind):
    """A second one is refused, or fails, and the first still has what comes."""
    with obj.reader(spec) as reader:
        for pages, error in ((8, "ring-in-use"), (1 << 30, "")):
            with pytest.raises(BpfasmError) as caught:
                kind(obj[spec], pages=pages)
            assert caught.value.rule == error or not error
        produce(obj[program], 0, 23)
        assert numbers(reader.drain()) == list(range(23))
    with kind(obj[spec]) as again:
        produce(obj[program], 0, 5)
        assert numbers(again.drain() if kind is PerfReader else again.snapshot()) == list(range(5))


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_readers_of_different_cpus_share_an_array(obj):
    with PerfReader(obj[spec], cpus=CPUS[:1]) as one, PerfReader(obj[spec], cpus=CPUS[1:]) as rest:
        produce(obj[program], 0, 5, cpu=CPUS[0])
        produce(obj[program], 5, 5, cpu=CPUS[-1])
        assert (numbers(one.drain()), numbers(rest.drain())) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])


def test_a_closed_flight_recorder_does_not_answer(obj):
    with FlightRecorder(obj[spec]) as recorder:
        pass
    recorder.close()
    with pytest.raises(ValueError, match="<FlightRecorder events> is closed"):
        recorder.snapshot()
    recorder = FlightRecorder(obj[spec])
    with pytest.warns(ResourceWarning, match="<FlightRecorder events> was never closed"):
        del recorder


# Processes


def test_a_child_does_not_read(obj):
    """It does not even have the memory: the kernel does not give it to children (VM_DONTCOPY)."""
    other = PerfEventArray("other", record=Event)
    with load(other) as more, more.reader(other) as reader, FlightRecorder(obj[spec]) as recorder:
        child = os.fork()
        if not child:
            status = 1
            try:
                reader.close()
                recorder.close()
                status = not (reader.closed and recorder.closed)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        produce(obj[program], 0, 5)
        assert numbers(recorder.snapshot()) == [0, 1, 2, 3, 4]


@pytest.mark.lab(on="one")
def test_a_child_keeps_what_is_where_the_buffers_were(python):
    """The kernel leaves a hole there, and what the child maps first may come to lie in it."""
    code = """
        import ctypes, mmap, os
        there = []

        def fill():
            while len(there) < 100:
                there.append(mmap.mmap(-1, 17 * mmap.PAGESIZE))

        os.register_at_fork(after_in_child=fill)  # before bpfasm's own
        from bpfasm.asm import *
        from bpfasm.kernel import load
        from bpfasm.kernel.readers.perfbuf import FlightRecorder

        read, recorded = PerfEventArray("read"), PerfEventArray("recorded")
        with (
            load(read, recorded) as obj,
            obj.reader(read, pages=16) as reader,
            FlightRecorder(obj[recorded], pages=16) as recorder,
        ):
            places = {ctypes.addressof(each._memory) for owner in (reader, recorder) for each in owner._perf._mapped}
            child = os.fork()
            if not child:
                inside = {ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in there} & places
                for each in there:
                    each[0] = 1
                os._exit(0 if inside else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("0\n", "")


# What cannot be


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("pages", [0, 3, 6, -1, 100])
def test_pages_are_a_power_of_two(obj, pages):
    with pytest.raises(BpfasmError, match=f"a power of two of pages, and {pages} is none") as caught:
        obj.reader(spec, pages=pages)
    assert caught.value.rule == "perf-buffer"


def test_one_way_to_be_woken(obj):
    with pytest.raises(BpfasmError, match="share a field") as caught:
        obj.reader(spec, wakeup_events=1, wakeup_watermark=100)
    assert caught.value.rule == "perf-buffer"


@pytest.mark.parametrize(
    "make", [lambda map: PerfReader(map, memoryview, ordered=True), lambda map: FlightRecorder(map, memoryview)]
)
def test_no_views_of_what_is_used_again(obj, make):
    with pytest.raises(RecordError, match="their memory is used again") as caught:
        make(obj[spec])
    assert caught.value.rule == "event-make"


def test_a_map_that_is_none(obj):
    table = ArrayMap("table", value=u64, max_entries=1)
    with load(table) as other:
        for reader in (PerfReader, FlightRecorder):
            with pytest.raises(BpfasmError, match="table is a map of type BPF_MAP_TYPE_ARRAY") as caught:
                reader(other[table])
            assert caught.value.rule == "no-reader"


@pytest.mark.lab(on="ends")
def test_without_the_privilege(python):
    code = """
        import os
        from bpfasm.asm import *
        from bpfasm.errors import BpfasmError
        from bpfasm.kernel import load
        import bpfasm.kernel.readers.perfbuf, bpfasm.kernel.readers.refused  # the next user may not read these

        spec = PerfEventArray("events")
        with load(spec) as obj:
            os.setresuid(65534, 65534, 65534)
            try:
                obj.reader(spec)
            except BpfasmError as error:
                print(type(error).__name__, error.rule)
    """
    if (system.perf_event_paranoid() or 0) < 1:
        pytest.skip("anybody may open events of whole CPUs here")
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("FeatureMissing privilege\n", "")


@pytest.mark.lab(on="one")
def test_too_many_files(python):
    code = """
        import os, resource
        from bpfasm.asm import *
        from bpfasm.errors import KernelError
        from bpfasm.kernel import load
        from bpfasm.kernel.readers.perfbuf import FlightRecorder

        spec = PerfEventArray("events")
        with load(spec) as obj:
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
            try:
                FlightRecorder(obj[spec])
            except KernelError as error:
                print(error.errno, error.rule)
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("24 open-files\n", "")
