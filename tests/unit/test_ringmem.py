"""Reading a BPF ring buffer's memory: in order, whole, once; and memory that holds no records."""

import random
import struct

import pytest
from support.rings import BUSY, DISCARD, Ring

from bpfasm.asm import *
from bpfasm.asm.ringmem import RingSpace, step_of
from bpfasm.asm.shape import shape_of
from bpfasm.errors import BpfasmError, DecodeError, RecordError


class Event(Record):
    number = u64("which it is")
    pid = u32("tgid")
    comm = chars(12)("name")


def event(number):
    return struct.pack("<QI12s", number, number % 1000, b"comm%d" % (number % 50))


BYTES, EVENTS = shape_of(bytes), shape_of(Event)


def take(ring, shape=BYTES, most=10_000):
    out = []
    ring.memory.take(shape, most, out)
    return out


def test_23_in_23_out():
    ring = Ring()
    for number in range(23):
        ring.write(event(number))
    assert ring.memory.available == 23 * 32
    assert [each.number for each in take(ring, EVENTS)] == list(range(23))
    assert ring.memory.available == 0
    assert ring.read == ring.written == 23 * 32
    assert take(ring, EVENTS) == []


@pytest.mark.parametrize("shape", [EVENTS, shape_of(tuple, Event), BYTES], ids=["records", "tuples", "bytes"])
@pytest.mark.parametrize("start", [0, 8, 4088, 4064, (1 << 32) - 8, 1 << 40])
def test_events_go_round_and_round(shape, start):
    ring = Ring(start=start)
    written, seen = 0, []
    for count in [1, 3, 100, 127, 90, 5, 127, 64]:
        for _ in range(count):
            written += ring.write(event(written)) is not None
        seen += take(ring, shape)
    expected = [event(number) for number in range(written)]
    if shape is EVENTS:
        expected = [Event.from_bytes(each) for each in expected]
    elif shape is not BYTES:
        expected = [struct.unpack("<QI12s", each) for each in expected]
    assert seen == expected
    assert written > 400


@pytest.mark.parametrize("length", range(65))
def test_records_of_every_size_at_every_offset(length):
    ring = Ring(64 * 1024, start=65536 - 8 * 40)
    contents = [bytes(random.Random(number).randbytes(length)) for number in range(100)]
    for content in contents:
        ring.write(content)
    assert take(ring) == contents
    assert ring.read == ring.written


def test_every_offset_of_the_wrap():
    for start in range(0, 4096, 8):
        ring = Ring(start=start)
        contents = [bytes([number]) * (number * 7 % 41) for number in range(90)]
        for content in contents:
            assert ring.write(content) is not None
        assert take(ring) == contents


def test_a_busy_record_stops_the_reader_until_it_is_submitted():
    ring = Ring()
    ring.write(event(0))
    position = ring.write(event(1), BUSY)
    ring.write(event(2))
    assert [each.number for each in take(ring, EVENTS)] == [0]
    assert not ring.memory.ready()
    assert take(ring, EVENTS) == []
    ring.mark(position, 24)
    assert ring.memory.ready()
    assert [each.number for each in take(ring, EVENTS)] == [1, 2]


@pytest.mark.parametrize("shape", [EVENTS, BYTES], ids=["records", "bytes"])
def test_discarded_records_are_passed_over(shape):
    ring = Ring(16384)
    for number in range(300):
        ring.write(event(number), DISCARD if number % 3 == 0 else 0)
    expected = [number for number in range(300) if number % 3]
    assert [
        struct.unpack_from("<Q", each)[0] if shape is BYTES else each.number for each in take(ring, shape)
    ] == expected
    assert ring.read == ring.written
    ring.write(event(0), DISCARD)
    assert take(ring, shape) == []
    assert ring.read == ring.written


def test_most():
    ring = Ring()
    for number in range(100):
        ring.write(event(number))
    sizes = []
    while events := take(ring, EVENTS, 7):
        sizes.append(len(events))
    assert sizes == [7] * 14 + [2]


def test_a_run_ends_where_another_size_is():
    """The fast way compares 256 headers at once; each place of the one that differs is tried."""
    for odd in [0, 1, 254, 255, 256, 257, 511, 512, 700]:
        ring = Ring(1 << 16)
        for number in range(701):
            ring.write(b"odd" if number == odd else event(number))
        found, failed = [], 0
        for _ in range(2):
            try:
                ring.memory.take(EVENTS, 1000, found)
            except RecordError as error:
                failed += 1
                assert error.rule == "event-size"
                assert error.what == "an event of 3 bytes came, and Event is 24"
        assert [each.number for each in found] == [number for number in range(701) if number != odd]
        assert failed == 1


def test_what_a_function_raises_loses_nothing_else():
    ring = Ring()
    for number in range(10):
        ring.write(bytes([number]))

    def decode(view):
        if view[0] in (3, 7):
            raise LookupError(view[0])
        return view[0]

    found, missed = [], []
    for _ in range(3):
        try:
            ring.memory.take(shape_of(decode), 100, found)
        except LookupError as error:
            missed.append(error.args[0])
    assert (found, missed) == ([0, 1, 2, 4, 5, 6, 8, 9], [3, 7])


def test_ctrl_c_while_decoding_takes_nothing():
    ring = Ring()
    for number in range(10):
        ring.write(bytes([number]))
    calls = []

    def decode(view):
        calls.append(view[0])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return view[0]

    found = []
    with pytest.raises(KeyboardInterrupt):
        ring.memory.take(shape_of(decode), 100, found)
    assert (found, ring.read) == ([], 0)
    ring.memory.take(shape_of(decode), 100, found)
    assert found == list(range(10))


def test_views_are_of_the_ring_and_free_their_place_later():
    ring = Ring()
    for number in range(5):
        ring.write(bytes([number] * 8))
    views = take(ring, shape_of(memoryview))
    assert [bytes(view) for view in views] == [bytes([number] * 8) for number in range(5)]
    assert (ring.read, ring.memory.available) == (0, 0)
    ring.poke(8, b"new")
    assert bytes(views[0][:3]) == b"new"
    ring.write(b"next")
    assert [bytes(view) for view in take(ring, shape_of(memoryview))] == [b"next"]
    assert ring.read == 5 * 16
    with pytest.raises(ValueError, match="released"):
        views[0][0]
    ring.memory.release()
    assert ring.read == ring.written


def test_a_view_that_is_looked_at_elsewhere_stays():
    ring = Ring()
    ring.write(b"12345678")
    (view,) = take(ring, shape_of(memoryview))
    other = memoryview(view)
    ring.memory.release()
    assert bytes(other) == b"12345678"
    assert ring.read == ring.written


def test_the_order_of_reads_and_writes():
    """Between the position and the headers, the headers and the records, the records and the place given back."""
    ring, steps = None, []

    def barrier():
        steps.append(ring.read)

    ring = Ring(order=barrier)
    ring.write(event(1))

    def decode(view):
        steps.append("decoded")
        return bytes(view)

    take(ring, shape_of(decode))
    assert steps == [0, 0, "decoded", 0]
    assert ring.read == 32


# A ring that overwrites


def overwriting(ring, oldest):
    struct.pack_into("<Q", ring.producer, 16, oldest)


def test_what_was_overwritten_is_passed_over():
    ring = Ring(overwrites=True)
    for number in range(127):
        assert ring.write(event(number)) is not None
    overwriting(ring, 10 * 32)
    assert ring.memory.available == 117 * 32
    assert [each.number for each in take(ring, EVENTS)] == list(range(10, 127))
    assert ring.read == ring.written
    assert take(ring) == []


def test_a_ring_that_overtakes_its_reader():
    """Between its looks at where it is written and where the oldest is: nothing now, the rest next time."""
    calls = []

    def barrier():
        calls.append(1)
        if len(calls) == 1:
            overwriting(ring, 8192)

    ring = Ring(overwrites=True, order=barrier)
    for number in range(20):
        ring.write(event(number))
    assert take(ring, EVENTS) == []
    assert ring.memory.available == 0
    for positions in (ring.producer, ring.consumer):  # where the model of the ring goes on
        struct.pack_into("<Q", positions, 0, 8192)
    ring.write(event(7))
    assert [each.number for each in take(ring, EVENTS)] == [7]


@pytest.mark.parametrize("oldest", [32, 96, 5 * 32, 99 * 32])
def test_what_is_overwritten_while_it_is_copied_is_passed_over(oldest):
    """The barrier behind the copy is where the kernel moves on."""
    calls = []

    def barrier():
        calls.append(1)
        if len(calls) == 2:
            overwriting(ring, oldest)
            for at in range(0, min(oldest, ring.written), 8):
                ring.poke(at, b"\xff" * 8)

    ring = Ring(overwrites=True, order=barrier)
    for number in range(20):
        ring.write(event(number))
    assert [each.number for each in take(ring, EVENTS)] == list(range(oldest // 32, 20))
    assert ring.memory.consumer_position == max(oldest, 20 * 32)


# Memory that holds no records


@pytest.mark.parametrize(
    ("read", "written", "header"),
    [
        (0, 4096 + 8, 0),  # more than the ring has
        (16, 8, 0),  # read further than written
        (0, 4, 0),  # no multiple of 8
        (4, 64, 0),
        (0, 64, 57),  # a record that goes on behind what was written
        (0, 64, 0x3FFFFFFF),
        (0, 64, 0x3FFFFFFF | DISCARD),
        (1 << 63, 64, 0),
    ],
)
@pytest.mark.parametrize("shape", [EVENTS, BYTES], ids=["records", "bytes"])
def test_memory_without_records(read, written, header, shape):
    ring = Ring(start=read)
    struct.pack_into("<Q", ring.producer, 0, written)
    ring.mark(0, header)
    with pytest.raises(DecodeError, match="the ring holds no records") as caught:
        take(ring, shape)
    assert caught.value.rule == "ring-broken"
    assert caught.value.do


def test_any_bytes_give_events_or_our_error():
    generator = random.Random(4)
    outcomes = {"events": 0, "broken": 0, "none": 0}
    for _ in range(800):
        start = generator.randrange(0, 1 << 16, 8)
        ring = Ring(start=start)
        ring.poke(0, generator.randbytes(4096))
        # Most lengths are small, or nothing would be found.
        for at in range(0, 4096, 8):
            if generator.random() < 0.8:
                ring.mark(at, generator.randrange(64), generator.choice([0, 0, 0, 0, DISCARD, BUSY]))
        struct.pack_into("<Q", ring.producer, 0, start + generator.randrange(0, 4096, 8))
        shape = generator.choice([EVENTS, BYTES, shape_of(memoryview), shape_of(u64)])
        found = []
        try:
            ring.memory.take(shape, generator.choice([1, 5, 1000]), found)
            outcomes["events" if found else "none"] += 1
        except BpfasmError as error:
            outcomes["broken"] += error.rule == "ring-broken"
        assert len(found) <= 512
        assert start <= ring.memory.consumer_position <= ring.written
    assert all(outcomes.values())


# The other direction


def space(size=4096):
    data, producer, consumer = bytearray(2 * size), bytearray(4096), bytearray(4096)
    views = (memoryview(data), memoryview(producer).cast("Q"), memoryview(consumer).cast("Q"))
    return RingSpace(*views), data, producer, consumer


def test_messages_are_written_as_the_kernel_reads_them():
    ring, data, producer, _ = space()
    assert ring.put(b"hello")
    at = ring.reserve(8)
    assert struct.unpack_from("<II5s", data, 0) == (5, 0, b"hello")
    assert struct.unpack_from("<II", data, 16) == (8 | BUSY, 0)
    ring.commit(at)
    assert struct.unpack_from("<I", data, 16) == (8,)
    ring.commit(ring.reserve(3), discard=True)
    assert struct.unpack_from("<I", data, 32) == (3 | DISCARD,)
    assert struct.unpack_from("<Q", producer) == (48,) == (ring.available,)


def test_a_full_ring_takes_no_more():
    ring, _, _, consumer = space()
    sent = 0
    while ring.put(bytes(24)):
        sent += 1
    assert sent == 4096 // 32
    assert ring.reserve(0) is None
    struct.pack_into("<Q", consumer, 0, 32)
    assert ring.fits(24)
    assert not ring.fits(25)
    assert ring.put(bytes(24))


@pytest.mark.parametrize(("size", "taken"), [(0, 8), (1, 16), (8, 16), (9, 24), (4080, 4088), (4088, 4096)])
def test_what_a_record_takes(size, taken):
    assert step_of(size) == taken
