"""Objects that are written: one file that libbpf and bpftool load on every kernel of the lab, and that counts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support import bpftool

from bpfasm.asm import *
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf.object_write import write_object
from bpfasm.uapi.btf import BTF_INT_SIGNED, BTF_KIND_FUNC_PROTO, BTF_KIND_PTR

pytestmark = pytest.mark.boots

HERE = Path(__file__).resolve()
LOADER = HERE.parents[1] / "support" / "loader.c"
CALLS = 1000

counts = PerCpuArrayMap("counts", value=u64, max_entries=1)
seen = HashMap("seen", key=u32, value=u64, max_entries=16)
step = Global("step", u32, 1, const=True)
weight = Global("weight", u32, 1)
skipped = Global("skipped", u64)
version = kconfig("LINUX_KERNEL_VERSION", u32)
stack = StackLayout(key=u32, tgid=u32)

add = Subprog(
    "add",
    [
        BPF_MOV64_REG(R6, R1),
        BPF_ST_MEM(BPF_W, FP, stack.key, 0),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, stack.key),
        BPF_LD_MAP_FD(R1, counts),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R6, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)

chowns = Program(
    "chowns",
    BPF_PROG_TYPE_KPROBE,
    attach=kprobe(syscall="fchownat"),
    insns=[
        # The task's tgid, at a place that differs by kernel, is what a helper says: else nothing is counted.
        BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
        BPF_MOV64_REG(R7, R0),
        BPF_ALU64_IMM(BPF_RSH, R7, 32),
        BPF_EMIT_CALL(BPF_FUNC_get_current_task),
        BPF_MOV64_REG(R3, R0),
        BPF_ALU64_IMM(BPF_ADD, R3, field("task_struct", "tgid")),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, stack.tgid),
        BPF_MOV64_IMM(R2, field("task_struct", "tgid").size),
        BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel),
        BPF_LDX_MEM(BPF_W, R1, FP, stack.tgid),
        BPF_JMP_REG(BPF_JNE, R1, R7, "skip"),
        BPF_LD_MAP_VALUE(R1, version, 0),
        BPF_LDX_MEM(BPF_W, R1, R1, 0),
        BPF_JMP_IMM(BPF_JLT, R1, 0x050A00, "skip"),
        BPF_LD_MAP_VALUE(R1, step, 0),
        BPF_LDX_MEM(BPF_W, R1, R1, 0),
        BPF_LD_MAP_VALUE(R2, weight, 0),
        BPF_LDX_MEM(BPF_W, R2, R2, 0),
        BPF_ALU64_REG(BPF_MUL, R1, R2),
        BPF_CALL_REL(add),
        BPF_CALL_REL("zero"),
        BPF_EXIT_INSN(),
        label("skip"),
        BPF_LD_MAP_VALUE(R1, skipped, 0),
        BPF_MOV64_IMM(R2, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
        label("zero"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)

returns = Program(
    "returns",
    BPF_PROG_TYPE_KPROBE,
    attach=kretprobe(syscall="fchownat"),
    insns=[BPF_LD_MAP_FD(R1, seen), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
)

refused = Program(
    "refused",
    BPF_PROG_TYPE_KPROBE,
    attach=kprobe(syscall="fchownat"),
    insns=[
        BPF_MOV64_IMM(R1, 0),
        BPF_LDX_MEM(BPF_DW, R0, R1, 8),  # no pointer
        BPF_EXIT_INSN(),
    ],
)


def member(name):
    body = [BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()]
    return Program(name, BPF_PROG_TYPE_STRUCT_OPS, body, license="GPL", attach_btf=f"tcp_congestion_ops.{name}")


MEMBERS = ("undo_cwnd", "ssthresh", "cong_avoid")
slow = StructOps("slow", "tcp_congestion_ops", {"name": b"slow", **{name: member(name) for name in MEMBERS}})


def nowhere():
    """Return types of a kernel that there is not: none has these places."""
    types = Writer()
    text = types.add_array(types.add_int("char", 1, BTF_INT_SIGNED), 16)
    function = types.add(BTF_KIND_PTR, third=types.add(BTF_KIND_FUNC_PROTO))
    functions = [(name, function, 64 * place) for place, name in enumerate(MEMBERS)]
    types.add_struct("tcp_congestion_ops", 40, [*functions, ("name", text, 192)])
    types.add_struct("task_struct", 8, [("tgid", types.add_int("int", 4, BTF_INT_SIGNED), 0)])
    return Btf(types.to_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all kernels: the objects, written here, a loader, bpftool."""
    root = tmp_path_factory.mktemp("objects")
    if not shutil.which("gcc") or not Path("/usr/include/bpf/libbpf.h").exists():
        pytest.skip("gcc and libbpf-dev are not installed")
    command = ["gcc", "-O1", "-Wall", "-Werror", "-static", "-o", root / "loader", LOADER, "-lbpf", "-lelf", "-lz"]
    subprocess.run(command, check=True)
    (root / "chowns.o").write_bytes(write_object(chowns, returns, types=nowhere()))
    (root / "slow.o").write_bytes(write_object(slow, types=nowhere()))
    (root / "refused.o").write_bytes(write_object(refused))
    for path in bpftool.files():
        shutil.copy(path, root)
    return root


def run(guest, folder, *words):
    if guest.kernel.arch != "x86_64":
        pytest.skip("the loader is this machine's")
    return guest.capture(words, cwd=folder, rw=[folder], timeout=120)


def test_libbpf_counts_chowns(guest, folder):
    done = run(guest, folder, "./loader", "chowns.o", "counts", str(CALLS))
    assert (done.status, done.stdout) == (0, b"%d\n" % CALLS), done.stderr.decode()


def test_libbpf_sets_variables(guest, folder):
    done = run(guest, folder, "./loader", "chowns.o", "counts", str(CALLS), "step=3", "weight=5")
    assert (done.status, done.stdout) == (0, b"%d\n" % (15 * CALLS)), done.stderr.decode()


def test_the_log_of_a_refusal_has_the_line_of_python(guest, folder):
    done = run(guest, folder, "./loader", "refused.o", "counts", "1")
    log = done.stderr.decode()
    assert done.status == 3
    line = "BPF_LDX_MEM(BPF_DW, R0, R1, 8),  # no pointer"
    assert f"; {line}" in log
    number = HERE.read_text().splitlines().index(f"        {line}") + 1
    if guest.kernel.version not in ("5.10", "6.1"):  # which print no file and line
        assert f"{HERE.name}:{number}" in log


def test_bpftool_loads_and_chowns_are_counted(guest, folder):
    if not bpftool.files():
        pytest.skip("bpftool is not installed")
    at = "/sys/fs/bpf/written"
    script = f"""
        export LD_LIBRARY_PATH=.
        ./bpftool prog loadall chowns.o {at} pinmaps {at}_maps &&
        ./loader {at}/chowns {at}_maps/counts {CALLS} &&
        ./bpftool -j prog show pinned {at}/chowns
        status=$?
        rm -r {at} {at}_maps
        exit $status
    """
    done = run(guest, folder, "sh", "-c", script)
    assert done.status == 0, done.stderr.decode()
    counted, shown = done.stdout.decode().splitlines()
    assert int(counted) == CALLS
    about = json.loads(shown)
    assert (about["name"], about["type"], about["gpl_compatible"]) == ("chowns", "kprobe", True)
    assert about["btf_id"]


def test_bpftool_registers_a_struct_of_functions(guest, folder):
    if not bpftool.files():
        pytest.skip("bpftool is not installed")
    script = """
        export LD_LIBRARY_PATH=.
        ./bpftool -j struct_ops register slow.o || exit
        ./bpftool -j struct_ops list
        cat /proc/sys/net/ipv4/tcp_available_congestion_control
        ./bpftool -j struct_ops unregister name slow
    """
    done = run(guest, folder, "sh", "-c", script)
    assert done.status == 0, done.stderr.decode()
    shown, known = [line for line in done.stdout.decode().splitlines() if "slow" in line]
    (row,) = json.loads(shown)
    assert (row["name"], row["kernel_struct_ops"]) == ("slow", "tcp_congestion_ops")
    assert "slow" in known.split()
