"""The face of a map over a few operations on bytes; here they are those of a dict."""

import pytest

from bpfasm.asm import *
from bpfasm.asm.mapface import MapFace
from bpfasm.errors import RecordError


class Memory(MapFace):
    """A hash map without a kernel."""

    def __init__(self, spec, cpus=0):
        super().__init__(spec, cpus)
        self.held = {}

    def _lookup(self, key):
        return self.held.get(key)

    def _update(self, key, value, flags):
        self.held[key] = value

    def _delete(self, key):
        return self.held.pop(key, None) is not None

    def _next_key(self, key):
        keys = list(self.held)
        if key not in self.held:
            return keys[0] if keys else None
        place = keys.index(key) + 1
        return keys[place] if place < len(keys) else None


@pytest.fixture
def table():
    return Memory(HashMap("table", key=u32, value=u64, max_entries=8))


def test_it_is_a_dict(table):
    assert not table
    table.update({1: 10, 2: 20})
    table[3] = 30
    assert (len(table), list(table), list(table.values())) == (3, [1, 2, 3], [10, 20, 30])
    assert dict(table.items()) == {1: 10, 2: 20, 3: 30}
    assert (table.get(1), table.get(9), table.get(9, 0), 1 in table, 9 in table) == (10, None, 0, True, False)
    del table[1]
    with pytest.raises(KeyError):
        table[1]
    table.clear()
    assert not table
    assert repr(table) == "<Memory table>"


def test_what_is_kept_are_bytes(table):
    table[1] = 2
    assert table.held == {(1).to_bytes(4, "little"): (2).to_bytes(8, "little")}


def test_keys_deleted_in_the_loop_do_not_start_it_anew(table):
    table.update(dict.fromkeys(range(8), 0))
    seen = []
    for key in table:
        seen.append(key)
        del table[key]
    assert seen == list(range(8))


def test_a_map_that_grows_meanwhile_ends(table):
    table[0] = 0
    seen = 0
    for key in table:
        seen += 1
        table[key + 1] = 0
        table[key + 2] = 0
    assert seen <= table.spec.max_entries


def test_a_key_that_went_away_has_no_item(table):
    table.update({1: 1, 2: 2, 3: 3})
    items = table.items()
    assert next(items) == (1, 1)
    del table[3]
    assert list(items) == [(2, 2)]


def test_per_cpu_values_start_at_multiples_of_8():
    table = Memory(PerCpuHashMap("percpu", key=u32, value=u32, max_entries=1), cpus=3)
    table[0] = [1, 2, 3]
    assert table.held == {bytes(4): b"".join(n.to_bytes(8, "little") for n in (1, 2, 3))}
    assert table[0] == [1, 2, 3]
    table[0] = 9
    assert table[0] == [9, 9, 9]
    with pytest.raises(RecordError, match="percpu has a value for each of 3 CPUs, and 2 were given"):
        table[0] = [1, 2]


def test_sizes_are_checked():
    table = Memory(HashMap("plain", key=2, value=2, max_entries=1))
    table[b"ab"] = b"cd"
    with pytest.raises(RecordError, match="a key of plain is 2 bytes, and 3 were given"):
        table[b"abc"]
    with pytest.raises(RecordError, match="a value of plain is 2 bytes, and 1 were given"):
        table[b"ab"] = b"c"
