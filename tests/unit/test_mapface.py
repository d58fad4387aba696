"""The face of a map over a few operations on bytes; here they are those of a dict and a list."""

import pytest
from support.map_contract import *  # runs what is imported
from support.memory_map import MemoryMap, memory_map

from bpfasm.asm import *
from bpfasm.errors import IterationAborted


@pytest.fixture
def cpus():
    return 3


@pytest.fixture
def make(cpus):
    return lambda spec: memory_map(spec, cpus if spec.per_cpu else 0)


def test_what_is_kept_are_bytes(make):
    m = make(HashMap("table", key=u32, value=u64, max_entries=8))
    m[1] = 2
    assert m.held == {(1).to_bytes(4, "little"): (2).to_bytes(8, "little")}
    assert repr(m) == "<MemoryMap table>"


def test_a_key_that_went_away_has_no_item(make):
    m = make(HashMap("table", key=u32, value=u64, max_entries=8, initial={1: 1, 2: 2, 3: 3}))
    items = m.items()
    assert next(items) == (1, 1)
    del m[3]
    assert list(items) == [(2, 2)]


def test_per_cpu_values_start_at_multiples_of_8(make):
    m = make(PerCpuHashMap("percpu", key=u32, value=u32, max_entries=1))
    m[0] = [1, 2, 3]
    assert m.held == {bytes(4): b"".join(n.to_bytes(8, "little") for n in (1, 2, 3))}


class Restless(MemoryMap):
    """A hash map in which the key that is asked about next goes away, as a busy program may have it."""

    def _next_key(self, key):
        if key is not None and self.gone:
            self.held.pop(self.gone.pop(0), None)
        return super()._next_key(key)


def restless(gone):
    m = Restless(HashMap("table", key=u32, value=u64, max_entries=8, initial={n: n for n in range(5)}))
    m.gone = [n.to_bytes(4, "little") for n in gone]
    return m


def test_a_map_whose_next_key_went_is_gone_through_again():
    # 1 is asked for as the next of 0, and gone when its own next is.
    m = restless([9, 1])
    assert list(m.items()) == [(0, 0), (2, 2), (3, 3), (4, 4)]
    with pytest.raises(IterationAborted) as caught:
        list(restless([9, 1]).items(strict=True))
    assert caught.value.rule == "map-changed"
    assert isinstance(caught.value, RuntimeError)


def test_a_map_without_an_end_ends():
    class Endless(MemoryMap):
        def _next_key(self, key):
            return ((int.from_bytes(key, "little") + 1) % 1000 if key else 0).to_bytes(4, "little")

    m = Endless(HashMap("table", key=u32, value=u64, max_entries=8, initial={n: n for n in range(5)}))
    assert sorted(m) == list(range(5))
    with pytest.raises(IterationAborted):
        list(m.keys(strict=True))


class Batched(MemoryMap):
    """A map that is read in batches which come again, as those of an RHash that grows."""

    chunks = ()

    def _read_batches(self, take):
        for keys in self.chunks:
            yield (
                b"".join(n.to_bytes(4, "little") for n in keys),
                b"".join(n.to_bytes(8, "little") for n in keys),
                len(keys),
            )


def test_batches_that_start_again_give_each_key_once():
    m = Batched(RHash("table", key=u32, value=u64, max_entries=8))
    m.chunks = [[1, 2, 3], [1, 2, 3], [2, 4]]
    assert list(m.items()) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    with pytest.raises(IterationAborted):
        list(m.items(strict=True))
    m.chunks = [[1, 2, 3], [4]]
    assert list(m.items(strict=True)) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    m.chunks = [[1, 2]] * 100
    assert list(m.items()) == [(1, 1), (2, 2)]
