"""``bpfasm prog|map|link|btf``: what a user sees of the objects in the kernel; beside bpftool where that is there."""

import contextlib
import ctypes
import errno
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support.bpf2 import bpf as by_hand, kernel_types, running_series

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.errors import BpfasmError
from bpfasm.kernel import load
from bpfasm.kernel.links import info as link_info
from bpfasm.kernel.maps.dump import MapContent
from bpfasm.kernel.objects import ids
from bpfasm.syscall import bpf, system
from bpfasm.syscall.kallsyms import Kallsyms
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi, names
from bpfasm.uapi.bpf import BPF_RAW_TRACEPOINT_OPEN

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "bpfasm" / "views" / "schemas"
EXIT = BPF_EXIT_INSN()
TC = BPF_PROG_TYPE_SCHED_CLS
PACKET = bytes(64)


class Pair(Record):
    low = u32("a number")
    high = s32("another")
    name = chars(8)("a text")


def bpfasm(*words, status=0):
    """Run the command in this process; return its output, or what it says where it fails."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        done = cli.main([*map(str, words)])
    said, complaint = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert done == status, complaint
    return complaint if status and "--json" not in words else said


def document(name, *words):
    """Return a JSON document; held against its published schema where that can be done."""
    loaded = json.loads(bpfasm(*words, "--json"))
    assert loaded["schema"] == f"bpfasm/{name}/1"
    try:
        import jsonschema
    except ImportError:
        return loaded
    jsonschema.validate(loaded, json.loads((SCHEMAS / f"{name}-1.json").read_text()))
    return loaded


def bpftool(*words):
    """Return what bpftool says; skip without it."""
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool (apt install bpftool)")
    return subprocess.run(["bpftool", *map(str, words)], capture_output=True, text=True, check=True).stdout


def untimed(text):
    """Take the time of loading out: it is found anew each time, and may be on either side of a full second."""
    return re.sub(r"loaded_at \S+", "loaded_at", re.sub(r"\n\tpids .*", "", text))


def program(name="shown", number=0):
    """Return a program with a function, a map and a helper."""
    table = HashMap(f"{name[:9]}_table", key=u32, value=Pair, max_entries=8)
    sub = Subprog("sub", [BPF_MOV64_IMM(R0, number), EXIT])
    body = [
        BPF_LD_MAP_FD(R1, table),
        BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
        BPF_CALL_REL(sub),
        EXIT,
    ]
    return Program(name, TC, body), table


@pytest.fixture
def shown():
    prog, table = program("a_name_of_twenty_one")
    with load(prog, lines=True) as obj:
        yield obj[prog], obj[table]


# Programs


def test_a_program_in_words(shown):
    about = shown[0].info()
    assert untimed(bpfasm("prog", "show", "id", about.id)) == untimed(bpfasm("prog", "list", f"id:{about.id}"))
    lines = bpfasm("prog", "show", "id", about.id).splitlines()
    assert lines[0] == f"{about.id}: sched_cls  name a_name_of_twenty_one  tag {about.tag}  gpl"
    assert re.fullmatch(r"\tloaded_at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}  uid 0", lines[1])
    jited = f"jited {about.jited_len}B" if about.jited_len else "not jited"
    assert lines[2] == (
        f"\txlated {about.xlated_len}B  {jited}  memlock {about.memlock}B  map_ids {about.map_ids[0]}"
    )
    assert lines[3:] == [f"\tbtf_id {about.btf_id}"]


@pytest.mark.lab(on="live")
def test_a_program_as_bpftool_shows_it(shown):
    id = shown[0].info().id
    # A newer bpftool says which processes hold it, too.
    assert untimed(bpfasm("prog", "show", "id", id)) == untimed(bpftool("prog", "show", "id", id))


def test_all_programs_are_listed(shown):
    listed = document("prog-list", "prog", "list")["programs"]
    (mine,) = [each for each in listed if each["id"] == shown[0].info().id]
    assert (mine["type"], mine["name"], mine["jited"]) == ("sched_cls", "a_name_of_twenty_one", True)
    assert [each["name"] for each in mine["functions"]] == ["a_name_of_twenty_one", "sub"]
    assert f"{mine['id']}: sched_cls  name a_name_of_twenty_one" in bpfasm("prog")


@pytest.mark.lab(on="live")
def test_programs_as_bpftool_lists_them(shown):
    ours = {each["id"]: each for each in document("prog-list", "prog", "list")["programs"]}
    said = {each["id"]: each for each in json.loads(bpftool("-j", "prog", "list"))}
    both = ours.keys() & said.keys()  # others come and go meanwhile
    assert shown[0].info().id in both
    for id in both:
        for key in ("type", "tag", "gpl_compatible", "uid", "bytes_xlated", "jited", "bytes_memlock", "map_ids"):
            assert ours[id][key] == said[id].get(key, [])
        assert ours[id]["name"] == said[id].get("name", "")


@pytest.mark.lab(on="one")
def test_several_programs_of_one_name():
    (one, _), (two, _) = program("alike", 1), program("alike", 2)
    with load(one) as first, load(two) as second:
        ids = [each.programs[0].info().id for each in (first, second)]
        assert [each["id"] for each in document("prog-list", "prog", "show", "name", "alike")["programs"]] == ids
        text = bpfasm("prog", "dump", "xlated", "name", "alike")
        assert [line for line in text.splitlines() if "r0 = " in line] == [
            "   4: (b7) r0 = 1",
            "   4: (b7) r0 = 2",
        ] or (text.count("r0 = 1") == text.count("r0 = 2") == 1)
        assert len(document("programs", "prog", "dump", "xlated", "name", "alike")["programs"]) == 2
        said = bpfasm("prog", "dump", "xlated", "name", "alike", "file", "/dev/null", status=2)
        assert said.splitlines() == [
            "error: several programs have the name alike [several-programs]", "take one by its id",
        ]  # fmt: skip
        said = bpfasm("asm", "name:alike", status=2)
        assert "name:alike has 2 programs: alike, alike [several-programs]\ntake one by its id" in said


def test_translated_instructions(shown):
    prog, table = shown
    id, map_id = prog.info().id, table.info()["id"]
    lines = bpfasm("prog", "dump", "xlated", "id", id).splitlines()
    assert lines[0] in ("a_name_of_twenty_one:", lines[0])
    assert f"   0: (18) r1 = map[id:{map_id}]  ; {table.spec.name}" in lines
    assert "; BPF_LD_MAP_FD(R1, table)," in lines
    assert "sub:" in lines
    if not any("names hidden" in line for line in lines):
        assert any(re.fullmatch(r"   2: \(85\) call bpf_ktime_get_ns#\d+", line) for line in lines)
    with_more = bpfasm("prog", "dump", "xlated", "id", id, "opcodes", "linum").splitlines()
    assert any(re.search(rf"\[file:{re.escape(__file__)} line_num:\d+ line_col:0\]$", line) for line in with_more)
    assert f"       18 11 00 00 {struct.pack('<I', map_id).hex(' ')} 00 00 00 00 00 00 00 00" in with_more
    plain = bpfasm("disasm", f"id:{id}").splitlines()
    assert f"0: (18) r1 = map[id:{map_id}]  ; {table.spec.name}" in plain
    assert "\n0: (18) r1 = map[id:" in bpfasm("disasm", f"tag:{prog.info().tag}")
    insns = document("programs", "disasm", f"id:{id}")["programs"][0]["insns"]
    assert (insns[0]["note"], insns[0]["text"]) == (table.spec.name, f"(18) r1 = map[id:{map_id}]")
    assert bpfasm("asm", f"id:{id}").split() == [
        prog.xlated()[at : at + 8].hex() for at in range(0, prog.info().xlated_len, 8)
    ]
    assert "BPF_LD_MAP_FD(BPF_REG_1, " in bpfasm("disasm", f"id:{id}", "--to", "macro")


@pytest.mark.lab(on="live")
def test_translated_instructions_as_bpftool_dumps_them(shown, tmp_path):
    id, file = shown[0].info().id, tmp_path / "code"
    for more in ([], ["opcodes"], ["linum"]):
        said = bpftool("prog", "dump", "xlated", "id", id, *more).splitlines()
        ours = bpfasm("prog", "dump", "xlated", "id", id, *more).splitlines()
        # bpftool has the prototype of a function, and its symbol with the tag.
        said = [re.sub(r"^\w.* (\w+)\(.*\):$", r"\1:", re.sub(r"#bpf_prog_[0-9a-f]+_", "#", line)) for line in said]
        assert [re.sub(r"  ; .*", "", line) for line in ours] == said
    bpfasm("prog", "dump", "xlated", "id", id, "file", file)
    assert file.read_bytes() == shown[0].xlated()


@pytest.mark.lab(on="live")
def test_native_instructions(shown, tmp_path):
    prog, file = shown[0], tmp_path / "code"
    id = prog.info().id
    if not prog.jited():
        assert "[not-jited]" in bpfasm("prog", "dump", "jited", "id", id, status=3)
        return
    bpfasm("prog", "dump", "jited", "id", id, "file", file)
    assert file.read_bytes() == prog.jited()
    pytest.importorskip("capstone")
    lines = bpfasm("prog", "dump", "jited", "id", id).splitlines()
    assert lines[0] == "a_name_of_twenty_one:"
    assert "sub:" in lines
    # Between them the source and the translated instructions, in order.
    slots = [int(line[2:].split(":")[0]) for line in lines if re.match(r"; +\d+: \(", line)]
    assert slots == sorted(slots)
    assert slots[:3] == [0, 2, 3]
    assert "; BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns)," in lines
    calls = [line for line in lines if "\tcall" in line]
    assert any(line.endswith("; sub") for line in calls)
    found = document("native", "prog", "dump", "jited", "id", id)
    code = "".join(insn["bytes"] for function in found["functions"] for insn in function["insns"])
    assert code == prog.jited().hex()
    assert [function["name"] for function in found["functions"]] == ["a_name_of_twenty_one", "sub"]
    opcodes = bpfasm("prog", "dump", "jited", "id", id, "opcodes").splitlines()
    assert (
        "".join(line for line in opcodes if re.fullmatch(r"\t([0-9a-f]{2} ?)+", line))
        .replace("\t", "")
        .replace(" ", "")
        == prog.jited().hex()
    )


def test_runs_are_shown():
    from bpfasm.kernel.stats import run_stats

    prog, _ = program("run")
    with load(prog) as obj:
        with run_stats():
            obj[prog].test_run(PACKET, repeat=7)
        head = bpfasm("prog", "show", "id", obj[prog].info().id).splitlines()[0]
    assert re.search(r"  run_time_ns \d+  run_cnt 7$", head)


# Maps


def spec(**more):
    return HashMap("typed", **{"key": u32, "value": Pair, "max_entries": 8, **more})


def test_a_map_in_words():
    with load(spec()) as obj:
        about = obj.maps[0].info()
        lines = bpfasm("map", "show", "id", about["id"]).splitlines()
        assert lines[0] == f"{about['id']}: hash  name typed  flags 0x0"
        assert re.fullmatch(r"\tkey 4B  value 16B  max_entries 8  memlock \d+B", lines[1])
        (found,) = document("map-list", "map", "show", f"id:{about['id']}")["maps"]
        assert (found["type"], found["name"], found["bytes_value"], found["frozen"]) == ("hash", "typed", 16, False)
        obj.maps[0].freeze()
        assert bpfasm("map", "show", "id", about["id"]).splitlines()[2].endswith("frozen")


@pytest.mark.lab(on="live")
def test_maps_as_bpftool_lists_them():
    with load(spec(), ArrayMap("plain", value=8, max_entries=3)) as obj:
        mine = {each.info()["id"] for each in obj.maps}
        ours = {each["id"]: each for each in document("map-list", "map", "list")["maps"]}
        said = {each["id"]: each for each in json.loads(bpftool("-j", "map", "list"))}
        assert mine <= ours.keys() & said.keys()
        for id in ours.keys() & said.keys():
            for key in ("type", "flags", "bytes_key", "bytes_value", "max_entries", "bytes_memlock"):
                assert ours[id][key] == said[id][key]
        for id in mine:
            assert bpfasm("map", "show", "id", id) == re.sub(r"\n\tpids .*", "", bpftool("map", "show", "id", id))


VALUES = {1: Pair(low=1, high=-5, name=b"one"), 2: Pair(low=4_000_000_000, high=7, name=b"two")}


def test_a_map_with_types_is_decoded():
    with load(spec(initial=VALUES)) as obj:
        id = obj.maps[0].info()["id"]
        lines = bpfasm("map", "dump", "id", id).splitlines()
        found = document("map-dump", "map", "dump", "id", id)
        assert found["typed"] is MapContent(obj.maps[0].fd).typed
        if not found["typed"]:
            pytest.skip("this kernel keeps no types of maps")
        assert sorted(lines[:2]) == [
            'key: 1  value: {"low": 1, "high": -5, "name": "one"}',
            'key: 2  value: {"low": 4000000000, "high": 7, "name": "two"}',
        ]
        assert lines[2] == "Found 2 elements"
        values = {each["key"]: each["values"][0] for each in found["elements"]}
        assert values[1]["value"] == {"low": 1, "high": -5, "name": "one"}
        assert values[1]["value_hex"] == VALUES[1].to_bytes().hex()


@pytest.mark.lab(on="live")
def test_decoded_as_bpftool_does_it():
    with load(spec(initial=VALUES)) as obj:
        id = obj.maps[0].info()["id"]
        said = {each["key"][0]: each for each in json.loads(bpftool("-j", "map", "dump", "id", id))}
        ours = document("map-dump", "map", "dump", "id", id)["elements"]
        assert len(said) == len(ours) == 2
        for each in ours:
            other = next(s for s in said.values() if bytes(int(b, 16) for b in s["key"]).hex() == each["key_hex"])
            assert {"key": each["key"], "value": each["values"][0]["value"]} == other["formatted"]


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "declared",
    [
        HashMap("bytes", key=4, value=8, max_entries=4, initial={b"\1\0\0\0": bytes(8), b"\2\0\0\0": b"12345678"}),
        HashMap("wide", key=4, value=40, max_entries=4, initial={b"\1\0\0\0": bytes(range(40))}),
        HashMap("long", key=20, value=4, max_entries=4, initial={bytes(range(20)): b"abcd"}),
        HashMap("middle", key=12, value=16, max_entries=4, initial={bytes(12): bytes(range(16))}),
        HashMap("none", key=4, value=4, max_entries=4),
        PerCpuHashMap("percpu", key=4, value=5, max_entries=4, initial={b"\7\0\0\0": b"every"}),
    ],
    ids=lambda declared: declared.name,
)
def test_bytes_as_bpftool_dumps_them(declared):
    with load(declared) as obj:
        id = obj.maps[0].info()["id"]
        lines = bpfasm("map", "dump", "id", id)
        count = len(declared.initial)
        assert lines.endswith(f"Found {count} element{'' if count == 1 else 's'}\n")
        found = document("map-dump", "map", "dump", "id", id)
        assert found["typed"] is False
        assert all(len(each["values"]) in (1, system.possible_cpus()) for each in found["elements"])
        # Without types: a map whose sizes are plain numbers has none.
        said = bpftool("map", "dump", "id", id)
        assert lines == said


def test_values_of_every_cpu_are_decoded():
    declared = PerCpuArrayMap("percpu", value=u64, max_entries=2, initial={1: 77})
    with load(declared) as obj:
        id = obj.maps[0].info()["id"]
        if not MapContent(obj.maps[0].fd).typed:
            pytest.skip("this kernel keeps no types of maps")
        lines = bpfasm("map", "dump", "id", id).splitlines()
        cpus = system.possible_cpus()
        assert lines == [
            "key: 0", *(f"value (CPU {cpu:02d}): 0" for cpu in range(cpus)),
            "key: 1", *(f"value (CPU {cpu:02d}): 77" for cpu in range(cpus)), "Found 2 elements",
        ]  # fmt: skip
        values = document("map-dump", "map", "dump", "id", id)["elements"][1]["values"]
        assert [(each["cpu"], each["value"]) for each in values] == [(cpu, 77) for cpu in range(cpus)]


def test_maps_in_maps_and_programs_in_maps():
    inner = ArrayMap("inner", value=4, max_entries=1)
    outer = ArrayOfMaps("outer", inner=inner, max_entries=2, initial={1: inner})
    target = Program("target", TC, [BPF_MOV64_IMM(R0, 0), EXIT])
    progs = ProgArray("progs", max_entries=2, initial={0: target})
    with load(outer, progs) as obj:
        inner_id, prog_id = obj[inner].info()["id"], obj[target].info().id
        lines = bpfasm("map", "dump", "id", obj[outer].info()["id"]).splitlines()
        assert lines[-2:] == [
            f"key: 01 00 00 00  inner_map_id: {struct.pack('<I', inner_id).hex(' ')}", "Found 1 element",
        ]  # fmt: skip
        assert "key: 00 00 00 00  inner_map_id: <no entry>" in lines
        lines = bpfasm("map", "dump", "id", obj[progs].info()["id"]).splitlines()
        assert lines[-1] == "Found 1 element"
        assert (
            f"key: 0  value: {prog_id}" in lines
            or f"key: 00 00 00 00  value: {struct.pack('<I', prog_id).hex(' ')}" in lines
        )


def test_a_map_without_keys():
    queue = Queue("queue", value=u32, max_entries=4)
    with load(queue) as obj:
        id = obj.maps[0].info()["id"]
        said = bpfasm("map", "dump", "id", id, status=3).splitlines()
        assert said[0] == "error: a map of type BPF_MAP_TYPE_QUEUE has no keys to go over [map-dump]"
        assert json.loads(bpfasm("map", "dump", "id", id, "--json", status=3))["error"]["rule"] == "map-dump"


def test_a_map_that_changes_while_it_is_read():
    declared = HashMap("busy", key=u32, value=u32, max_entries=100, initial={n: n for n in range(100)})
    with load(declared) as obj:
        content = MapContent(obj.maps[0].fd)
        seen = 0
        for element in content:
            seen += 1
            assert len(element.values) == 1
            obj.maps[0].clear()
        assert 1 <= seen <= 2  # the next key was asked for before


def test_no_key_comes_twice_where_others_go_meanwhile():
    """The key that is read and the next one go: of that one, the next is the first again."""
    declared = HashMap("fading", key=u32, value=u32, max_entries=100, initial={n: n for n in range(100)})
    with load(declared) as obj:
        m = obj.maps[0]
        order = list(m)
        keys = []
        for element in MapContent(m.fd):
            keys.append(int.from_bytes(element.key, sys.byteorder))
            if len(keys) == 50:
                m.delete(order[50:52])
        assert len(keys) == len(set(keys))
        # What was there all the time came, and of the two that went the one that was asked for before at most.
        assert set(order) - set(order[50:52]) <= set(keys)


def test_several_maps_of_one_name():
    declared = HashMap("twin_map", key=4, value=4, max_entries=1, initial={bytes(4): b"same"})
    with load(declared), load(declared):
        one = "key: 00 00 00 00  value: 73 61 6d 65\nFound 1 element\n"
        assert bpfasm("map", "dump", "name", "twin_map") == f"{one}\n{one}"
        said = json.loads(bpfasm("map", "dump", "name", "twin_map", "--json", status=2))["error"]
        assert (said["rule"], said["what"]) == ("several-maps", "several maps have the name twin_map")


# Links


@pytest.fixture
def links():
    """A raw tracepoint, and an XDP program on the loopback device, each by a link; give the fds."""
    raw = Program("raw", BPF_PROG_TYPE_RAW_TRACEPOINT, [BPF_MOV64_IMM(R0, 0), EXIT])
    xdp = Program("xdp", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, XDP_PASS), EXIT])
    with load(raw, xdp) as obj:
        name = ctypes.create_string_buffer(b"sched_process_exit")
        attributes = struct.pack("=QI", ctypes.addressof(name), obj[raw].fd)
        fds = [by_hand(BPF_RAW_TRACEPOINT_OPEN, attributes)[0]]
        lo = int(Path("/sys/class/net/lo/ifindex").read_text())
        fds.append(bpf.link_create(prog_fd=obj[xdp].fd, target_fd=lo, attach_type=BPF_XDP, flags=1 << 1))
        yield obj[raw], obj[xdp], fds
        for fd in fds:
            os.close(fd)


def test_links_in_words(links):
    raw, xdp, fds = links
    first, second = (link_info.link_info(fd) for fd in fds)
    assert (first.kind, first.prog_id, first.details["tp_name"]) == (
        "raw_tracepoint", raw.info().id, "sched_process_exit",
    )  # fmt: skip
    assert second == link_info.LinkInfo(second.id, second.type, xdp.info().id, {"ifindex": 1})
    lines = bpfasm("link", "show", "id", first.id).splitlines()
    assert lines[0] == f"{first.id}: raw_tracepoint  prog {raw.info().id}"
    assert lines[1].startswith("\ttp_name sched_process_exit")
    assert bpfasm("link", "list", f"id:{second.id}") == f"{second.id}: xdp  prog {xdp.info().id}\n\tifindex 1\n"
    listed = {each["id"]: each for each in document("link-list", "link", "list")["links"]}
    assert listed[second.id]["details"] == {"ifindex": 1}


@pytest.mark.lab(on="live")
def test_links_as_bpftool_lists_them(links):
    ours = {each["id"]: each for each in document("link-list", "link")["links"]}
    said = {each["id"]: each for each in json.loads(bpftool("-j", "link", "list"))}
    mine = {link_info.link_info(fd).id for fd in links[2]}
    assert mine <= ours.keys() & said.keys()
    for id in mine:
        assert (ours[id]["type"], ours[id]["prog_id"]) == (said[id]["type"], said[id]["prog_id"])


def test_a_link_of_an_iterator():
    over = Program(
        "over", BPF_PROG_TYPE_TRACING, [BPF_MOV64_IMM(R0, 0), EXIT], expected_attach_type=BPF_TRACE_ITER,
        attach_btf="task",
    )  # fmt: skip
    try:
        obj = load(over)
    except BpfasmError as lack:
        pytest.skip(lack.what)
    with obj:
        fd = bpf.link_create(prog_fd=obj[over].fd, attach_type=BPF_TRACE_ITER)
        about = link_info.link_info(fd)
        os.close(fd)
    assert (about.kind, about.details["target_name"]) == ("iter", "task")
    assert about.details.keys() <= {"target_name", "tid", "pid"}


def test_a_link_of_a_kprobe(kprobes):
    probed = Program("probed", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), EXIT], attach=kprobe(syscall="fchownat"))
    with load(probed) as obj:
        (link,) = obj.attach()
        if link.mode != "link":
            pytest.skip("this kernel has no links of perf events")
        about = link_info.link_info(link.fd)
        assert (about.kind, about.prog_id) == ("perf_event", obj[probed].info().id)
        if about.details["type"]:  # told since 6.6
            assert about.details["func_name"].endswith("sys_fchownat")
            assert about.details["type"] == BPF_PERF_EVENT_KPROBE
        assert bpfasm("link", "show", "id", about.id).startswith(f"{about.id}: perf_event  prog {about.prog_id}\n")


def entry_of(path):
    """Return where the first instruction of a program of this machine is in its file."""
    data = Path(path).read_bytes()
    entry, headers = struct.unpack_from("=QQ", data, 24)
    size, count = struct.unpack_from("=HH", data, 54)
    for at in range(headers, headers + size * count, size):
        kind, flags, offset, address, _, length = struct.unpack_from("=IIQQQQ", data, at)
        if kind == 1 and flags & 1 and address <= entry < address + length:
            return entry - address + offset
    raise AssertionError("no segment has the entry")


def multi(kind, **fields):
    """Return the fields of a link for several places: arrays become memory."""
    return {f"{kind}.{name}": value if isinstance(value, int) else buffer(value) for name, value in fields.items()}


def kernel_address(name):
    return Kallsyms().address(name)


PYTHON = os.path.realpath("/proc/self/exe")

#: A type of link: since when there is one, the program's type and attach type, the fields that make it, and what is
#: told of it. Functions are called when the test runs.
KINDS = {
    "cgroup": ("5.7", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, lambda dir: {"target_fd": dir("cgroup2")},
               lambda: {"attach_type": BPF_CGROUP_INET_INGRESS, "cgroup_id": ...}),
    "netns": ("5.9", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, lambda dir: {"target_fd": dir("/proc/self/ns/net")},
              lambda: {"attach_type": BPF_SK_LOOKUP, "netns_ino": os.stat("/proc/self/ns/net").st_ino}),
    "tcx": ("6.6", TC, BPF_TCX_INGRESS, lambda dir: {"target_fd": 1},
            lambda: {"attach_type": BPF_TCX_INGRESS, "ifindex": 1}),
    "netfilter": ("6.4", BPF_PROG_TYPE_NETFILTER, BPF_NETFILTER,
                  lambda dir: {"netfilter.pf": 2, "netfilter.hooknum": 1, "netfilter.priority": -128},
                  lambda: {"pf": 2, "hooknum": 1, "priority": -128, "flags": 0}),
    "kprobe_multi": ("5.18", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI,
                     lambda dir: multi("kprobe_multi", cnt=1, addrs=struct.pack("=Q", kernel_address("vfs_fstat"))),
                     lambda: {"addrs": (kernel_address("vfs_fstat"),), "count": 1, "flags": 0, "missed": 0}),
    "uprobe_multi": ("6.6", BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI,
                     lambda dir: multi("uprobe_multi", cnt=1, offsets=struct.pack("=Q", entry_of(PYTHON)),
                                       path=PYTHON.encode() + b"\0"),
                     lambda: {"path": PYTHON, "offsets": (entry_of(PYTHON),), "count": 1, "flags": 0, "pid": 0}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_of_each_kind(kind):
    since, type, attach, make, told = KINDS[kind]
    series = tuple(map(int, running_series().split(".")))
    prog = Program("linked", type, [BPF_MOV64_IMM(R0, 1), EXIT], expected_attach_type=attach)
    opened = []

    def directory(path):
        if path == "cgroup2":
            mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
                      if " - cgroup2 " in line]  # fmt: skip
            if not mounts:
                pytest.skip("cgroup2 is not mounted")
            path = mounts[0]
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1]

    try:
        with load(prog) as obj:
            fd = bpf.link_create(prog_fd=obj[prog].fd, attach_type=attach, **make(directory))
            opened.append(fd)
            about = link_info.link_info(fd)
            lines = bpfasm("link", "show", "id", about.id).splitlines()
            (shown,) = document("link-list", "link", "show", "id", about.id)["links"]
            prog_id = obj[prog].info().id
    except (BpfasmError, OSError) as lack:
        # A kernel that is new enough has it, unless it is built without: kprobe_multi takes CONFIG_FPROBE.
        built_without = kind == "kprobe_multi" and lack.errno == errno.EOPNOTSUPP
        assert series < tuple(map(int, since.split("."))) or built_without, lack
        pytest.skip(f"links of kind {kind} are new in {since}, or this kernel is built without")
    finally:
        for each in opened:
            os.close(each)
    expected = told()
    assert (about.kind, about.prog_id, about.details.keys()) == (kind, prog_id, expected.keys())
    # Details came with later releases, as 0 until then: of multi links in 6.6 and 6.8.
    late = kind.endswith("_multi") and series < (6, 8)
    assert late or all(value in (..., about.details[name]) for name, value in expected.items())
    assert lines[0] == f"{about.id}: {kind}  prog {prog_id}"
    assert shown["details"].keys() == expected.keys()
    if "attach_type" in expected:
        name = names(uapi, "bpf_attach_type")[attach].removeprefix("BPF_").lower()
        assert f"attach_type {name}" in lines[1]
        assert shown["details"]["attach_type"] == name


def test_a_link_of_a_function(kprobes):
    """fentry, by the number of its function in the kernel's types."""
    traced = Program(
        "traced", BPF_PROG_TYPE_TRACING, [BPF_MOV64_IMM(R0, 0), EXIT], expected_attach_type=BPF_TRACE_FENTRY,
        attach_btf="vfs_fstat",
    )  # fmt: skip
    with load(traced) as obj:
        (fd, _), id = by_hand(BPF_RAW_TRACEPOINT_OPEN, struct.pack("=QI", 0, obj[traced].fd)), obj[traced].info().id
        about = link_info.link_info(fd)
        os.close(fd)
    assert (about.kind, about.prog_id, about.details["attach_type"]) == ("tracing", id, BPF_TRACE_FENTRY)
    if about.details["target_btf_id"]:  # told since 5.13
        assert about.details["target_btf_id"] == kernel_types()["func", "vfs_fstat"]


# BTF


def test_types_in_words(shown):
    prog, table = shown
    id = prog.info().btf_id
    assert re.fullmatch(
        rf"{id}: name <anon>  size \d+B  prog_ids {prog.info().id}\n", bpfasm("btf", "show", "id", id)
    )
    found = {each["id"]: each for each in document("btf-list", "btf", "list")["btfs"]}
    assert found[id]["prog_ids"] == [prog.info().id]
    of_map = table.info()["btf_id"]
    if of_map:
        assert found[of_map]["map_ids"] == [table.info()["id"]]
    if any(each["kernel"] for each in found.values()):
        assert re.match(r"\d+: name \[vmlinux\]  size \d+B", bpfasm("btf", "list"))


@pytest.mark.lab(on="live")
def test_types_as_bpftool_lists_them(shown):
    ours = {each["id"]: each for each in document("btf-list", "btf")["btfs"]}
    said = {each["id"]: each for each in json.loads(bpftool("-j", "btf", "list"))}
    assert shown[0].info().btf_id in ours.keys() & said.keys()
    for id in ours.keys() & said.keys():
        assert (ours[id]["size"], ours[id]["prog_ids"]) == (said[id]["size"], said[id].get("prog_ids", []))


# What is wrong


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prog", "show", "id", "4000000000"], "there is no program with id 4000000000 [object-unknown]"),
        (["prog", "show", "id:x"], "there is no program with id x [object-unknown]"),
        (["map", "show", "tag", "1"], "'tag' names no map: it is id, name, pinned, and a value [usage]"),
        (["prog", "show", "id"], "id needs a value [usage]"),
        (["prog", "show", "id", "1", "more"], "'more' is more than bpfasm prog takes [usage]"),
        (["prog", "dump"], "dump nothing: it dumps xlated or jited [usage]"),
        (["prog", "dump", "xlated"], "dump needs a program: id N, tag HEX, name NAME or pinned PATH [usage]"),
        (
            ["prog", "dump", "xlated", "id", "1", "wrong"],
            "'wrong' is no part of a dump: it takes opcodes, linum, file",
        ),
        (["prog", "nothing"], "prog has no command 'nothing': it has list, show and dump [usage]"),
        (["map", "nothing"], "map has no command 'nothing': it has list, show and dump [usage]"),
        (["map", "dump"], "dump needs a map: id N, name NAME or pinned PATH [usage]"),
        (["link", "dump"], "link has no command 'dump': it has list, show and detach [usage]"),
        (["btf", "dump"], "btf dump takes id N or file FILE, and then format c or raw [usage]"),
        (["btf", "dump", "id", "1", "format", "d"], "btf dump has no format 'd': it has c and raw [usage]"),
        (["btf", "drop"], "btf has no command 'drop': it has list, show and dump [usage]"),
        (["disasm", "id:4000000000"], "there is no program with id 4000000000 [object-unknown]"),
        (["disasm", "pinned:/nowhere"], "/nowhere is not in a bpf file system"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_two_lines(words, said):
    lines = bpfasm(*words, status=2).splitlines()
    assert len(lines) == 2
    assert said in lines[0]


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("verb", ["prog", "map", "link", "btf"])
def test_help_begins_with_examples(verb):
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main([verb, "--help"])
    lines = out.getvalue().splitlines()
    assert [line.startswith(f"  bpfasm {verb} ") for line in lines[:2]] == [True, True]
    assert f"  bpfasm {verb} {{list|show}} [{verb.upper()}]" in lines


@pytest.mark.lab(on="ends")
def test_an_ordinary_user_gets_a_sentence(python):
    if os.geteuid():
        pytest.skip("needs root, to become somebody else")
    code = """
        import ctypes, os, struct
        from bpfasm.cli import main
        from bpfasm.uapi import capability
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setresuid(65534, 65534, 65534)
        low = 1 << capability.CAP_DAC_READ_SEARCH  # Python itself may lie where only root reads
        header = struct.pack("Ii", capability._LINUX_CAPABILITY_VERSION_3, 0)
        assert libc.capset(header, struct.pack("6I", low, low, 0, 0, 0, 0)) == 0
        for verb in ("prog", "map", "link", "btf"):
            print(main([verb, "list"]))
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert out.split() == ["3"] * 4
    kinds = ("program", "map", "link", "BTF object")
    assert err.splitlines()[::2] == [
        f"error: listing {kind}s needs CAP_SYS_ADMIN, and this process is not root [privilege]" for kind in kinds
    ]


def test_what_vanishes_while_it_is_listed(monkeypatch, capsys):
    monkeypatch.setattr(ids, "ids", lambda kind: iter([4_000_000_000]))
    for verb in ("prog", "map", "link", "btf"):
        assert cli.main([verb, "list"]) == 0
        assert capsys.readouterr().out == ""
