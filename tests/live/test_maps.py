"""Maps in the kernel, from Python."""

import contextlib
import errno
import os
import threading

import pytest
from support import zygote

from bpfasm.asm import *
from bpfasm.btf.write import Writer
from bpfasm.errors import FeatureMissing, KernelError, MapError, RecordError
from bpfasm.kernel import load
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import buffer
from bpfasm.uapi.bpf import sizeof_struct_bpf_map_info, struct_bpf_map_info

pytestmark = pytest.mark.lab

ROUNDS = 40 if zygote.IN_GUEST else 200

CPUS = system.possible_cpus()


class Pair(Record):
    a = u32("one")
    b = u32("two")


@pytest.fixture
def table():
    spec = HashMap("table", key=u32, value=u64, max_entries=100)
    with load(spec) as obj:
        yield obj[spec]


def test_a_hash_is_a_dict(table):
    assert len(table) == 0
    assert not table
    table[1] = 10
    table[2] = 1 << 63
    assert table[1] == 10
    assert table[2] == 1 << 63
    assert 1 in table
    assert 3 not in table
    assert table.get(3) is None
    assert table.get(3, 7) == 7
    assert dict(table.items()) == {1: 10, 2: 1 << 63}
    assert sorted(table) == sorted(table.keys()) == [1, 2]
    assert sorted(table.values()) == [10, 1 << 63]
    assert len(table) == 2
    assert table
    del table[1]
    assert 1 not in table
    table.update({5: 50, 6: 60})
    assert dict(table.items()) == {2: 1 << 63, 5: 50, 6: 60}
    table.clear()
    assert not table


def test_a_missing_key_is_a_key_error(table):
    with pytest.raises(KeyError) as caught:
        table[7]
    assert caught.value.args == (7,)
    with pytest.raises(KeyError):
        del table[7]


def test_a_value_that_does_not_fit_is_refused_before_the_kernel(table):
    with pytest.raises(RecordError):
        table[1] = 1 << 64
    with pytest.raises(RecordError):
        table[-1] = 1


def test_flags(table):
    table.put(1, 10, BPF_NOEXIST)
    with pytest.raises(KernelError) as caught:
        table.put(1, 11, BPF_NOEXIST)
    assert caught.value.errno == errno.EEXIST
    assert "BPF_NOEXIST" in caught.value.what
    table.put(1, 12, BPF_EXIST)
    assert table[1] == 12
    with pytest.raises(KernelError) as caught:
        table.put(2, 10, BPF_EXIST)
    assert caught.value.errno == errno.ENOENT
    assert "BPF_EXIST" in caught.value.what
    table[2] = 5  # the flags of one call are not those of the next
    assert table[2] == 5


def test_a_full_map_says_so():
    spec = HashMap("small", key=u32, value=u32, max_entries=2)
    with load(spec) as obj:
        obj[spec].update({1: 1, 2: 2})
        with pytest.raises(KernelError) as caught:
            obj[spec][3] = 3
    assert caught.value.errno == errno.E2BIG
    assert caught.value.what == "small is full: it holds max_entries = 2 keys"


def test_an_array():
    spec = ArrayMap("array", value=Pair, max_entries=3, initial={1: Pair(a=5, b=6)})
    with load(spec) as obj:
        array = obj[spec]
        assert list(array) == [0, 1, 2]
        assert array[1] == Pair(a=5, b=6)
        assert array[0] == Pair(a=0, b=0)
        assert 3 not in array
        with pytest.raises(KeyError):
            array[3]
        with pytest.raises(KernelError, match="keys are 0 to max_entries - 1 = 2") as caught:
            array[3] = Pair(a=1, b=1)
        assert caught.value.errno == errno.E2BIG
        with pytest.raises(MapError, match="cannot be deleted"):
            del array[0]


def test_keys_and_values_of_plain_size_are_bytes():
    spec = HashMap("plain", key=3, value=5, max_entries=4, initial={b"abc": b"hello"})
    with load(spec) as obj:
        assert dict(obj[spec].items()) == {b"abc": b"hello"}
        obj[spec][bytearray(b"xyz")] = memoryview(b"world")
        assert obj[spec][b"xyz"] == b"world"
        with pytest.raises(RecordError, match="a key of plain is 3 bytes, and 2 were given"):
            obj[spec][b"ab"]
        with pytest.raises(RecordError, match="a value of plain is 5 bytes"):
            obj[spec][b"abc"] = b"hi"


def test_record_keys():
    spec = HashMap("pairs", key=Pair, value=chars(16), max_entries=4)
    with load(spec) as obj:
        obj[spec][Pair(a=1, b=2)] = b"name"
        assert dict(obj[spec].items()) == {Pair(a=1, b=2): b"name"}


def test_initial_values_and_one_map_for_two_programs():
    counts = HashMap("counts", key=u32, value=u64, max_entries=1, initial={0: 42})
    programs = [
        Program(name, BPF_PROG_TYPE_SOCKET_FILTER, [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
        for name in ("first", "second")
    ]
    with load(*programs) as obj:
        assert len(obj.maps) == 1
        assert obj[counts][0] == 42
        assert [obj[program].name for program in programs] == ["first", "second"]
        assert all(obj[program].info().map_ids == (obj[counts].info()["id"],) for program in programs)


def test_iteration_ends_while_every_key_is_deleted_behind_it(table):
    table.update({key: key for key in range(100)})
    seen = []
    for key in table:
        seen.append(key)
        del table[key]
    assert sorted(seen) == list(range(100))
    assert not table


@pytest.mark.lab(on="one")
def test_iteration_ends_while_another_thread_deletes_and_inserts(table):
    stop = threading.Event()

    def churn():
        key = 0
        while not stop.is_set():
            table[key % 50] = key
            table.get((key + 25) % 50)
            with contextlib.suppress(KeyError):
                del table[(key + 13) % 50]
            key += 1

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            keys = list(table)
            assert len(keys) <= table.spec.max_entries
            assert all(key < 50 for key in keys)
            assert all(key < 50 for key, _ in table.items())
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.lab(on="one")
def test_threads_do_not_mix_their_keys(table):
    wrong = []

    def own(number):
        for count in range(2000):
            table[number] = number << 32 | count
            if table[number] != number << 32 | count:
                wrong.append(number)

    threads = [threading.Thread(target=own, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert {key: value & 0xFFFFFFFF for key, value in table.items()} == dict.fromkeys(range(4), 1999)


def test_a_closed_map_does_not_answer():
    spec = HashMap("closed", key=u32, value=u64, max_entries=1)
    with load(spec) as obj:
        table = obj[spec]
    assert table.closed
    table.close()
    for access in (lambda: table[0], lambda: table.put(0, 1), lambda: list(table), lambda: table.fd):
        with pytest.raises(ValueError, match="<LoadedMap closed> is closed"):
            access()


def test_the_kernel_knows_it_by_its_name():
    spec = HashMap("a_name.of_15_ab", key=u32, value=u64, max_entries=7)
    with load(spec) as obj:
        info = obj[spec].info()
    assert info["name"].rstrip(b"\0") == b"a_name.of_15_ab"
    assert (info["type"], info["key_size"], info["value_size"], info["max_entries"]) == (BPF_MAP_TYPE_HASH, 4, 8, 7)


def test_a_map_that_cannot_be():
    with pytest.raises(KernelError) as caught:
        load(HashMap("none", key=u32, value=u64, max_entries=1, flags=1 << 31))
    assert caught.value.errno == errno.EINVAL
    assert "BPF_MAP_TYPE_HASH does not take key 4, value 8 bytes, 1 entries, flags 0x80000000" in caught.value.what
    assert "a flag may be newer than this kernel" in caught.value.do


def test_a_type_that_this_kernel_does_not_have():
    with pytest.raises(FeatureMissing) as caught:
        load(MapSpec("future", 4000, u32, u64, 1))
    assert "has no maps of type BPF_MAP_TYPE_4000" in caught.value.what


def test_probing_types_of_maps():
    assert has_map_type(BPF_MAP_TYPE_HASH) is True
    assert has_map_type(BPF_MAP_TYPE_RINGBUF) is True
    assert has_map_type(BPF_MAP_TYPE_STACK_TRACE) is True
    assert has_map_type(BPF_MAP_TYPE_SK_STORAGE) is True
    assert has_map_type(4000) is False


@pytest.mark.parametrize(
    ("declare", "type"), [(RingBuf, BPF_MAP_TYPE_RINGBUF), (UserRingBuf, BPF_MAP_TYPE_USER_RINGBUF)]
)
def test_a_ring_buffer_is_made(declare, type):
    if has_map_type(type) is False:
        pytest.skip("this kernel has no ring buffer of this kind")
    spec = declare("ring", max_entries=8192)
    with load(spec) as obj:
        info = obj[spec].info()
    assert (info["type"], info["key_size"], info["value_size"], info["max_entries"]) == (type, 0, 0, 8192)


def test_an_array_of_perf_events_has_room_for_every_cpu():
    spec = PerfEventArray("events")
    with load(spec) as obj:
        info = obj[spec].info()
    assert (info["type"], info["key_size"], info["value_size"]) == (BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4)
    assert info["max_entries"] == CPUS


def test_the_kernel_takes_what_the_writer_of_btf_writes():
    btf = Writer()
    u32 = btf.add_int("u32", 4)
    pair = btf.add_struct("pair", 8, [("a", u32, 0), ("b", btf.add_array(btf.add_int("u8", 1), 4), 32)])
    btf.add_datasec(".data", 8, [(btf.add_var("pairs", pair), 0, 8)])
    fd = bpf.btf_load(buffer(btf.to_bytes()))
    os.close(fd)


def test_objects_are_found_by_their_ids():
    specs = [HashMap(f"map{n}", key=u32, value=u32, max_entries=1) for n in range(2)]
    with load(*specs) as obj:
        for spec in specs:
            id = obj[spec].info()["id"]
            assert bpf.get_next_id("map", id - 1) == id
            fd = bpf.get_fd_by_id("map", id)
            try:
                assert bpf.obj_get_info_by_fd(fd, struct_bpf_map_info, sizeof_struct_bpf_map_info)["id"] == id
            finally:
                os.close(fd)
    with pytest.raises(FileNotFoundError, match="BPF_MAP_GET_NEXT_ID"):
        bpf.get_next_id("map", 2**31 - 2)
