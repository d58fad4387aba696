"""What a map does, whoever holds its elements: the tests of the face, for a fixture ``make`` that makes a map.

A module that imports them runs them: tests/unit/test_mapface.py on maps in memory, tests/live/test_maps_contract.py
on the kernel's. ``make(spec)`` skips where there are no such maps.
"""

from errno import E2BIG, EEXIST, ENOENT
from ipaddress import IPv4Network, IPv6Address, ip_network
from itertools import product

import pytest

from bpfasm.asm import *
from bpfasm.errors import KernelError, MapError, RecordError
from support.each import each


class Pair(Record):
    a = u32("one")
    b = u32("two")


class Named(Record):
    name = chars(6)("a name")
    place = array(u16, 3)("where")
    _ = pad(4)
    count = u64("how often")


def table(make, **more):
    return make(HashMap("table", key=u32, value=u64, max_entries=64, **more))


def refused(errno, call, *arguments, **more):
    with pytest.raises(KernelError) as caught:
        call(*arguments, **more)
    assert caught.value.errno == errno


# As a dict

DICTS = {
    "hash": lambda **more: HashMap("m", key=u32, value=u64, max_entries=8, **more),
    "lru": lambda **more: LruHashMap("m", key=u32, value=u64, max_entries=64, **more),
    "rhash": lambda **more: RHash("m", key=u32, value=u64, max_entries=8, **more),
}
dicts = pytest.mark.parametrize("declare", list(DICTS.values()), ids=list(DICTS))


@dicts
def test_it_is_a_dict(make, declare):
    m = make(declare())
    assert not m
    assert len(m) == 0
    m.update({1: 10, 2: 20})
    m[3] = 1 << 63
    assert m
    assert len(m) == 3
    assert sorted(m) == sorted(m.keys()) == [1, 2, 3]
    assert sorted(m.values()) == [10, 20, 1 << 63]
    assert dict(m.items()) == m.snapshot() == {1: 10, 2: 20, 3: 1 << 63}
    assert (m[1], m.get(1), m.get(9), m.get(9, 0), 1 in m, 9 in m) == (10, 10, None, 0, True, False)
    del m[1]
    for missing in (lambda: m[1], lambda: m.__delitem__(1), lambda: m.pop(1)):
        with pytest.raises(KeyError) as caught:
            missing()
        assert caught.value.args == (1,)
    m.clear()
    assert not m
    assert m.snapshot() == {}


@dicts
def test_taking_out(make, declare):
    m = make(declare(initial={1: 10, 2: 20, 3: 30, 4: 40}))
    assert m.pop(1) == 10
    assert m.pop(1, "none") == "none"
    key, value = m.popitem()
    assert value == 10 * key
    assert key not in m
    assert dict(m.drain()) == {n: 10 * n for n in {2, 3, 4} - {key}}
    assert not m
    with pytest.raises(KeyError):
        m.popitem()


@dicts
def test_setting_what_is_not_there(make, declare):
    m = make(declare())
    assert m.setdefault(1, 10) == 10
    assert m.setdefault(1, 11) == 10
    assert m.snapshot() == {1: 10}


@dicts
def test_deleting_several(make, declare):
    m = make(declare(initial={n: n for n in range(6)}))
    assert m.delete([0, 7, 2, 9, 4]) == 3
    assert sorted(m) == [1, 3, 5]
    assert m.delete([]) == 0
    assert m.delete([100]) == 0


@dicts
def test_flags(make, declare):
    m = make(declare())
    m.put(1, 10, BPF_NOEXIST)
    refused(EEXIST, m.put, 1, 11, BPF_NOEXIST)
    m.put(1, 12, BPF_EXIST)
    refused(ENOENT, m.put, 2, 10, BPF_EXIST)
    m[2] = 5  # the flags of one call are not those of the next
    assert m.snapshot() == {1: 12, 2: 5}
    refused(EEXIST, m.update, {3: 3, 1: 1}, BPF_NOEXIST)
    assert m.snapshot() == {1: 12, 2: 5, 3: 3}


def test_a_full_map(make):
    m = make(HashMap("m", key=u32, value=u64, max_entries=2, initial={1: 1, 2: 2}))
    refused(E2BIG, m.__setitem__, 3, 3)
    refused(E2BIG, m.update, {2: 20, 3: 3})
    assert m.snapshot() == {1: 1, 2: 20}


@dicts
def test_keys_that_are_deleted_in_the_loop_do_not_start_it_anew(make, declare):
    m = make(declare(initial={n: n for n in range(8)}))
    seen = []
    for key in m.keys(strict=True):
        seen.append(key)
        del m[key]
    assert sorted(seen) == list(range(8))
    assert not m


def test_a_map_that_grows_in_the_loop_ends(make):
    m = table(make, initial={0: 0})
    seen = []
    for key in m:
        seen.append(key)
        for new in (key + 1, key + 2):
            if len(seen) < 60:
                m[new] = 0
    assert len(seen) == len(set(seen)) <= 64


def test_values_that_are_not_there_are_not_taken(make):
    m = table(make)
    for wrong in ({1: 1 << 64}, {-1: 1}, {1: "text"}, {"text": 1}, {1: None}):
        with pytest.raises(RecordError):
            m.update(wrong)
        (key,), (value,) = wrong.keys(), wrong.values()
        with pytest.raises(RecordError):
            m[key] = value
    assert not m


# Arrays


def test_an_array(make):
    m = make(ArrayMap("m", value=Pair, max_entries=3, initial={1: Pair(a=5, b=6)}))
    assert m
    assert len(m) == 3
    assert list(m) == [0, 1, 2]
    assert list(m.values()) == [Pair(a=0, b=0), Pair(a=5, b=6), Pair(a=0, b=0)]
    assert 3 not in m
    with pytest.raises(KeyError):
        m[3]
    refused(E2BIG, m.__setitem__, 3, Pair(a=1, b=1))
    refused(EEXIST, m.put, 0, Pair(a=1, b=1), BPF_NOEXIST)
    for call in (lambda: m.__delitem__(0), m.clear, lambda: m.pop(0), m.popitem, m.drain, lambda: m.delete([0])):
        with pytest.raises(MapError, match="m is an ArrayMap, whose keys cannot be deleted") as caught:
            call()
        assert caught.value.rule == "map-operation"
    m.update({0: (1, 2), 2: (3, 4)})
    assert m.snapshot() == {0: Pair(a=1, b=2), 1: Pair(a=5, b=6), 2: Pair(a=3, b=4)}


def test_an_array_filled_from_a_list(make):
    m = make(ArrayMap("m", value=u16, max_entries=4, initial=[7, 8, 9]))
    assert m.snapshot() == {0: 7, 1: 8, 2: 9, 3: 0}


# A value for each CPU


PER_CPU = list(product((PerCpuHashMap, PerCpuArrayMap, LruPerCpuHashMap), (u8, u32, u64, s16, raw(12), Pair)))


@each(PER_CPU, named=str)
def test_per_cpu_values_are_lists(case, make, cpus):
    declare, value = case

    def nth(number):
        return {raw(12): bytes([number]) * 12, Pair: Pair(a=number, b=9)}.get(value, number)

    more = {} if declare is PerCpuArrayMap else {"key": u32}
    m = make(declare("m", value=value, max_entries=64, initial={0: nth(7)}, **more))
    assert m[0] == [nth(7)] * cpus
    values = [nth(cpu) for cpu in range(cpus)]
    m[1] = values
    assert m[1] == values
    assert m.get(1, cpu=cpus - 1) == nth(cpus - 1)
    items = m.snapshot()
    assert (items[0], items[1]) == ([nth(7)] * cpus, values)
    m.update({1: nth(3), 2: values})
    assert (m[1], m[2]) == ([nth(3)] * cpus, values)
    with pytest.raises(RecordError, match=f"m has a value for each of {cpus} CPUs, and {cpus + 1} were given"):
        m[1] = [*values, values[0]]
    for wrong in (lambda: m.get(1, cpu=-1), lambda: m.get(1, cpu=cpus), lambda: m.get(1, cpu="0"),
                  lambda: m.put(1, values[0], cpu=-1), lambda: m.put(1, values[0], cpu=1 << 32)):  # fmt: skip
        with pytest.raises(MapError, match=f"m has a value for each of {cpus} CPUs, and cpu=") as caught:
            wrong()
        assert caught.value.do == f"give a number, 0 to {cpus - 1}, or leave out cpu= for all of them"
    if "take" in m.spec.row.ops:
        assert m.pop(2) == values
        assert dict(m.drain()) == {0: [nth(7)] * cpus, 1: [nth(3)] * cpus}


# Types


@pytest.mark.parametrize(
    ("kind", "value", "also"),
    [
        (u8, 255, [b"\xff", memoryview(b"\xff")]),
        (s64, -1, [b"\xff" * 8]),
        (Pair, Pair(a=1, b=2), [(1, 2), b"\1\0\0\0\2\0\0\0", bytearray(b"\1\0\0\0\2\0\0\0")]),
        (Named, Named(name=b"ab", place=(1, 2, 3), count=4), [(b"ab", (1, 2, 3), 4), (b"ab", [1, 2, 3], 4)]),
        (array(u32, 2), (1, 2), [[1, 2], b"\1\0\0\0\2\0\0\0"]),
        (chars(4), b"ab", [b"ab\0\0"]),
        (3, b"abc", [bytearray(b"abc"), memoryview(b"abc")]),
    ],
    ids=["u8", "s64", "Pair", "Named", "array", "chars", "bytes"],
)
def test_keys_and_values_of_every_type(make, kind, value, also):
    m = make(HashMap("m", key=kind, value=kind, max_entries=8))
    for written in [value, *also]:
        m[written] = written
        assert m.snapshot() == {value: value}
        assert (m[written], written in m) == (value, True)
        m.update({bytes(written) if isinstance(written, bytearray | memoryview) else value: written})
        assert m.pop(written) == value


def test_what_is_no_key(make):
    m = make(HashMap("plain", key=2, value=Pair, max_entries=1))
    with pytest.raises(RecordError, match="a key of plain is 2 bytes, and 3 were given"):
        m[b"abc"]
    for wrong in (1, (1, 2, 3), b"123", "text"):
        with pytest.raises(RecordError):
            m[b"ab"] = wrong
    assert not m


# Prefixes


def test_the_longest_prefix(make):
    m = make(LpmTrie("m", key=ipv4_prefix, value=u32, max_entries=8))
    m.update({"0.0.0.0/0": 0, "10.0.0.0/8": 8, "10.1.0.0/16": 16})
    m[IPv4Network("10.1.2.0/24")] = 24
    found = {"10.1.2.3": 24, "10.1.3.3": 16, "10.2.3.4": 8, "11.0.0.1": 0, "10.0.0.0/7": 0}
    assert {key: m[key] for key in found} == found
    assert "192.168.0.1" in m
    all_of_them = {"0.0.0.0/0": 0, "10.0.0.0/8": 8, "10.1.0.0/16": 16, "10.1.2.0/24": 24}
    assert m.snapshot() == {ip_network(key): value for key, value in all_of_them.items()}
    del m["0.0.0.0/0"]
    assert "192.168.0.1" not in m
    with pytest.raises(KeyError):
        del m["10.1.2.3"]  # no such prefix, though one that matches
    assert m.delete(["10.1.0.0/16", "10.9.0.0/16"]) == 1
    assert m["10.1.3.3"] == 8
    m.clear()
    assert not m


def test_prefixes_of_other_data(make):
    m = make(LpmTrie("m", key=ipv6_prefix, value=u32, max_entries=4, initial={"fe80::/10": 1}))
    assert m[IPv6Address("fe80::1")] == 1
    m = make(LpmTrie("m", key=lpm_key(2), value=u32, max_entries=4, initial={(8, b"a"): 1, (16, b"ab"): 2}))
    assert (m[16, b"ab"], m[16, b"ac"], (16, b"bb") in m) == (2, 1, False)
    assert m.snapshot() == {(8, b"a\0"): 1, (16, b"ab"): 2}
    with pytest.raises(RecordError):
        m[17, b"ab"] = 1


# Without keys


@pytest.mark.parametrize(("declare", "order"), [(Queue, [1, 2, 3]), (Stack, [3, 2, 1])])
def test_queues_and_stacks(make, declare, order):
    m = make(declare("m", value=u32, max_entries=3))
    assert not m
    for empty in (m.pop, m.peek):
        with pytest.raises(IndexError, match=f"empty {declare.__name__}"):
            empty()
    assert m.pop(default=None) is None
    m.push(1)
    m.extend([2, 3])
    assert m
    refused(E2BIG, m.push, 4)
    assert (m.peek(), m.pop(), m.pop(), m.pop()) == (order[0], *order)
    m.extend([1, 2, 3])
    m.push(4, BPF_EXIST)
    assert list(m.drain()) == ([2, 3, 4] if declare is Queue else [4, 3, 2])
    m.push(1)
    m.clear()
    assert not m
    for call in (lambda: m.__getitem__(0), lambda: m.__delitem__(0), lambda: len(m), lambda: list(m), m.snapshot):
        with pytest.raises((MapError, RecordError)):
            call()
    for call in (
        lambda: m[0], lambda: m.update({0: 1}), lambda: m.update({}), lambda: m.delete([0]), lambda: m.delete([]),
    ):  # fmt: skip
        with pytest.raises(MapError, match=f"m is a {declare.__name__}, which has no keys") as caught:
            call()
        assert caught.value.do == "it has m.push(value), m.pop() and m.peek()"
    with pytest.raises(TypeError):
        m.pop(0)


def test_what_a_queue_starts_with(make):
    m = make(Queue("m", value=chars(8), max_entries=3, initial=[b"one", b"two"]))
    assert list(m.drain()) == [b"one", b"two"]


def test_a_bloom_filter(make):
    m = make(BloomFilter("m", value=Pair, max_entries=100, initial=[Pair(a=1, b=1)]))
    m.add((2, 2))
    m.push(Pair(a=3, b=3))
    assert all(pair in m for pair in [(1, 1), (2, 2), (3, 3)])
    for call in (m.pop, m.peek, m.clear, lambda: len(m), lambda: list(m), lambda: m.update({1: 2})):
        with pytest.raises(MapError, match="m is a BloomFilter") as caught:
            call()
        assert caught.value.do == "it has m.add(value) and value in m"


def test_the_value_of_one_cpu_where_there_is_one_for_all(make):
    m = table(make)
    m[1] = 2
    for call in (lambda: m.get(1, cpu=0), lambda: m.put(1, 3, cpu=0)):
        with pytest.raises(MapError, match="table is a HashMap, which has one value for all CPUs") as caught:
            call()
        assert (caught.value.rule, caught.value.do) == ("map-cpu", "leave out cpu=")
    assert m[1] == 2


def test_what_has_keys_is_no_queue(make):
    m = table(make)
    for call in (lambda: m.push(1), m.peek, lambda: m.add(1)):
        with pytest.raises(MapError, match="table is a HashMap, which has keys"):
            call()
    with pytest.raises(TypeError):
        m.pop()
