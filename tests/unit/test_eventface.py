"""What every reader of events looks like, over a ring in plain memory: the part that the simulator will share."""

import itertools
import time

import pytest
from support.rings import Ring

from bpfasm.asm import *
from bpfasm.asm.eventface import EventFace
from bpfasm.asm.shape import shape_of
from bpfasm.errors import RecordError


class Event(Record):
    number = u64("which it is")


class Simulated(EventFace):
    """Events of a ring that nobody sleeps for: waiting is what makes the next ones."""

    def __init__(self, make=Event, waves=()):
        super().__init__()
        self.ring, self.shape = Ring(), shape_of(make)
        self.waves = iter(waves)
        self.numbers = itertools.count()
        self.is_closed = False

    @property
    def closed(self):
        return self.is_closed

    def write(self, count=1):
        for _ in range(count):
            self.ring.write(Event(number=next(self.numbers)).to_bytes())

    def _fill(self, out, most):
        if not self.is_closed:
            self.ring.memory.take(self.shape, most, out)

    def _wait(self, deadline):
        if deadline is not None and time.monotonic() >= deadline:
            return False
        wave = next(self.waves, None)
        if wave is None:
            self.is_closed = True
            return False
        self.write(wave)
        return True


def numbers(events):
    return [event.number for event in events]


def test_an_iteration_ends_when_it_is_closed():
    reader = Simulated(waves=[1, 0, 20, 2])
    assert numbers(reader) == list(range(23))
    with pytest.raises(ValueError, match="is closed"):
        next(iter(reader))
    with pytest.raises(ValueError, match="is closed"):
        reader.batch()


def test_an_iteration_that_is_left_loses_nothing():
    reader = Simulated()
    reader.write(100)
    first = [event.number for event, _ in zip(reader, range(10), strict=False)]
    second = numbers(reader.batch(5))
    third = [reader.read().number for _ in range(5)]
    # zip() takes one event more before it sees that the other one has ended.
    assert first + second + third == [n for n in range(21) if n != 10]
    assert numbers(reader.drain()) == list(range(21, 100))
    assert reader.drain() == []


def test_a_batch_waits_for_its_first_event():
    reader = Simulated(waves=[0, 0, 3])
    assert numbers(reader.batch(10)) == [0, 1, 2]
    assert reader.batch(10) == []
    assert reader.closed


def test_most():
    reader = Simulated()
    reader.write(10)
    assert [len(reader.batch(4, timeout=0)) for _ in range(4)] == [4, 4, 2, 0]
    for most in (0, -1):
        with pytest.raises(ValueError, match="at least one event"):
            reader.batch(most)


def test_what_is_there_when_the_time_is_up_is_handed_out():
    class Late(Simulated):
        def _wait(self, deadline):
            self.write(2)
            return False

    reader = Late()
    assert numbers(reader.batch(timeout=0)) == [0, 1]
    assert numbers(reader.events(timeout=0))[:2] == [2, 3]


def test_a_single_event():
    reader = Simulated(waves=[2])
    assert reader.read().number == 0
    assert reader.read(timeout=0).number == 1
    assert reader.read(timeout=0) is None


def test_events_before_an_error_are_handed_out_after_it():
    def decode(view):
        number = int.from_bytes(view, "little")
        if number == 3:
            raise LookupError
        return number

    reader = Simulated(decode)
    reader.write(6)
    with pytest.raises(LookupError):
        reader.batch()
    assert reader.batch() == [0, 1, 2, 4, 5]

    reader = Simulated(decode)
    reader.write(6)
    seen = []
    with pytest.raises(LookupError):
        seen += reader.events(timeout=0)
    seen += reader.events(timeout=0)
    assert seen == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (None, b"\x07" + bytes(7)),
        (bytes, b"\x07" + bytes(7)),
        (Event, Event(number=7)),
        (u64, 7),
        (chars(8), b"\x07"),
        (raw(8), b"\x07" + bytes(7)),
        (len, 8),
        (bytes.hex, None),
    ],
)
def test_what_to_make_of_an_event(make, expected):
    if make == bytes.hex:
        make, expected = (lambda view: bytes(view).hex()), "0700000000000000"
    reader = Simulated(make)
    reader.ring.write(Event(number=7).to_bytes())
    reader.ring.write(Event(number=7).to_bytes())
    assert reader.drain() == [expected] * 2


def test_what_it_was_declared_with():
    assert shape_of(None, Event).name == "Event"
    assert shape_of(tuple, Event).rows is list
    assert shape_of(bytes, Event).size is None
    assert shape_of(None).name == "bytes"
    reader = Simulated()
    reader.shape = shape_of(tuple, u64)
    reader.write(2)
    assert reader.drain() == [(0,), (1,)]


@pytest.mark.parametrize(("make", "record"), [(tuple, None), (tuple, len), (5, None), ("Event", Event), ([], None)])
def test_what_says_nothing(make, record):
    with pytest.raises(RecordError, match="does not say what to make of an event") as caught:
        shape_of(make, record)
    assert caught.value.rule == "event-make"


def test_rows_are_records():
    class Mixed(Record):
        text = chars(6)("text")
        small = u16()
        _ = pad(4)
        rest = raw(4)()

    data = Mixed(text=b"ab", small=7, rest=b"12\0\0").to_bytes()
    made = Mixed.from_rows([(b"ab\0cde", 7, bytes(4), b"12\0\0")] * 2)
    assert made == [Mixed.from_bytes(data)] * 2
    assert made[0].text == b"ab"

    class Longer(Mixed):
        more = u64()

    assert Longer.from_rows([(b"ab\0cde", 7, bytes(4), b"12\0\0", 9)])[0].more == 9
    assert Mixed.from_rows([]) == []
