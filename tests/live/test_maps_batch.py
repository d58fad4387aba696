"""Many elements with few system calls: batches give what one by one gives, and what they cannot do is done so."""

import contextlib
import errno
import threading

import pytest
from support import zygote
from support.each import each

from bpfasm.asm import *
from bpfasm.asm.map_types import OPS
from bpfasm.errors import IterationAborted, KernelError
from bpfasm.kernel import load
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import batch

pytestmark = pytest.mark.lab

#: More than the largest batch in these tests; an emulated guest takes seconds for a thousand.
MANY = 300 if zygote.IN_GUEST else 1000


class Pair(Record):
    a = u32("one")
    b = u32("two")


SPECS = [
    HashMap("m", key=u32, value=u64, max_entries=MANY),
    HashMap("m", key=Pair, value=chars(12), max_entries=MANY),
    LruHashMap("m", key=u64, value=u8, max_entries=4 * MANY),
    PerCpuHashMap("m", key=u32, value=u32, max_entries=MANY),
    ArrayMap("m", value=u32, max_entries=MANY),
    PerCpuArrayMap("m", value=u16, max_entries=MANY),
    LpmTrie("m", key=ipv4_prefix, value=u32, max_entries=MANY),
    RHash("m", key=u32, value=u64, max_entries=MANY),
]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=[f"{spec.row.spec}-{n}" for n, spec in enumerate(SPECS)])


def elements(spec, count=MANY):
    """Return different keys with different values."""
    from ipaddress import IPv4Network

    key = {Pair: lambda n: Pair(a=n, b=n + 1), ipv4_prefix: lambda n: IPv4Network((n << 8, 24))}.get(spec.key, int)
    value = {u8: lambda n: n & 255, u16: lambda n: n & 65535}.get(spec.value, lambda n: 3 * n)
    if spec.value not in (u8, u16, u32, u64):
        value = b"%d".__mod__
    return {key(n): value(n) for n in range(count)}


def held(m, values):
    """Return values as the map gives them: those of each CPU in a list."""
    if not m.spec.per_cpu:
        return values
    return {key: [value] * len(next(iter(m.values()))) for key, value in values.items()}


@pytest.fixture
def made(spec):
    skip_without(spec)
    with load(spec) as obj:
        yield obj[spec]


def skip_without(spec):
    if has_map_type(spec.type) is False:
        pytest.skip(f"this kernel has no {spec.row.spec}")


@contextlib.contextmanager
def one_by_one(m):
    """Take the batches away, as an old kernel has it."""
    kept, m._batches._lacking = m._batches._lacking, set(OPS.values())
    yield
    m._batches._lacking = kept


@each_spec
@pytest.mark.parametrize("first", [1, 256])
def test_what_is_written_is_read(spec, made, monkeypatch, first):
    """Also with batches of one, which no bucket with two elements fits into: ENOSPC."""
    monkeypatch.setattr(batch, "FIRST", first)
    monkeypatch.setattr(batch, "GROWTH", 2)
    values = elements(spec)
    made.update(values)
    expected = held(made, values)
    assert made.snapshot(strict=True) == dict(made.items()) == expected
    assert len(made) == MANY
    assert set(made) == set(expected)
    if "delete" in spec.row.ops:
        gone = list(values)[::3]
        assert made.delete([*gone, *gone[:5]]) == len(gone)
        for key in gone:
            del expected[key]
        assert made.snapshot() == expected
        assert dict(made.drain()) == expected
        assert not made
        made.update(values)
        made.clear()
        assert not made


@each_spec
def test_one_by_one_is_the_same(spec, made):
    values = elements(spec, 120)
    with one_by_one(made):
        made.update(values)
    batched = made.snapshot()
    with one_by_one(made):
        assert made.snapshot(strict=True) == batched
        assert list(made.items()) == list(zip(made.keys(), made.values(), strict=True))
        if "delete" in spec.row.ops:
            gone = list(values)[:100]
            assert made.delete(gone) == 100
            assert dict(made.drain()) == {key: batched[key] for key in list(values)[100:]}
            made.update(values)
            made.clear()
    if "delete" in spec.row.ops:
        assert not made


def test_batches_are_used_where_there_are_some():
    """Few system calls: one by one it would be hundreds and more."""
    spec = SPECS[0]
    with load(spec) as obj:
        m = obj[spec]
        calls = []
        kept = batch.syscall
        batch.syscall = lambda *arguments: calls.append(arguments[1]) or kept(*arguments)
        single = m._lookup, m._update, m._next_key, m._delete
        m._lookup = m._update = m._next_key = m._delete = None
        try:
            m.update(elements(spec))
            assert len(m.snapshot()) == MANY
            assert m.delete(range(100)) == 100
            assert len(list(m.drain())) == MANY - 100
        finally:
            batch.syscall = kept
            m._lookup, m._update, m._next_key, m._delete = single
    assert set(calls) == {OPS[op] for op in ("update_batch", "lookup_batch", "delete_batch", "take_batch")}
    assert len(calls) < 20


@pytest.mark.parametrize("batches", [True, False])
@each([spec for spec in SPECS if spec.row.spec in ("HashMap", "PerCpuHashMap", "LpmTrie", "RHash")], named=str)
def test_a_batch_that_stops_at_what_does_not_fit(spec, batches):
    """What came before is written, and nothing behind; the error is that of the one element."""
    skip_without(spec)
    small = spec.replace(max_entries=100)
    with load(small) as obj, contextlib.nullcontext() if batches else one_by_one(obj[small]):
        m = obj[small]
        values = elements(spec, 150)
        with pytest.raises(KernelError, match="m is full: it holds max_entries = 100 keys"):
            m.update(values)
        kept = m.snapshot()
        if spec.row.spec == "PerCpuHashMap":
            assert len(kept) == 100
        else:
            assert kept == {key: values[key] for key in list(values)[:100]}


def test_flags_of_a_batch():
    spec = SPECS[0]
    with load(spec) as obj:
        m = obj[spec]
        m.update({1: 1, 2: 2}, BPF_NOEXIST)
        with pytest.raises(KernelError) as caught:
            m.update({3: 3, 1: 10, 4: 4}, BPF_NOEXIST)
        assert caught.value.errno == errno.EEXIST
        assert m.snapshot() == {1: 1, 2: 2, 3: 3}
        with pytest.raises(KernelError) as caught:
            m.update({1: 10, 5: 5}, BPF_EXIST)
        assert caught.value.errno == errno.ENOENT
        assert m.snapshot() == {1: 10, 2: 2, 3: 3}


@pytest.mark.lab(on="one")
@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_while_keys_come_and_go(batches, strict):
    """No key comes twice; in batches, which hold a bucket's lock, those that stay are all there."""
    spec = HashMap("m", key=u32, value=u64, max_entries=2000)
    stay = {2 * n: n for n in range(MANY // 2)}
    stop = threading.Event()
    with load(spec) as obj:
        m = obj[spec]
        m.update(stay)

        def churn():
            while not stop.is_set():
                for n in range(1, MANY // 2, 2):
                    m[n] = 0
                m.delete(range(1, MANY // 2, 2))

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            with contextlib.nullcontext() if batches else one_by_one(m):
                for _ in range(5):
                    with contextlib.suppress(() if batches or not strict else IterationAborted):
                        found = list(m.items(strict=strict))
                        assert len(found) == len({key for key, _ in found})
                        if batches:
                            assert stay.items() <= dict(found).items()
        finally:
            stop.set()
            thread.join()
    assert m.closed


def test_a_reading_that_is_left():
    """The first batch is small: who wants one element does not wait for all."""
    spec = SPECS[0]
    with load(spec) as obj:
        m = obj[spec]
        m.update(elements(spec))
        items = m.items()
        key, value = next(items)
        assert value == 3 * key
        m.clear()
        assert 200 < len(list(items)) < 256  # what was read by then
        del items
        assert next(iter(m), None) is None


@pytest.mark.parametrize("batches", [True, False], ids=["batches", "one by one"])
def test_a_map_that_is_closed_while_it_is_gone_through(batches):
    """Its fd's number is another map's by then: nothing of that one is read."""
    spec, other = (HashMap(name, key=u32, value=u64, max_entries=2000) for name in ("m", "other"))
    with load(spec) as obj, contextlib.ExitStack() as stack:
        m = obj[spec]
        m.update(dict.fromkeys(range(2000), 1))
        if not batches:
            m._batches._lacking = set(OPS.values())
        found = m.items()
        next(found)
        fd = m.fd
        m.close()
        another = stack.enter_context(load(other))[other]
        assert another.fd == fd
        another.update(dict.fromkeys(range(2000), 2))
        with pytest.raises(ValueError, match="<LoadedMap m> is closed"):
            list(found)


def test_a_batch_of_large_values_has_few():
    spec = ArrayMap("m", value=chars(1 << 20), max_entries=6, initial=[bytes([65 + n]) for n in range(6)])
    sizes = []
    with load(spec) as obj, pytest.MonkeyPatch.context() as patch:
        resize = batch._Reading.resize
        patch.setattr(batch._Reading, "resize", lambda self, room: (sizes.append(room), resize(self, room)))
        assert [bytes(value[:2]).rstrip(b"\0") for value in obj[spec].values()] == [
            b"A",
            b"B",
            b"C",
            b"D",
            b"E",
            b"F",
        ]
    assert sizes == [batch.MOST_BYTES // ((1 << 20) + 4)]


def test_a_closed_map_has_no_batches():
    spec = SPECS[0]
    with load(spec) as obj:
        m = obj[spec]
        m.update({1: 1, 2: 2})
    for call in (m.snapshot, m.clear, lambda: m.update({1: 1}), lambda: m.delete([1]), lambda: list(m.drain())):
        with pytest.raises(ValueError, match="<LoadedMap m> is closed"):
            call()
