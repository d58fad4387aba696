"""What the kernel tells of programs: numbers, instructions, names, counts of runs. Exact, or as bpftool has it."""

import errno
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.bpf2 import running_series

from bpfasm.asm import *
from bpfasm.asm.syntax import xlated
from bpfasm.errors import FeatureMissing, InputError, KernelError
from bpfasm.isa.insn import decode, encode, slots
from bpfasm.isa.match import form_of
from bpfasm.kernel import KernelProgram, load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.objects import ids, select
from bpfasm.kernel.programs import info
from bpfasm.kernel.programs.dump import Dump, dump, full_name
from bpfasm.kernel.stats import Stats, run_stats
from bpfasm.native import disassemble
from bpfasm.syscall import bpf, system
from bpfasm.syscall.kallsyms import Kallsyms

pytestmark = pytest.mark.lab

PACKET = bytes(64)
EXIT = BPF_EXIT_INSN()
TC = BPF_PROG_TYPE_SCHED_CLS
SERIES = tuple(map(int, running_series().split(".")))
DOUBLE = Subprog("double", [BPF_MOV64_REG(R0, R1), BPF_ALU64_REG(BPF_ADD, R0, R1), EXIT])


def everything():
    """Return a program with a map, a map's value, a function, two helpers and a 64-bit number."""
    table = HashMap("table", key=u32, value=u64, max_entries=1)
    array = ArrayMap("array", value=u64, max_entries=1)
    body = [
        BPF_MOV64_IMM(R1, 21),
        BPF_CALL_REL(DOUBLE),
        BPF_MOV64_REG(R6, R0),
        BPF_ST_MEM(BPF_W, FP, -4, 0),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_LD_MAP_FD(R1, table),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_LD_MAP_VALUE(R7, array, 4),
        BPF_LD_IMM64(R8, 0x1122334455667788),
        BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
        BPF_MOV64_REG(R0, R6),
        EXIT,
    ]
    return Program("everything_there", TC, body), table, array


@pytest.fixture
def loaded():
    """A loaded program, and its two maps."""
    prog, table, array = everything()
    with load(prog, lines=True) as obj:
        yield obj[prog], obj[table], obj[array]


# What it is


def test_every_field(loaded):
    prog, table, array = loaded
    about = prog.info()
    assert (about.type, about.name, about.uid, about.gpl_compatible) == (TC, "everything_ther", os.getuid(), True)
    assert sorted(about.map_ids) == sorted(each.info()["id"] for each in (table, array))
    assert re.fullmatch("[0-9a-f]{16}", about.tag)
    assert abs(about.loaded_at - time.time()) < 300
    assert about.xlated_len == len(prog.xlated()) == 8 * 21
    assert about.jited_len == len(prog.jited()) == sum(about.func_lens)
    assert about.memlock > 0
    assert about.functions == ((0, "everything_there"), (18, "double"))
    assert full_name(about) == "everything_there"
    assert len(about.ksyms) == len(about.tags) == 2
    assert about.btf_id
    if SERIES >= (5, 16):
        assert about.verified_insns > 10
    assert (about.ifindex, about.netns_ino, about.attach_btf_id) == (0, 0, 0)


def test_lines(loaded):
    about = loaded[0].info()
    here = Path(__file__).read_text().splitlines()
    assert [each.pc for each in about.lines][:4] == [0, 1, 2, 3]
    assert {each.file for each in about.lines} == {__file__}
    assert all(here[each.line - 1].strip() == each.text for each in about.lines)
    assert "BPF_LD_IMM64(R8, 0x1122334455667788)," in [each.text for each in about.lines]
    assert len(about.line_addresses) == len(about.lines)
    assert about.line_addresses[0] >= about.ksyms[0]


def test_a_tag_is_that_of_the_instructions(loaded):
    """sha1 or sha256 of the code without map fds: the same program has it again, another one has not."""
    prog, _, _ = everything()
    with load(prog) as again, load(prog.replace(insns=(BPF_MOV64_IMM(R3, 1), *prog.insns))) as other:
        assert again[prog].info().tag == loaded[0].info().tag
        assert other.programs[0].info().tag != loaded[0].info().tag


def test_without_types_or_license():
    prog = Program("plain", TC, [BPF_MOV64_IMM(R0, 0), EXIT], license="Proprietary")
    with load(prog) as obj:
        about = obj[prog].info()
    assert (about.functions, about.lines, about.btf_id, about.map_ids) == ((), (), 0, ())
    assert about.gpl_compatible is False
    assert full_name(about) == "plain"


@pytest.mark.lab(on="live")
def test_bpftool_says_the_same(loaded):
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool (apt install bpftool)")
    about = loaded[0].info()
    said = json.loads(subprocess.check_output(["bpftool", "-j", "prog", "show", "id", str(about.id)]))
    said["map_ids"].sort()
    assert abs(said.pop("loaded_at") - about.loaded_at) <= 2
    assert said == {
        "id": about.id, "type": "sched_cls", "name": full_name(about), "tag": about.tag, "gpl_compatible": True,
        "uid": about.uid, "bytes_xlated": about.xlated_len, "jited": True,
        "bytes_jited": about.jited_len, "bytes_memlock": about.memlock, "map_ids": sorted(about.map_ids),
        "btf_id": about.btf_id, **{key: said[key] for key in ("pids", "orphaned") if key in said},
    }  # fmt: skip


# Runs


def test_runs_are_counted_while_somebody_asks():
    prog = Program("counted", TC, [BPF_MOV64_IMM(R0, 0), EXIT])
    with load(prog) as obj:
        each = obj[prog]
        each.test_run(PACKET, repeat=5)
        before = each.stats().run_cnt
        with run_stats(), run_stats():
            each.test_run(PACKET, repeat=1000)
            during = each.stats()
        each.test_run(PACKET, repeat=5)
        after = each.stats()
    # Others may count at the same time (kernel.bpf_stats_enabled): then the runs before and after are counted, too.
    always = before == 5
    assert during.run_cnt == 1000 + 5 * always
    assert after.run_cnt == during.run_cnt + 5 * always
    assert during.run_time_ns > 0
    assert during.ns_a_run == during.run_time_ns / during.run_cnt
    assert during.recursion_misses == 0
    if SERIES >= (5, 16):
        assert during.verified_insns == 2
    assert Stats(0, 0, 0, 0).ns_a_run == 0


def test_counting_that_is_refused(monkeypatch):
    def refuse(type):
        raise OSError(refusing, "no")

    monkeypatch.setattr(bpf, "enable_stats", refuse)
    for refusing, kind, rule in (
        (errno.EPERM, FeatureMissing, "privilege"),
        (errno.EINVAL, KernelError, "object-info"),
    ):
        with pytest.raises(kind) as caught:
            run_stats()
        assert caught.value.rule == rule or refusing == errno.EPERM


# Instructions


def texts(found):
    """Return the lines of a dump: slot, text, and what is said beside it."""
    return [(pc, *xlated.text(insn, form_of(insn), pc, found.names)) for pc, insn in slots(found.insns)]


def test_names_in_translated_instructions(loaded):
    prog, table, array = loaded
    found = dump(prog.fd)
    assert isinstance(found, Dump)
    assert (found.name, found.code) == ("everything_there", prog.xlated())
    lines = {text: beside for _, text, beside in texts(found)}
    table_id, array_id = table.info()["id"], array.info()["id"]
    assert lines[f"(18) r1 = map[id:{table_id}]"] == "table"
    assert lines[f"(18) r7 = map[id:{array_id}][0]+4"] == "array"
    assert "(18) r8 = 0x1122334455667788" in lines
    call = next(text for text in lines if text.startswith("(85) call pc"))
    assert re.fullmatch(r"\(85\) call pc\+\d+#double", call)
    assert found.names.functions == {0: "everything_there", 18: "double"}
    if found.names.hidden:
        assert system.number("/proc/sys/kernel/kptr_restrict")
        pytest.skip("this kernel shows no addresses")
    calls = [text.split("call ")[1].partition("#")[0] for text in lines if "(85) call " in text]
    assert "bpf_ktime_get_ns" in calls
    assert any("map_lookup_elem" in name for name in calls)


@pytest.mark.lab(on="live")
def test_translated_instructions_are_bpftools(loaded, tmp_path):
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool (apt install bpftool)")
    found, file = dump(loaded[0].fd), tmp_path / "code"
    command = ["bpftool", "prog", "dump", "xlated", "id", str(found.info.id)]
    subprocess.run([*command, "file", file], check=True)
    assert file.read_bytes() == found.code
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    said = [line for line in said if re.match(r" *\d+: \(", line)]
    # bpftool calls a function by its symbol, which has its tag in it.
    said = [re.sub(r"#bpf_prog_[0-9a-f]+_", "#", line) for line in said]
    assert [f"{pc:4d}: {text}" for pc, text, _ in texts(found)] == said


@pytest.mark.lab(on="live")
def test_native_instructions_are_objdumps(loaded, tmp_path):
    """Where each starts, and what it is called."""
    pytest.importorskip("capstone")
    if not shutil.which("objdump") or os.uname().machine != "x86_64":
        pytest.skip("needs objdump (apt install binutils), and x86_64")
    prog, file = loaded[0], tmp_path / "code"
    about = prog.info()
    file.write_bytes(prog.jited()[: about.func_lens[0]])
    command = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn", file]
    said = re.findall(r"(?m)^ +([0-9a-f]+):\t(\S+)", subprocess.check_output(command, text=True))
    found = disassemble(file.read_bytes(), 0, "x86_64")
    # objdump leaves the letter of an operand's size away where a register says it.
    assert [f"{each.address:x}" for each in found] == [at for at, _ in said]
    ours = [each.text.split()[0] for each in disassemble(file.read_bytes(), 0, "x86_64")]
    assert [name.rstrip("bwlq") for name in ours] == [name.rstrip("bwlq") for _, name in said]


def test_functions_without_types_go_by_their_tags():
    code = [BPF_MOV64_IMM(R1, 1), BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1), EXIT, *DOUBLE.insns]
    prog = Program("untyped", TC, code)
    with load(prog) as obj:
        found = dump(obj[prog].fd)
        tags = obj[prog].info().tags
    if len(tags) == 1:
        pytest.skip("interpreted: one tag for all")
    assert found.names.functions == {0: f"bpf_prog_{tags[0]}", 3: f"bpf_prog_{tags[1]}"}
    assert texts(found)[1][1] == f"(85) call pc+1#bpf_prog_{tags[1]}"


def test_an_interpreted_program():
    """Its functions are called by distance, and there is no native code."""
    path = Path("/proc/sys/net/core/bpf_jit_enable")
    before = path.read_text() if path.exists() else "1"
    try:
        path.write_text("0")
    except OSError:
        pytest.skip("this kernel always compiles (CONFIG_BPF_JIT_ALWAYS_ON)")
    try:
        prog = Program("slow", TC, [BPF_MOV64_IMM(R1, 21), BPF_CALL_REL(DOUBLE), EXIT])
        with load(prog) as obj:
            assert obj[prog].jited() == b""
            assert obj[prog].info().ksyms == ()
            assert obj[prog].test_run(PACKET).retval == 42
            assert texts(dump(obj[prog].fd))[1] == (1, "(85) call pc+1#double", "")
    finally:
        path.write_text(before)


def test_kernel_functions_have_names():
    try:
        types = kernel_btf.vmlinux()
    except FeatureMissing as lack:
        pytest.skip(lack.what)
    if not types.find("bpf_iter_num_new", 12):
        pytest.skip("bpf_iter_num_new is new in 6.4")
    lock, unlock = kfunc("bpf_rcu_read_lock"), kfunc("bpf_rcu_read_unlock")
    prog = Program("locked", TC, [BPF_CALL_KFUNC(0, lock), BPF_CALL_KFUNC(0, unlock), BPF_MOV64_IMM(R0, 0), EXIT])
    with load(prog) as obj:
        said = [text.partition("#")[0] for _, text, _ in texts(dump(obj[prog].fd))]
    assert said[:2] == ["(85) call bpf_rcu_read_lock", "(85) call bpf_rcu_read_unlock"]


def test_code_that_is_hidden(loaded, monkeypatch):
    """As kernel.kptr_restrict=2 does: the kernel takes the pointer back."""
    real = ids.info

    def hiding(kind, fd, **given):
        return real(kind, fd, **given) | {"xlated_prog_insns": 0, "jited_prog_insns": 0, "jited_ksyms": 0}

    monkeypatch.setattr(ids, "info", hiding)
    for ask in (loaded[0].xlated, loaded[0].jited):
        with pytest.raises(FeatureMissing) as caught:
            ask()
        assert caught.value.rule == "dump-hidden"
        assert "kptr_restrict" in caught.value.do
    assert loaded[0].info().ksyms == ()


def test_names_that_are_hidden(loaded, monkeypatch):
    zeros = re.sub(rb"(?m)^[0-9a-f]{16}", b"0" * 16, b"ffffffff81000000 T __bpf_call_base\n")
    monkeypatch.setattr("bpfasm.kernel.programs.dump.Kallsyms", lambda: Kallsyms(zeros))
    found = dump(loaded[0].fd)
    assert found.names.calls == {}
    assert found.names.hidden.startswith("names hidden: kptr_restrict is ")
    assert any(re.fullmatch(r"\(85\) call unknown#-?\d+", text) for _, text, _ in texts(found))


@pytest.mark.lab(on="live")
def test_native_instructions_are_whole(loaded):
    """The bytes of all instructions are the code; each function starts and ends as one of this machine's does."""
    pytest.importorskip("capstone")
    about, code, at = loaded[0].info(), loaded[0].jited(), 0
    for address, size in zip(about.ksyms, about.func_lens, strict=True):
        part = list(disassemble(code[at : at + size], address, os.uname().machine))
        assert b"".join(each.code for each in part) == code[at : at + size]
        assert part[0].address == address
        if os.uname().machine == "x86_64":
            assert any(each.text.startswith("ret") for each in part) or "jmp" in part[-1].text
        at += size
    first = list(disassemble(code[: about.func_lens[0]], about.ksyms[0], os.uname().machine))
    # ``double`` is called: past the room for a probe at its start, on some kernels.
    assert any(about.ksyms[1] <= each.target < about.ksyms[1] + 16 for each in first)
    symbols = Kallsyms()
    names = {symbols.name(each.target) for each in first if each.target}
    assert any("ktime_get_ns" in name for name in names) or not symbols.address("__bpf_call_base")


# Objects by id, name, tag and path


def test_a_program_that_somebody_else_loaded(loaded):
    prog = loaded[0]
    about = prog.info()
    for how, what in (("id", str(about.id)), ("tag", about.tag), ("name", "everything_there"), ("name", about.name)):
        found = [ids.info("prog", each.fd)["id"] for each in select.matching("prog", how, what)]
        assert about.id in found
    with KernelProgram(bpf.get_fd_by_id("prog", about.id)) as mine:
        assert (mine.type, mine.name, mine.info().tag) == (TC, "everything_ther", about.tag)
        assert mine.test_run(PACKET).retval == 42
        assert mine.xlated() == prog.xlated()
        assert repr(mine) == "<KernelProgram everything_ther>"


def test_several_of_one_name_and_tag():
    prog = Program("twin", TC, [BPF_MOV64_IMM(R0, 12345), EXIT])
    with load(prog) as one, load(prog) as two:
        both = {each.programs[0].info().id for each in (one, two)}
        tag = one.programs[0].info().tag
        for how, what in (("name", "twin"), ("tag", tag)):
            assert both <= {ids.info("prog", each.fd)["id"] for each in select.matching("prog", how, what)}


def test_a_pinned_object(loaded):
    path = f"/sys/fs/bpf/bpfasm-test-{os.getpid()}"
    try:
        bpf.obj_pin(loaded[0].fd, path)
    except OSError as error:
        pytest.skip(f"no bpf file system: {error}")
    try:
        (id,) = [ids.info("prog", each.fd)["id"] for each in select.matching("prog", "pinned", path)]
        assert id == loaded[0].info().id
        with pytest.raises(InputError) as caught:
            list(select.matching("map", "pinned", path))
        assert caught.value.what == f"{path} is no map but a program"
    finally:
        os.unlink(path)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    ("kind", "how", "what", "words"),
    [
        ("prog", "id", "4000000000", "there is no program with id 4000000000"),
        ("prog", "id", "x", "there is no program with id x"),
        ("prog", "id", "0", "there is no program with id 0"),
        ("prog", "tag", "0123456789abcdef", "there is no program with tag 0123456789abcdef"),
        ("map", "name", "no such map", "there is no map with name no such map"),
        ("btf", "id", "4000000000", "there is no BTF object with id 4000000000"),
        ("prog", "pinned", "/nowhere", "/nowhere is not in a bpf file system"),
        ("prog", "pinned", "/etc/passwd", "/etc/passwd is no"),
    ],
)
def test_what_is_not_there(kind, how, what, words):
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        list(select.matching(kind, how, what))
    assert caught.value.rule == ("pin" if how == "pinned" else "object-unknown")


def test_objects_that_vanish_while_they_are_listed(loaded, monkeypatch):
    """An id that leads nowhere any more is passed over; so is all that is behind it, if that is gone too."""
    mine = loaded[0].info().id
    monkeypatch.setattr(ids, "ids", lambda kind: iter([4_000_000_000, mine, 4_000_000_001]))
    assert [ids.info("prog", each.fd)["id"] for each in select.every("prog")] == [mine]


def test_all_of_a_kind(loaded):
    prog, table, array = loaded
    assert prog.info().id in ids.ids("prog")
    assert {table.info()["id"], array.info()["id"]} <= set(ids.ids("map"))
    assert prog.info().btf_id in ids.ids("btf")
    assert list(ids.ids("link")) == sorted(ids.ids("link"))


def test_types_that_are_not_for_us_to_see(loaded, monkeypatch):
    monkeypatch.setattr(ids, "open_id", lambda kind, id: None)
    about = loaded[0].info()
    assert about.btf_id
    assert (about.functions, about.lines) == ((), ())
    assert dump(loaded[0].fd).names.maps == dict.fromkeys(about.map_ids, "")


@pytest.mark.lab(on="ends")
def test_an_ordinary_user_is_told_what_it_takes(python):
    if os.geteuid():
        pytest.skip("needs root, to become somebody else")
    code = """
        import ctypes, os, struct
        from bpfasm.errors import BpfasmError
        from bpfasm.kernel.objects import ids
        from bpfasm.kernel.objects import select
        from bpfasm.kernel.stats import run_stats
        from bpfasm.uapi import capability
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
        os.setresuid(65534, 65534, 65534)
        low = 1 << capability.CAP_DAC_READ_SEARCH  # Python itself may lie where only root reads
        header = struct.pack("Ii", capability._LINUX_CAPABILITY_VERSION_3, 0)
        assert libc.capset(header, struct.pack("6I", low, low, 0, 0, 0, 0)) == 0
        for ask in (lambda: list(ids.ids("prog")), lambda: ids.open_id("btf", 1), run_stats):
            try:
                ask()
            except BpfasmError as error:
                print(type(error).__name__, error.what)
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert err == ""
    needs = "needs CAP_SYS_ADMIN, and this process is not root"
    assert out.splitlines() == [
        f"FeatureMissing listing programs {needs}",
        f"FeatureMissing opening the BTF object 1 {needs}",
        f"FeatureMissing counting the runs of programs {needs}",
    ]


def test_code_is_what_was_loaded():
    """A program that the verifier has nothing to change in."""
    body = [BPF_MOV64_IMM(R0, 7), BPF_ALU64_IMM(BPF_LSH, R0, 3), EXIT]
    prog = Program("as_is", TC, body)
    with load(prog) as obj:
        assert obj[prog].xlated() == encode(body)
        assert tuple(decode(obj[prog].xlated())) == tuple(body)
        assert info.fd_fields(obj[prog].fd)["prog_type"] == str(TC)
