"""Written objects as others see them: GNU's and LLVM's readers of ELF, bpftool's of BTF, libbpf by loading them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import bpftool, objects

from bpfasm.asm import *
from bpfasm.asm.map_types import all_types
from bpfasm.btf.read import Btf
from bpfasm.elf import sections
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.elf.read import Elf
from bpfasm.isa.insn import decode
from bpfasm.kernel import kconfig as configuration, load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.needs import missing
from bpfasm.uapi import elf as numbers

pytestmark = pytest.mark.oracle

EXIT = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


class Event(Record):
    time = u64("ns since boot")
    pid = u32("process")
    tag = chars(4)("a text")


hits = HashMap("hits", key=u32, value=Event, max_entries=8)
inner = ArrayMap("inner", value=u64, max_entries=2)
outer = HashOfMaps("outer", key=u32, inner=inner, max_entries=4, initial={1: inner})
ring = RingBuf("ring", max_entries=4096, record=Event)
limit = Global("limit", u32, 7, const=True)
state = Global("state", Event)
start = Global("start", array(u16, 4), (1, 2, 3, 4))
tail = Program("tail", BPF_PROG_TYPE_SOCKET_FILTER, EXIT)
table = ProgArray("table", max_entries=2, initial={1: tail})
leaf = Subprog("leaf", [BPF_LD_MAP_VALUE(R1, state, 8), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
each = Subprog("each", [BPF_CALL_REL(leaf), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])

rich = Program(
    "rich",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        *(BPF_LD_MAP_FD(R1, spec) for spec in (hits, outer, ring, table)),
        *(BPF_LD_MAP_VALUE(R1, variable, 0) for variable in (limit, state, start)),
        BPF_MOV64_IMM(R1, 2),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, each, 0),
        BPF_MOV64_IMM(R3, 0),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_loop),
        BPF_CALL_REL(leaf),
        *EXIT,
    ],
)


def tool(name):
    """Return an LLVM tool, of the newest version that is here."""
    for version in ("-19", "-14", ""):
        if shutil.which(f"{name}{version}"):
            return f"{name}{version}"
    return pytest.skip(f"{name} is not installed")


def output(*command):
    """Return what a tool says of a file; it complains about nothing."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["little", "big"])
def path(request, tmp_path_factory):
    found = tmp_path_factory.mktemp("written") / f"{request.param}.o"
    found.write_bytes(write_object(rich, byteorder=request.param))
    return found


# Readers of ELF


def symbols_of(text):
    """Return (value, size, type, bind, name) of a list of symbols as readelf prints it."""
    rows = re.findall(r"^ *\d+: ([0-9a-f]+) +(\d+) (\w+) +(\w+) +\w+ +\w+ ?(\S*)$", text, flags=re.M)
    return [(int(value, 16), int(size), type, bind, name) for value, size, type, bind, name in rows]


TYPES = {0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION"}


@pytest.mark.parametrize("reader", ["readelf", "llvm-readelf"])
def test_readers_of_elf_agree(path, reader):
    if reader == "readelf" and not shutil.which(reader):
        pytest.skip("readelf is not installed")
    command = reader if reader == "readelf" else tool(reader)
    elf = Elf(path.read_bytes())
    text = output(command, "-W", "-h", "-S", "-s", "-r", path)
    assert re.search(r"Machine: +(Linux BPF|EM_BPF)", text)
    found = re.findall(r"^ +\[ *\d+\] (\S*) +(\w+) +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+)", text, flags=re.M)
    kinds = {number: name for name, number in vars(numbers).items() if name.startswith("SHT_") and number < 12}
    assert [(name, f"SHT_{kind}", int(at, 16), int(size, 16)) for name, kind, at, size in found[1:]] == [
        (each.name, kinds[each.type], each.offset, each.size) for each in elf.sections[1:]
    ]
    ours = [
        (each.value, each.size, TYPES[each.type], "LOCAL" if each.bind == 0 else "GLOBAL", each.name)
        for each in elf.symbols
    ]
    theirs = symbols_of(text)
    assert [row[:4] for row in theirs] == [row[:4] for row in ours]
    assert [row[4] for row in theirs if row[2] not in ("SECTION", "NOTYPE")] == [row[4] for row in ours if row[4]]
    relocations = re.findall(r"^([0-9a-f]{16}) +([0-9a-f]{16}) (R_BPF_\w+)", text, flags=re.M)
    expected = [
        (each.offset, each.symbol << 32 | each.type) for section in elf.sections for each in elf.relocations(section)
    ]
    assert sorted((int(at, 16), int(info, 16)) for at, info, _ in relocations) == sorted(expected)
    assert len(expected) == 13


def test_llvm_disassembles_what_was_written(path):
    elf = Elf(path.read_bytes())
    text = output(tool("llvm-objdump"), "-d", "-r", "--no-print-imm-hex", path)
    assert re.findall(r"^[0-9a-f]{16} <(\w+)>:$", text, flags=re.M) == ["each", "leaf", "rich", "tail"]
    # It numbers slots through all sections of code, and shows each instruction's bytes.
    shown = re.findall(r"^ +\d+:\t((?:[0-9a-f]{2} )+[0-9a-f]{2})\t", text, flags=re.M)
    code = b"".join(elf.contents(section) for section in elf.sections if section.flags & numbers.SHF_EXECINSTR)
    assert bytes.fromhex("".join(shown)) == code
    named = re.findall(r"(R_BPF_\w+)\t(\S+)", text)
    assert set(named) == {
        *(("R_BPF_64_64", name) for name in ("hits", "outer", "ring", "table", "limit", "state", "start")),
        ("R_BPF_64_64", ".text"), ("R_BPF_64_64", ".bss"), ("R_BPF_64_32", ".text"),
    }  # fmt: skip


# bpftool


@pytest.fixture(scope="module")
def dumped():
    """Run bpftool on a file of an object."""
    if not bpftool.files():
        pytest.skip("bpftool is not installed")

    def run(*words):
        return output(bpftool.files()[0], *words)

    return run


def test_bpftool_reads_the_types(path, dumped):
    types = json.loads(dumped("-j", "btf", "dump", "file", path))["types"]
    elf = Elf(path.read_bytes())
    btf = Btf(elf.contents(elf.section(".BTF")))
    assert [(each["id"], each["name"]) for each in types] == [
        (id, btf.type(id).name or "(anon)") for id in range(1, len(btf))
    ]
    text = dumped("btf", "dump", "file", path, "format", "c")
    fields = re.search(r"^struct Event \{\n(.*?)\};", text, flags=re.M | re.S)[1].split("\n")
    assert [line.strip() for line in fields[:-1]] == ["u64 time;", "u32 pid;", "char tag[4];"]


@pytest.fixture(scope="module")
def loaded(dumped, tmp_path_factory):
    """Load an object with bpftool; give its programs' dumps, and let go of them."""
    if os.geteuid() != 0 or missing(["bpf"]):
        pytest.skip("bpftool loads as root")
    folder = tmp_path_factory.mktemp("loaded")
    at = f"/sys/fs/bpf/bpfasm_written_{os.getpid()}"

    def run(data, *names):
        (folder / "it.o").write_bytes(data)
        try:
            dumped("prog", "loadall", folder / "it.o", at)
            return {name: dumped("prog", "dump", "xlated", "pinned", f"{at}/{name}", "opcodes") for name in names}
        finally:
            shutil.rmtree(at, ignore_errors=True)

    return run


def code_of(text):
    """Return the instructions of a dump, and the functions it names."""
    return decode(bytes.fromhex("".join(re.findall(r"^ +((?:[0-9a-f]{2} )+[0-9a-f]{2})$", text, flags=re.M))))


def test_libbpf_loads_all_of_it(loaded):
    text = loaded(write_object(rich), "rich", "tail")["rich"]
    functions = re.findall(r"^int (\w+)\(", text, flags=re.M)
    assert functions == ["rich", "each", "leaf"]
    assert "; BPF_LD_MAP_VALUE(R1, state, 8)" not in text.partition("int each")[0]
    assert "BPF_LD_MAP_VALUE(R1, state, 8)" in text.partition("int leaf")[2]


ASKED = [
    field("task_struct", "tgid"),
    field("task_struct", "se.sum_exec_runtime"),
    field("task_struct", "comm[3]"),
    field("task_struct", "thread_info.flags"),
    field("task_struct", "mm").size,
    field("task_struct", "in_execve").lshift,
    field("task_struct", "in_execve").rshift,
    field("task_struct", "in_execve").size,
    field("task_struct", "in_execve").signed,
    field("task_struct", "in_execve"),
    field("task_struct", "mm").exists,
    field("sock", "__sk_common.skc_daddr"),
    field("sk_buff", "transport_header"),
    field("file", "f_path.dentry"),
    type_size("task_struct"),
    type_size("pid_t"),
    type_exists("no_such_struct_anywhere"),
    type_id("file"),
    enum_value("pid_type", "PIDTYPE_SID"),
    enum_exists("pid_type", "PIDTYPE_PGID"),
]


@pytest.fixture(scope="module")
def types():
    """This kernel's types, which stay open as long as the process."""
    return kernel_btf.vmlinux()


def test_libbpf_puts_in_the_numbers_that_we_do(loaded, types):
    prog = Program("asks", BPF_PROG_TYPE_SOCKET_FILTER, [*(BPF_MOV64_IMM(R1, each) for each in ASKED), *EXIT])
    text = loaded(write_object(prog, types=types), "asks")["asks"]
    assert code_of(text) == list(link(prog, Target(btf=types)).insns)


#: Each option, its load, and its factor in what the program returns.
OPTIONS = [
    (kconfig("LINUX_KERNEL_VERSION", u32), BPF_W, 1),
    (kconfig("LINUX_HAS_BPF_COOKIE", "bool", weak=True), BPF_B, 3),
    (kconfig("CONFIG_BPF_SYSCALL", "bool"), BPF_B, 5),
    (kconfig("CONFIG_BPF_JIT"), BPF_W, 7),
    (kconfig("CONFIG_NET", "char"), BPF_B, 11),
    (kconfig("CONFIG_HZ", s32), BPF_W, 13),
    (kconfig("CONFIG_LOG_BUF_SHIFT", u64), BPF_DW, 17),
    (kconfig("CONFIG_DEFAULT_HOSTNAME", chars(16)), BPF_B, 19),
    (kconfig("CONFIG_THERE_IS_NO_SUCH_OPTION", u16, weak=True), BPF_H, 23),
]

options = Program(
    "options",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        BPF_MOV64_IMM(R0, 0),
        *[
            insn
            for option, size, factor in OPTIONS
            for insn in (
                BPF_LD_MAP_VALUE(R1, option, 0),
                BPF_LDX_MEM(size, R1, R1, 0),
                BPF_ALU64_IMM(BPF_MUL, R1, factor),
                BPF_ALU64_REG(BPF_ADD, R0, R1),
            )
        ],
        BPF_EXIT_INSN(),
    ],
)


def test_libbpf_and_we_find_the_same_configuration(loaded, tmp_path):
    if objects.lacking():
        pytest.skip(f"needs {objects.lacking()}")
    if not configuration.read():
        pytest.skip("this kernel does not show its configuration")
    loaded(write_object(options), "options")  # by bpftool
    (tmp_path / "options.o").write_bytes(write_object(options))
    command = [objects.build_loader(tmp_path), "options.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    theirs = objects.rows(done.stdout)["options.o", "options"]["retval"]
    config = configuration.read()
    assert config["CONFIG_BPF_SYSCALL"] == config["CONFIG_NET"] == "y"
    with load(options) as obj:
        assert obj[options].test_run(bytes(64)).retval == theirs
        values = {option.name: obj[option] for option, _, _ in OPTIONS}
        assert values["CONFIG_HZ"] == int(config["CONFIG_HZ"])
        assert (values["CONFIG_NET"], values["CONFIG_THERE_IS_NO_SUCH_OPTION"]) == (ord("y"), 0)
    back = read_object((tmp_path / "options.o").read_bytes(), "options.o")
    with load(*back) as obj:
        assert obj[back["options"]].test_run(bytes(64)).retval == theirs


def member(name, *insns):
    body = [*insns, BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()]
    return Program(name, BPF_PROG_TYPE_STRUCT_OPS, body, license="GPL", attach_btf=f"tcp_congestion_ops.{name}")


NAME = f"written_{os.getpid()}"
begun = ArrayMap("begun", value=u64, max_entries=1)
count = [
    BPF_ST_MEM(BPF_W, FP, -4, 0),
    BPF_MOV64_REG(R2, FP),
    BPF_ALU64_IMM(BPF_ADD, R2, -4),
    BPF_LD_MAP_FD(R1, begun),
    BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
    BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
    BPF_MOV64_IMM(R1, 1),
    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
    label("out"),
]
slow = StructOps(
    f"slow_{os.getpid()}",
    "tcp_congestion_ops",
    {
        "name": NAME.encode(),
        "undo_cwnd": member("undo_cwnd"),
        "ssthresh": member("ssthresh"),
        "cong_avoid": member("cong_avoid"),
        "init": member("init", *count),
        "flags": 0,
    },
)


def test_bpftool_registers_structs_of_functions(dumped, types, tmp_path):
    """Sockets call the programs; the kernel says which congestion control it has."""
    lack = missing(["map/struct_ops"])
    if lack or os.geteuid() != 0 or not types.find("bpf_struct_ops_tcp_congestion_ops", 4):
        pytest.skip(lack.what if lack else "needs root, and congestion control by programs")
    (tmp_path / "slow.o").write_bytes(write_object(slow, types=types))
    dumped("-j", "struct_ops", "register", tmp_path / "slow.o")
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(23):
                with socket.socket() as client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAME.encode())
                    client.connect(server.getsockname())
                    server.accept()[0].close()
        (shown,) = json.loads(dumped("-j", "struct_ops", "list"))
        assert (shown["name"], shown["kernel_struct_ops"]) == (slow.name, "tcp_congestion_ops")
        programs = [each for each in json.loads(dumped("-j", "prog", "show")) if each["name"] == "init"]
        (table,) = {id for each in programs for id in each.get("map_ids", [])}
        ((row),) = json.loads(dumped("-j", "map", "dump", "id", table))
        assert int.from_bytes(bytes(int(each, 16) for each in row["value"]), sys.byteorder) == 23
    finally:
        dumped("-j", "struct_ops", "unregister", "name", slow.name)
    assert NAME not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


#: What libbpf of Debian 12 does not know (1.1), or what takes more than a declaration.
NOT_MAPS = {
    BPF_MAP_TYPE_ARENA, BPF_MAP_TYPE_INSN_ARRAY, BPF_MAP_TYPE_RHASH, BPF_MAP_TYPE_CGRP_STORAGE,
    # A program that uses one is of a cgroup.
    BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
}  # fmt: skip


def test_libbpf_creates_maps_of_every_type(loaded):
    specs = []
    for row in all_types():
        if row.type in NOT_MAPS:
            continue
        value = next((size for size in (8, 4, 16) if size in row.value), 0)
        key = next((kind for kind in (u32, ipv4_prefix, 0) if (kind and kind.size) in row.key), 0)
        more = {"inner": inner} if row.spec.endswith("OfMaps") else {}
        entries = 4096 if row.spec.endswith("RingBuf") else max(8, row.entries[0]) if len(row.entries) > 1 else 0
        specs.append(MapSpec(f"m{row.type}", row.type, key, {8: u64, 4: u32}.get(value, value), entries, **more))
    assert len(specs) > 25
    prog = Program("uses", BPF_PROG_TYPE_SOCKET_FILTER, [*(BPF_LD_MAP_FD(R1, spec) for spec in specs[:60]), *EXIT])
    loaded(write_object(prog, *specs), "uses")


#: Sections that libbpf 1.1 does not know, or whose programs need something to be loaded for.
NOT_SECTIONS = {
    "tcx/ingress", "tcx/egress", "tc/ingress", "tc/egress", "netkit/primary", "netkit/peer", "netfilter",
    "sk_skb/verdict", "kprobe.session", "uprobe.session", "uprobe.session.s", "uprobe.multi", "uprobe.multi.s",
    "uretprobe.multi", "uretprobe.multi.s",
    "tp.s", "tracepoint.s", "raw_tp.s", "raw_tracepoint.s", "tp_btf.s", "fsession", "fsession.s",
    "lirc_mode2",
}  # fmt: skip


def test_libbpf_takes_the_names_of_sections(loaded):
    rows = [
        row for row in sections.ROWS
        if not row.name.endswith("_unix") and row.target != sections.BTF and row.name not in NOT_SECTIONS
    ]  # fmt: skip
    programs = []
    for number, row in enumerate(rows):
        safe = 1 if row.type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR else 0
        prog = Program(
            f"p{number}", row.type, [BPF_MOV64_IMM(R0, safe), BPF_EXIT_INSN()],
            expected_attach_type=row.attach_type, flags=row.flags,
        )  # fmt: skip
        programs.append(prog)
    assert len(programs) > 60
    loaded(write_object(*programs), "p0")
