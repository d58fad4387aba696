"""Declarations of maps: each type has its constructor, and what no kernel would create is refused in words."""

import pytest

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.asm.map_types import OPS, all_types, type_of
from bpfasm.asm.map_values import CpuMapValue, DevMapValue
from bpfasm.asm.maps_refused import numbers, sizes
from bpfasm.errors import MapError, RecordError
from bpfasm.uapi import bpf, names

#: Arguments that a constructor wants beside a name.
COUNTS = HashMap("counts", key=u32, value=u64, max_entries=1)
ARGUMENTS = {"key": u32, "value": u64, "max_entries": 4096, "inner": COUNTS}
WANTED = {
    "value max_entries": "ArrayMap PerCpuArrayMap Queue Stack BloomFilter",
    "key value max_entries": "HashMap PerCpuHashMap LruHashMap LruPerCpuHashMap RHash LpmTrie",
    "max_entries": (
        "ProgArray PerfEventArray CgroupArray StackTrace RingBuf UserRingBuf DevMap DevMapHash CpuMap XskMap SockMap "
        "ReuseportSockArray Arena InsnArray"
    ),
    "value": "SkStorage InodeStorage TaskStorage CgrpStorage CgroupStorage PerCpuCgroupStorage",
    "inner max_entries": "ArrayOfMaps",
    "key inner max_entries": "HashOfMaps",
    "key max_entries": "SockHash",
}
CASES = {name: arguments.split() for arguments, names in WANTED.items() for name in names.split()}


def declare(name, **more):
    given = {each: ARGUMENTS[each] for each in CASES[name]} | more
    if name == "LpmTrie":
        given = {"key": ipv4_prefix} | {key: value for key, value in given.items() if key != "key"} | more
    return getattr(bpfasm.asm, name)("name", **given)


@pytest.mark.parametrize("name", CASES)
def test_a_constructor_makes_its_type(name):
    spec = declare(name)
    assert spec.row.spec == name
    assert spec.flags == spec.row.flags
    assert repr(spec) == "<map name>"
    assert spec == declare(name)
    assert hash(spec) == hash(declare(name))


def test_the_table_has_every_type_but_those_that_nobody_creates_yet():
    there = {row.type for row in all_types()}
    missing = {name for number, name in names(bpf, "bpf_map_type").items() if number not in there}
    assert missing == {"BPF_MAP_TYPE_UNSPEC", "BPF_MAP_TYPE_STRUCT_OPS"}
    assert {row.spec for row in all_types()} == set(CASES)


def test_a_row_says_only_what_there_is():
    for row in all_types():
        assert row.ops.keys() <= OPS.keys()
        assert row.keys in ("any", "index", "prefix", "handle", "none")
        assert row.batch in ("", "bucket", "index", "key", "table")
        assert bool(row.batch) == ("lookup_batch" in row.ops)
        assert row.btf in ("no", "yes", "must")
        assert (0 in row.key) == (row.keys == "none")


def test_what_is_not_in_the_table_may_be_anything():
    spec = MapSpec("future", 4000, 3, 0, 0, map_extra=1 << 40)
    assert spec.row.ops.keys() == OPS.keys()
    assert type_of(4000) is spec.row


def test_flags_that_come_by_themselves():
    assert LpmTrie("m", key=ipv4_prefix, value=u32, max_entries=1).flags == BPF_F_NO_PREALLOC
    assert declare("Arena", flags=BPF_F_NO_USER_CONV).flags == BPF_F_MMAPABLE | BPF_F_NO_USER_CONV
    assert declare("HashMap", numa_node=0).flags == BPF_F_NUMA_NODE
    assert declare("HashMap", flags=BPF_F_ZERO_SEED).flags == BPF_F_ZERO_SEED


class Told(Record):
    """An event."""

    pid = u32("tgid")


@pytest.mark.parametrize(
    ("name", "more", "rule", "what", "do"),
    [
        ("HashMap", {"max_entries": 0}, "map-entries", "name has max_entries=0, and HashMap takes 1 or more",
         "give it max_entries=1 or more"),
        ("HashMap", {"key": 0}, "map-key", "name has keys of 0 bytes, and those of HashMap have 1 or more bytes",
         "give it a key of that size"),
        ("ArrayMap", {"value": 0}, "map-value",
         "name has values of 0 bytes, and those of ArrayMap have 1 or more bytes",
         "give it values of that size"),
        ("PerCpuArrayMap", {"value": 40000}, "map-value",
         "name has values of 40000 bytes, and those of PerCpuArrayMap have 1 to 32768 bytes",
         "keep larger ones in a map that is not per CPU"),
        ("LpmTrie", {"key": u32}, "map-key", "name has keys of 4 bytes, and those of LpmTrie have 5 to 260 bytes",
         "take ipv4_prefix, ipv6_prefix or lpm_key(n), or a Record that begins with the number of bits"),
        ("StackTrace", {"value": 12}, "map-value",
         "name has values of 12 bytes, and those of StackTrace have a multiple of 8 bytes, 8 to 65528",
         "give it values of that size"),
        ("DevMap", {"value": 16}, "map-value", "name has values of 16 bytes, and those of DevMap have 4 or 8 bytes",
         "give it values of that size"),
        ("SkStorage", {"value": 70000}, "map-value",
         "name has values of 70000 bytes, and those of SkStorage have 1 to 65535 bytes",
         "give it values of that size"),
        ("RingBuf", {"max_entries": 5000}, "map-entries",
         "name is a ring of 5000 bytes, and a ring has a power of two of them, in whole pages",
         "give it max_entries=8192"),
        ("UserRingBuf", {"max_entries": 64}, "map-entries",
         "name is a ring of 64 bytes, and a ring has a power of two of them, in whole pages",
         "give it max_entries=4096"),
        ("Arena", {"max_entries": 1 << 21}, "map-entries",
         "name has max_entries=2097152, and Arena takes 1 to 1048576",
         "its max_entries are pages, and 4 GiB of them are the most"),
        ("Arena", {"map_extra": 5}, "map-extra", "name has map_extra=0x5, and Arena takes multiples of 4096", None),
        ("Arena", {"map_extra": 1.5}, "map-extra", "name has map_extra=1.5, which is a float",
         "give it an int: map_extra=1"),
        ("HashMap", {"max_entries": 1e4}, "map-entries", "name has max_entries=10000.0, which is a float",
         "give it an int: max_entries=10000"),
        ("RingBuf", {"max_entries": "4096"}, "map-entries", "name has max_entries='4096', which is a str",
         "give it an int as max_entries"),
        ("HashMap", {"record": Told}, "map-record", "name has record=, which is for events, and is a HashMap",
         "a Record may be its key or its value: value=MyRecord"),
        ("HashMap", {"initial": 5}, "map-initial", "name has initial=5, which is an int",
         "what a HashMap holds at first is a dict, or a list where keys are 0, 1, 2 ..."),
        ("Queue", {"initial": {0: 7}}, "map-initial", "name has initial={0: 7}, which is a dict",
         "what a Queue holds at first is a list of values"),
        ("HashMap", {"max_entries": None}, "map-entries", "name has max_entries=None, which is None", None),
        ("BloomFilter", {"hashes": 16}, "map-extra", "name has map_extra=0x10, and BloomFilter takes 0 to 15", None),
        ("HashMap", {"map_extra": 1}, "map-extra", "name has map_extra=0x1, and HashMap takes 0", "leave it out"),
        ("HashMap", {"inner": COUNTS}, "map-inner", "name has an inner map, and is a HashMap",
         "ArrayOfMaps and HashOfMaps hold maps"),
        ("ArrayOfMaps", {"inner": None}, "map-inner", "name does not say what the maps in it look like",
         "give it inner=, a declaration of such a map"),
    ],
)  # fmt: skip
def test_what_is_refused(name, more, rule, what, do):
    with pytest.raises(MapError) as caught:
        declare(name, **more)
    error = caught.value
    assert (error.rule, error.what) == (rule, what)
    assert error.do == do if do else error.do
    assert error.source[0] == __file__


def test_a_trie_s_keys_begin_with_their_bits():
    class Short(Record):
        bits = u32()
        data = u32()

    class Long(Record):
        bits = u64()

    for key in (Short, 8, lpm_key(4), raw(8), chars(8)):
        assert LpmTrie("m", key=key, value=u32, max_entries=1).key_size == 8
    for key in (u64, s64, Long):
        with pytest.raises(MapError, match="m has keys that are no prefixes") as caught:
            LpmTrie("m", key=key, value=u32, max_entries=1)
        assert (caught.value.rule, caught.value.do.partition(",")[0]) == ("map-key", "take ipv4_prefix")


def test_storage_has_no_number_of_entries():
    with pytest.raises(MapError, match="name has max_entries=1, and SkStorage takes 0"):
        MapSpec("name", BPF_MAP_TYPE_SK_STORAGE, u32, u32, 1)


def test_keys_of_queues_and_arrays():
    with pytest.raises(MapError, match="name has keys of 4 bytes, and those of Queue have none"):
        MapSpec("name", BPF_MAP_TYPE_QUEUE, u32, u32, 1)
    with pytest.raises(MapError, match="those of ArrayMap have 4 bytes") as caught:
        MapSpec("name", BPF_MAP_TYPE_ARRAY, u64, u32, 1)
    assert caught.value.do == "its keys are a u32, 0 to max_entries - 1"


def test_sizes_in_words():
    assert [sizes(each) for each in [(0,), (4,), (1,), (4, 8), range(5, 261), range(1, 1 << 31)]] == [
        "none", "4 bytes", "1 byte", "4 or 8 bytes", "5 to 260 bytes", "1 or more bytes",
    ]  # fmt: skip
    assert numbers(range(1 << 32)) == "0 or more"


# Types for keys and values


def test_what_arrays_take():
    triple = array(u16, 3)
    assert (triple.size, triple.align, str(triple)) == (6, 2, "u16[3]")
    for given in ((1, 2, 3), [1, 2, 3], b"\1\0\2\0\3\0"):
        assert triple.pack(given) == b"\1\0\2\0\3\0"
    for wrong in ((1, 2), (1, 2, 1 << 16), 5, b"123", "abc", None):
        with pytest.raises(RecordError):
            triple.pack(wrong)
    for kind, count in [(chars(4), 2), (u32, 0), (4, 2)]:
        with pytest.raises(RecordError, match="there is no array of"):
            array(kind, count)


def test_arrays_in_records():
    class Event(Record):
        pid = u32("tgid")
        ports = array(u16, 2)("from and to")

    event = Event(pid=1, ports=(80, 8080))
    assert event.to_bytes() == b"\1\0\0\0P\0\x90\x1f"
    assert Event.from_bytes(event.to_bytes()) == event
    assert Event(pid=1, ports=[80, 8080]).to_bytes() == event.to_bytes()


def test_what_prefixes_take():
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    network = b"\x08\0\0\0\x0a\0\0\0"
    for given in ("10.0.0.0/8", "10.1.2.3/8", IPv4Network("10.0.0.0/8"), (8, b"\x0a"), (8, b"\x0a\0\0\0"), network):
        assert ipv4_prefix.pack(given) == network
    assert ipv4_prefix.unpack(network) == IPv4Network("10.0.0.0/8")
    assert ipv4_prefix.pack(IPv4Address("1.2.3.4")) == ipv4_prefix.pack("1.2.3.4") == b"\x20\0\0\0\1\2\3\4"
    assert ipv6_prefix.unpack(ipv6_prefix.pack("fe80::/10")) == IPv6Network("fe80::/10")
    assert lpm_key(2).unpack(lpm_key(2).pack((3, b"\xe0"))) == (3, b"\xe0\0")
    for wrong in ("fe80::/10", "10.0.0.0/33", "here", (33, b"\x0a"), (8, b"12345"), (8, "10"), 8, None, b"123"):
        with pytest.raises(RecordError, match="is no ipv4_prefix"):
            ipv4_prefix.pack(wrong)


def test_what_stands_for_a_file_descriptor():
    class Open:
        def fileno(self):
            return 7

    spec = ProgArray("progs", max_entries=1)
    assert spec.value.pack(Open()) == spec.value.pack(7) == b"\7\0\0\0"
    assert SockMap("socks", max_entries=1).value.pack(Open()) == b"\7" + bytes(7)
    for kind in (DevMapValue, CpuMapValue):
        assert kind.from_bytes(b"\1\0\0\0\7\0\0\0").prog == 7
    assert DevMapValue(ifindex=1, prog=Open()).to_bytes() == b"\1\0\0\0\7\0\0\0"
    with pytest.raises(RecordError) as caught:
        spec.value.pack("7")
    assert caught.value.do == "fd takes a file descriptor, or an open object that has one"
