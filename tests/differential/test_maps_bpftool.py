"""What is in a map, and the fields of its keys and values, as bpftool shows them."""

import json
import shutil
import subprocess

import pytest

from bpfasm.asm import *
from bpfasm.kernel import load
from bpfasm.kernel.needs import missing

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not shutil.which("bpftool"), reason="needs bpftool (apt install bpftool)"),
    pytest.mark.skipif(bool(missing(["bpf"])), reason="needs the privilege to make maps"),
]


class Event(Record):
    pid = s32("tgid")
    name = chars(8)("name of the thread")
    _ = pad(4)
    times = array(u64, 2)("first and last")


def bpftool(*words):
    return json.loads(subprocess.run(["bpftool", "--json", *words], capture_output=True, check=True).stdout)


def dumped(m):
    return [each["formatted"] for each in bpftool("map", "dump", "id", str(m.info()["id"]))]


def as_shown(event):
    return {"pid": event.pid, "name": event.name.decode(), "times": list(event.times)}


def test_fields_of_records():
    spec = HashMap("events", key=Event, value=Event, max_entries=64)
    with load(spec) as obj:
        m = obj[spec]
        m.update({Event(pid=-n, name=b"n%d" % n, times=(n, n + 1)): (n, b"v", (1 << 63, 0)) for n in range(50)})
        shown = {each["key"]["pid"]: each for each in dumped(m)}
        assert len(shown) == 50
        for key, value in m.items():
            assert shown[key.pid] == {"key": as_shown(key), "value": as_shown(value)}


@pytest.mark.parametrize("kind", [u8, s8, u16, s16, u32, s32, u64, s64])
def test_numbers(kind):
    signed = kind.name.startswith("s")
    value = -5 if signed else (1 << 8 * kind.size) - 1
    spec = ArrayMap("numbers", value=kind, max_entries=2, initial=[3, value])
    with load(spec) as obj:
        # bpftool 7.1 prints u64 as it prints s64
        assert [each["value"] for each in dumped(obj[spec])] in ([3, value], [3, -1])


def test_values_of_each_cpu():
    spec = PerCpuArrayMap("counts", value=u32, max_entries=1)
    with load(spec) as obj:
        obj[spec][0] = list(range(7, 7 + len(obj[spec][0])))
        (element,) = dumped(obj[spec])
        assert [each["value"] for each in element["values"]] == obj[spec][0]


def test_prefixes():
    spec = LpmTrie("routes", key=ipv4_prefix, value=u16, max_entries=4, initial={"10.1.0.0/16": 5})
    with load(spec) as obj:
        assert dumped(obj[spec]) == [{"key": {"prefixlen": 16, "data": [10, 1, 0, 0]}, "value": 5}]


def test_variables():
    limit, last = Global("limit", u32, 5), Global("last", Event, Event(pid=1, name=b"xy", times=(2, 3)))
    program = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [
        BPF_LD_MAP_VALUE(R1, limit, 0),
        BPF_LD_MAP_VALUE(R2, last, 0),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        (m,) = obj.maps
        assert dumped(m) == [{"value": {".data": [{"limit": 5}, {"last": as_shown(obj[last])}]}}]


def test_what_it_says_of_a_map():
    spec = ArrayMap("an_array", value=u64, max_entries=10, flags=BPF_F_MMAPABLE)
    with load(spec) as obj:
        obj[spec].freeze()
        said = bpftool("map", "show", "id", str(obj[spec].info()["id"]))
        expected = {
            "type": "array", "name": "an_array", "flags": BPF_F_MMAPABLE, "bytes_key": 4, "bytes_value": 8,
            "max_entries": 10, "frozen": 1,
        }  # fmt: skip
        assert {key: said[key] for key in expected} == expected
