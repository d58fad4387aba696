"""Records, stack layouts and types: sizes, offsets and bytes, against Python's own struct."""

import copy
import pickle
import struct
from typing import ClassVar

import pytest

from bpfasm.asm import *
from bpfasm.asm.types import Field, size_of_type
from bpfasm.errors import RecordError
from bpfasm.uapi import bpf
from bpfasm.uapi.bpf import enum_bpf_map_type

NUMBERS = {u8: "B", u16: "H", u32: "I", u64: "Q", s8: "b", s16: "h", s32: "i", s64: "q"}


class Event(Record):
    ts = u64("time of the call, ns since boot")
    pid = u32("tgid of the caller")
    delta = s32()
    kind = u8()
    flags = s8()
    port = u16()
    _ = pad(4)
    comm = chars(16)("name of the thread")
    digest = raw(8)()


FORMAT = "=QIiBbH4s16s8s"
VALUES = {
    "ts": 2**63,
    "pid": 7,
    "delta": -5,
    "kind": 255,
    "flags": -1,
    "port": 443,
    "comm": b"bash",
    "digest": b"x" * 8,
}
BYTES = struct.pack(FORMAT, 2**63, 7, -5, 255, -1, 443, bytes(4), b"bash", b"x" * 8)


# Types


@pytest.mark.parametrize(("type", "format"), NUMBERS.items(), ids=map(repr, NUMBERS))
def test_a_number_is_what_struct_makes_of_it(type, format):
    size = struct.calcsize(f"={format}")
    low, high = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if format.islower() else (0, (1 << 8 * size) - 1)
    assert (type.size, type.align, repr(type)) == (size, size, f"{'s' if low else 'u'}{8 * size}")
    for value in (low, high, 1):
        assert type.pack(value) == struct.pack(f"={format}", value)
        assert type.unpack(type.pack(value)) == value
    for value in (low - 1, high + 1, "1", None, 0.5):
        with pytest.raises(RecordError, match=f"{type} takes {low} to {high}"):
            type.pack(value)


@pytest.mark.parametrize(
    ("type", "value", "packed", "back"),
    [
        (chars(8), b"bash", b"bash\0\0\0\0", b"bash"),
        (chars(8), b"eight ch", b"eight ch", b"eight ch"),
        (chars(8), b"a\0b", b"a\0b\0\0\0\0\0", b"a"),
        (chars(8), b"", bytes(8), b""),
        (raw(4), b"\0\1\0\0", b"\0\1\0\0", b"\0\1\0\0"),
        (raw(4), b"ab", b"ab\0\0", b"ab\0\0"),
    ],
)
def test_texts_and_bytes(type, value, packed, back):
    assert type.pack(value) == packed
    assert type.unpack(packed) == back


@pytest.mark.parametrize("type", [chars(4), raw(4)])
@pytest.mark.parametrize("value", [b"five!", "text", 5, None])
def test_a_text_is_not_cut(type, value):
    with pytest.raises(RecordError, match="takes at most 4 bytes"):
        type.pack(value)


def test_types_are_equal_by_what_they_are():
    assert chars(16) == chars(16)
    assert hash(chars(16)) == hash(chars(16))
    assert len({chars(16), chars(16), raw(16), chars(8), u8, s8}) == 5
    assert chars(16) != raw(16)
    assert u32 != 4


@pytest.mark.parametrize(("type", "size"), [(u8, 1), (chars(16), 16), (Event, 48), (12, 12), (0, 0)])
def test_the_size_of_a_type(type, size):
    assert size_of_type(type) == size


@pytest.mark.parametrize("type", ["u32", None, -1, 1.5, Event(**VALUES), object()])
def test_what_is_no_type(type):
    """An event is no type, though its class is one."""
    if isinstance(type, Event):
        assert size_of_type(type) == 48
        return
    with pytest.raises(RecordError, match="is no type"):
        size_of_type(type)


# Records


def test_offsets_are_those_of_struct():
    at = 0
    for field, code in zip(Event.fields, ["Q", "I", "i", "B", "b", "H", "4s", "16s", "8s"], strict=True):
        assert (field.off, field.size) == (at, struct.calcsize(f"={code}"))
        at += field.size
    assert (Event.size, Event.align) == (at, 8) == (struct.calcsize(FORMAT), 8)


def test_bytes_are_those_of_struct():
    event = Event(**VALUES)
    assert event.to_bytes() == Event.pack(event) == BYTES
    assert Event.from_bytes(BYTES) == Event.unpack(BYTES)
    assert {name: getattr(Event.from_bytes(BYTES), name) for name in VALUES} == VALUES


def test_fields_say_what_they_are():
    assert Event.pid.doc == "tgid of the caller"
    assert (Event.pid.name, Event.pid.off, Event.pid.type) == ("pid", 8, u32)
    assert repr(Event.comm) == "<char[16] comm at 24>"
    assert isinstance(Event.pid, Field)
    assert [Event.ts.bpf_size, Event.pid.bpf_size, Event.port.bpf_size, Event.kind.bpf_size] == [
        BPF_DW,
        BPF_W,
        BPF_H,
        BPF_B,
    ]
    assert Event.digest.bpf_size is BPF_DW


def test_padding_is_zeros_and_is_not_shown():
    event = Event(**VALUES)
    assert event._ == bytes(4)
    assert "_" not in repr(event)
    assert repr(event).startswith("Event(ts=9223372036854775808, pid=7, ")


def test_records_compare_by_value():
    assert Event(**VALUES) == Event(**VALUES)
    assert Event(**VALUES) != Event(**{**VALUES, "pid": 8})
    assert len({Event(**VALUES), Event(**VALUES)}) == 1


def test_a_record_may_extend_another():
    class Longer(Event):
        uid = u32()
        gid = u32()

    assert (Longer.uid.off, Longer.size, Event.size) == (48, 56, 48)
    longer = Longer(**VALUES, uid=1, gid=2)
    assert longer.to_bytes() == BYTES + struct.pack("=II", 1, 2)
    assert Longer.from_bytes(longer.to_bytes()) == longer


@pytest.mark.parametrize("length", [0, 1, 47, 49])
def test_a_record_has_its_size(length):
    with pytest.raises(RecordError, match=f"Event is 48 bytes, and {length} were given"):
        Event.from_bytes(bytes(length))


@pytest.mark.parametrize("field", ["ts", "comm", "digest", "delta"])
def test_a_value_that_does_not_fit_is_refused(field):
    bad = {"ts": -1, "comm": b"seventeen letters", "digest": "text", "delta": 2**31}
    with pytest.raises(RecordError, match="takes"):
        Event(**{**VALUES, field: bad[field]}).to_bytes()


def test_a_record_holds_its_fields_and_nothing_else():
    event = Event(**VALUES)
    event.pid = 8
    assert event.pid == 8
    assert event == Event(**{**VALUES, "pid": 8})
    with pytest.raises(AttributeError):
        event.pdi = 9
    assert not hasattr(event, "__dict__")


def test_a_field_is_the_classs_and_a_value_the_records():
    assert isinstance(Event.pid, Field)
    assert Event(**VALUES).pid == 7
    with pytest.raises(AttributeError, match=r"Event\.pid is a field: it can be set in a record only"):
        Event.pid = 5
    assert [field.name for field in Event.fields][:2] == ["ts", "pid"]
    assert getattr(Event, "pid") is Event.fields[1]  # noqa: B009


def test_records_are_copied_and_pickled():
    event = Event(**VALUES)
    assert copy.copy(event) == copy.deepcopy(event) == event

    class Plain(Record):
        a = u8()

    Plain.__qualname__ = "Plain"
    globals()["Plain"] = Plain
    assert pickle.loads(pickle.dumps(Plain(a=5))).a == 5


def test_an_empty_record_is_nothing():
    class Nothing(Record):
        """No fields."""

    assert (Nothing.size, Nothing.align, Nothing().to_bytes()) == (0, 1, b"")


# The stack


def test_slots_are_aligned_and_grow_downwards():
    stack = StackLayout(key=u32, event=Event, byte=1, start=u64)
    assert stack.offsets == {"key": -8, "event": -56, "byte": -64, "start": -72}
    assert (stack.key, stack.event, stack.byte, stack.start, stack.total) == (-8, -56, -64, -72, 72)
    assert repr(stack) == "StackLayout(key=-8, event=-56, byte=-64, start=-72)"


def test_the_stack_has_512_bytes():
    assert StackLayout(all=512).total == 512
    assert StackLayout().total == 0
    with pytest.raises(RecordError, match="take 520"):
        StackLayout(most=505, one=1)


def test_a_slot_that_is_not_there():
    with pytest.raises(AttributeError, match="no stack slot 'kee'; there are key, start"):
        _ = StackLayout(key=u32, start=u64).kee
    with pytest.raises(AttributeError, match="there are none"):
        _ = StackLayout().key


# Maps


@pytest.mark.parametrize(
    ("spec", "type", "per_cpu", "key_size"),
    [
        (HashMap("m", key=chars(16), value=Event, max_entries=8), BPF_MAP_TYPE_HASH, False, 16),
        (ArrayMap("m", value=Event, max_entries=8), BPF_MAP_TYPE_ARRAY, False, 4),
        (PerCpuHashMap("m", key=chars(16), value=Event, max_entries=8), BPF_MAP_TYPE_PERCPU_HASH, True, 16),
        (PerCpuArrayMap("m", value=Event, max_entries=8), BPF_MAP_TYPE_PERCPU_ARRAY, True, 4),
    ],
)
def test_a_map_is_declared(spec, type, per_cpu, key_size):
    assert (spec.type, spec.per_cpu, spec.key_size, spec.value_size, spec.max_entries) == (
        type,
        per_cpu,
        key_size,
        48,
        8,
    )
    assert (repr(spec), spec.flags, spec.initial) == ("<map m>", 0, {})
    assert spec == spec.replace(flags=0) != spec.replace(flags=1)
    assert hash(spec) == hash(spec.replace(flags=0))


@pytest.mark.parametrize("name", enum_bpf_map_type)
def test_a_map_is_per_cpu_by_its_type(name):
    spec = MapSpec.as_is(name="m", type=getattr(bpf, name), key=4, value=8, max_entries=1)
    assert spec.per_cpu is ("PERCPU" in name)


@pytest.mark.parametrize("name", ["a", "fifteen_letters", "A.b_9", "0"])
def test_names_that_the_kernel_takes(name):
    assert ArrayMap(name, value=8, max_entries=1).name == name


# Attaching


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (kprobe("vfs_read"), "kprobe vfs_read"),
        (kprobe("vfs_read", offset=16), "kprobe vfs_read+0x10"),
        (kprobe(syscall="fchownat"), "kprobe syscall fchownat"),
        (kretprobe("vfs_read"), "kretprobe vfs_read"),
        (kretprobe(syscall="fchownat"), "kretprobe syscall fchownat"),
    ],
)
def test_a_probe_prints_as_what_it_is(probe, text):
    assert str(probe) == text


@pytest.mark.parametrize("declared", ["pid = u32", "pid: u32"])
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_what_looks_like_a_field_and_is_none(declared, future):
    code = f"{future}class Event(Record):\n    ts = u64('when')\n    {declared}\n"
    with pytest.raises(RecordError) as caught:
        exec(compile(code, "event.py", "exec"), {"Record": Record, "u32": u32, "u64": u64, "__name__": "event"})
    assert caught.value.what.startswith("Event.pid is no field: ")
    assert caught.value.do == 'write pid = u32("what it is")'
    assert caught.value.rule == "record-fields"


def test_what_a_record_has_besides_fields():
    class Event(Record):
        known: ClassVar[int] = 3
        pid = u32("tgid")

        def double(self):
            return 2 * self.pid

    assert (Event.size, Event.known, Event(pid=4).double()) == (4, 3, 8)
