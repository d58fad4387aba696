"""Reading a perf buffer's memory: samples, what was lost, other records; forwards, and backwards."""

import random
import struct

import pytest
from support.rings import PerfRing

from bpfasm.asm import *
from bpfasm.asm.perfmem import Lost
from bpfasm.asm.shape import shape_of
from bpfasm.errors import BpfasmError, DecodeError, RecordError


class Event(Record):
    number = u64("which it is")
    pid = u32("tgid")
    port = u32("port")


class Odd(Record):
    kind = u8("kind")
    text = chars(12)("text")


def event(number):
    return struct.pack("<QII", number, number % 1000, 443)


BYTES, EVENTS = shape_of(bytes), shape_of(Event)


def take(ring, shape=EVENTS, most=10_000, **options):
    out = []
    ring.memory.take(shape, most, out, **options)
    return out


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("start", [0, 8, 4088, 1 << 40])
def test_samples_go_round_and_round(timed, start):
    ring = PerfRing(timed=timed, start=start)
    written, seen, times = 0, [], []
    for count in [1, 3, 60, 1, 90, 5, 102, 64, 500]:
        for _ in range(count):
            written += ring.sample(event(written), time=written * 10)
        seen += take(ring, times=times if timed else None)
    assert [each.number for each in seen] == list(range(written))
    assert times == ([number * 10 for number in range(written)] if timed else [])
    assert ring.tail == ring.head
    assert ring.memory.available == 0
    assert not ring.memory.ready()


@pytest.mark.parametrize("length", range(41))
def test_samples_of_every_size_at_every_offset_of_the_wrap(length):
    for start in range(3000, 4096, 8):
        ring = PerfRing(start=start)
        contents = [bytes([number]) * length for number in range(30)]
        assert all(map(ring.sample, contents))
        found = take(ring, BYTES)
        assert [each[:length] for each in found] == contents
        assert {len(each) - length for each in found} <= set(range(8))


def test_what_the_kernel_adds_is_no_part_of_an_event():
    ring = PerfRing()
    for number in range(400):
        ring.sample(Odd(kind=number % 256, text=b"x" * (number % 13)).to_bytes())
    found = take(ring, shape_of(Odd))
    assert [(each.kind, len(each.text)) for each in found] == [(n % 256, n % 13) for n in range(len(found))]
    assert len(found) == 4096 // 32


@pytest.mark.parametrize("shape", [EVENTS, shape_of(tuple, Event), BYTES], ids=["records", "tuples", "bytes"])
def test_what_was_lost_is_counted_and_told_on_request(shape):
    ring = PerfRing(cpu=3)
    ring.sample(event(0))
    ring.lost(5)
    ring.sample(event(6))
    ring.lost(7)
    found = take(ring, shape, lost=True)
    assert found[1::2] == [Lost(3, 5), Lost(3, 7)]
    assert len(found) == 4
    assert ring.memory.lost == 12
    ring.lost(1)
    ring.sample(event(7))
    assert len(take(ring, shape)) == 1
    assert ring.memory.lost == 13


def test_times_of_what_was_lost():
    ring = PerfRing(timed=True)
    ring.sample(event(0), time=10)
    ring.lost(5, time=20)
    ring.sample(event(6), time=30)
    times = []
    found = take(ring, lost=True, times=times)
    assert (len(found), times) == (3, [10, 20, 30])
    ring.lost(5, time=40)
    assert take(ring, times=times) == []
    assert times == [10, 20, 30]


@pytest.mark.parametrize("kind", [0, 1, 3, 5, 13, 23, 1000, 0xFFFFFFFF])
def test_other_records_are_passed_over(kind):
    ring = PerfRing()
    for number in range(20):
        ring.sample(event(number))
        ring.write(kind, bytes(8 * (number % 5)))
    assert [each.number for each in take(ring)] == list(range(20))


def test_samples_from_user_and_kernel_mode_are_alike():
    ring = PerfRing()
    for number in range(50):
        ring.write(9, struct.pack("<I", 20) + event(number) + bytes(4), misc=number % 8)
    assert [each.number for each in take(ring)] == list(range(50))


def test_a_run_ends_where_another_record_is():
    for odd in [0, 1, 254, 255, 256, 257, 511, 512, 700]:
        ring = PerfRing(1 << 16)
        for number in range(701):
            ring.lost(1) if number == odd else ring.sample(event(number))
        assert [each.number for each in take(ring)] == [number for number in range(701) if number != odd]
        assert ring.memory.lost == 1


def test_most():
    ring = PerfRing()
    for number in range(100):
        ring.sample(event(number))
    sizes = []
    while events := take(ring, most=7):
        sizes.append(len(events))
    assert sizes == [7] * 14 + [2]


@pytest.mark.parametrize("timed", [False, True])
def test_what_is_no_event_loses_nothing_else(timed):
    ring = PerfRing(timed=timed)
    for number in range(10):
        ring.sample(b"what" if number in (3, 7) else event(number), time=number)
    found, times, failed = [], [], 0
    for _ in range(3):
        try:
            ring.memory.take(EVENTS, 100, found, times=times if timed else None)
        except RecordError as error:
            failed += 1
            assert error.what == "an event of 4 bytes came, and Event is 16"
    assert failed == 2
    assert [each.number for each in found] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert times == ([0, 1, 2, 4, 5, 6, 8, 9] if timed else [])


def test_ctrl_c_while_decoding_takes_nothing():
    ring = PerfRing()
    for number in range(10):
        ring.sample(bytes([number]))
    calls = []

    def decode(view):
        calls.append(view[0])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return view[0]

    found = []
    with pytest.raises(KeyboardInterrupt):
        ring.memory.take(shape_of(decode), 100, found)
    assert (found, ring.tail) == ([], 0)
    ring.memory.take(shape_of(decode), 100, found)
    assert found == list(range(10))


def test_views_free_their_place_later():
    ring = PerfRing(start=4096 - 3 * 24)
    for number in range(5):
        ring.sample(bytes([number] * 12))
        ring.lost(1)
    found = take(ring, shape_of(memoryview), lost=True)
    views = found[::2]
    assert [bytes(view) for view in views] == [bytes([number] * 12) for number in range(5)]
    assert found[1::2] == [Lost(0, 1)] * 5
    assert ring.tail == 4096 - 3 * 24
    ring.memory.release()
    assert ring.tail == ring.head
    with pytest.raises(ValueError, match="released"):
        views[0][0]


def test_the_order_of_reads_and_writes():
    ring, steps = None, []
    ring = PerfRing(order=lambda: steps.append(ring.tail))
    ring.sample(event(1))
    take(ring, shape_of(lambda view: steps.append("decoded")))
    assert steps == [0, "decoded", 0]
    assert ring.tail == 32


# Backwards


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 50, 102, 103, 1000])
def test_the_newest(timed, count):
    ring = PerfRing(backward=True, timed=timed)
    for number in range(count):
        ring.sample(event(number), time=number * 10)
    found = ring.memory.newest(EVENTS)
    kept = min(count, 4096 // (40 if timed else 32))
    assert [each.number for _, each in found] == list(range(count - kept, count))
    assert [time for time, _ in found] == [(number * 10 if timed else 0) for number in range(count - kept, count)]
    assert ring.memory.newest(EVENTS) == found


def test_the_newest_of_several_sizes():
    ring = PerfRing(backward=True)
    generator = random.Random(7)
    contents = [bytes([number % 256]) * generator.randrange(200) for number in range(500)]
    for number, content in enumerate(contents):
        ring.write(1, bytes(16)) if number % 9 == 0 else None
        ring.sample(content)
    found = [bytes(each) for _, each in ring.memory.newest(BYTES)]
    assert len(found) > 20
    assert [got[: len(content)] for got, content in zip(found, contents[-len(found) :], strict=True)] == contents[
        -len(found) :
    ]


# Memory that holds no records


@pytest.mark.parametrize(
    ("read", "written", "header"),
    [
        (0, 4096 + 8, (9, 2, 32)),
        (16, 8, (9, 2, 32)),
        (0, 4, (9, 2, 32)),
        (0, 64, (9, 2, 0)),  # no length
        (0, 64, (9, 2, 12)),  # no multiple of 8
        (0, 64, (9, 2, 72)),  # goes on behind what was written
        (0, 64, (9, 2, 8)),  # a sample without a length
        (0, 64, (2, 0, 16)),  # without the number of what was lost
        (0, 64, (1, 0, 4)),
    ],
)
@pytest.mark.parametrize("shape", [EVENTS, BYTES], ids=["records", "bytes"])
def test_memory_without_records(read, written, header, shape):
    ring = PerfRing(start=read)
    struct.pack_into("<Q", ring.positions, 0, written)
    struct.pack_into("<IHH", ring.data, 0, *header)
    with pytest.raises(DecodeError, match="the perf buffer of CPU 0 holds no records") as caught:
        take(ring, shape)
    assert caught.value.rule == "ring-broken"


def test_a_sample_that_says_to_be_longer_than_it_is():
    ring = PerfRing()
    ring.write(9, struct.pack("<I", 21) + bytes(20))
    with pytest.raises(DecodeError, match="a sample of 32 bytes is said to hold 21"):
        take(ring, BYTES)


@pytest.mark.parametrize("timed", [False, True])
def test_any_bytes_give_events_or_our_error(timed):
    generator = random.Random(4)
    outcomes = {"events": 0, "broken": 0, "newest": 0}
    for _ in range(600):
        start = generator.randrange(0, 1 << 16, 8)
        ring = PerfRing(start=start, timed=timed)
        ring.data[:] = generator.randbytes(4096)
        for at in range(0, 4096, 8):
            if generator.random() < 0.9:
                kind, length = generator.choice([2, 9, 9, 9, 9, 5]), generator.randrange(16, 80, 8)
                struct.pack_into("<IHH", ring.data, at, kind, 2, length)
        struct.pack_into("<Q", ring.positions, 0, start + generator.randrange(0, 4096, 8))
        shape = generator.choice([EVENTS, BYTES, shape_of(memoryview), shape_of(u64)])
        found, times = [], []
        try:
            ring.memory.take(shape, generator.choice([1, 5, 1000]), found, times=times, lost=True)
            outcomes["events"] += bool(found)
        except BpfasmError as error:
            outcomes["broken"] += error.rule == "ring-broken"
        assert len(found) <= 512
        assert not timed or len(times) == len(found)
        try:
            outcomes["newest"] += bool(ring.memory.newest(BYTES))
        except BpfasmError as error:
            assert error.rule == "ring-broken"
    assert all(outcomes.values())
