"""Fields of the kernel's own structs, read by name: the process that runs the program is the one that is asked."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bpfasm.asm import *
from bpfasm.asm.snippets import core_read, core_read_bits, core_read_str
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.errors import LinkError, OperandError
from bpfasm.kernel import load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.uapi.btf import BTF_KIND_STRUCT

pytestmark = pytest.mark.lab

EXIT = BPF_EXIT_INSN()
GOT, TEXT = Global("got", u64), Global("text", chars(16))
#: Leaves this thread's task_struct in R6.
TASK = [BPF_EMIT_CALL(BPF_FUNC_get_current_task), BPF_MOV64_REG(R6, R0)]


def run(*body, btf=()):
    """Run a program in this thread."""
    keep = [BPF_LD_MAP_VALUE(R1, GOT, 0), BPF_STX_MEM(BPF_DW, R1, R0, 0), BPF_MOV64_IMM(R0, 0), EXIT]
    prog = Program("core", BPF_PROG_TYPE_RAW_TRACEPOINT, [*TASK, *body, *keep])
    with load(prog, btf=btf) as obj:
        obj[prog].test_run()
        return obj[GOT]


def test_a_chain_of_pointers():
    parent, tgid = field("task_struct", "real_parent"), field("task_struct", "tgid")
    assert run(*core_read(-8, R6, tgid, size=4), BPF_LDX_MEM(BPF_W, R0, FP, -8)) == os.getpid()
    assert run(*core_read(-8, R6, parent, tgid, size=4), BPF_LDX_MEM(BPF_W, R0, FP, -8)) == os.getppid()
    leader = field("task_struct", "group_leader")
    chain = core_read(-8, R6, leader, parent, tgid, size=4)
    assert run(*chain, BPF_LDX_MEM(BPF_W, R0, FP, -8)) == os.getppid()


def test_nested_and_unnamed_members():
    inum = core_read(-8, R6, field("task_struct", "nsproxy"), field("nsproxy", "uts_ns"),
                     field("uts_namespace", "ns.inum"), size=4)  # fmt: skip
    assert f"uts:[{run(*inum, BPF_LDX_MEM(BPF_W, R0, FP, -8))}]" == os.readlink("/proc/self/ns/uts")


def test_text():
    copy = core_read_str(-16, R6, field("task_struct", "comm"), size=16)
    name = Path("/proc/self/comm").read_text().rstrip("\n").encode()
    assert run(*copy) == len(name) + 1
    assert run(*copy, BPF_LDX_MEM(BPF_B, R0, FP, -16)) == name[0]


def test_a_bit_field():
    bit = field("task_struct", "sched_reset_on_fork")
    read = core_read_bits(R6, bit, to=-8)
    assert run(*read) == 0
    parameters = os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, parameters)
    try:
        assert run(*read) == 1
        assert run(*core_read_bits(R6, bit, to=-8, signed=True)) == (1 << 64) - 1
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, parameters)


def test_what_has_changed_its_name():
    state = first_of(field("task_struct", "__state"), field("task_struct", "state"))
    clear = BPF_ST_MEM(BPF_DW, FP, -8, -1)
    assert run(clear, *core_read(-8, R6, state, size=4), BPF_LDX_MEM(BPF_W, R0, FP, -8)) == 0  # it runs


def test_what_the_program_asks_for_may_be_missing():
    gone = field("task_struct", "never_was_there")
    ask = [BPF_MOV64_IMM(R1, gone.exists), BPF_MOV64_IMM(R0, 7), BPF_JMP_IMM(BPF_JEQ, R1, 0, "out")]
    assert run(*ask, *core_read(-8, R6, gone), label("out")) == 7
    with pytest.raises(LinkError) as caught:
        run(*core_read(-8, R6, gone))
    assert caught.value.rule == "core-missing"


def other_types(tgid):
    """Return types in which task_struct has its tgid elsewhere, and a member that no kernel has."""
    types = Writer()
    number = types.add_int("int", 4)
    types.add_struct("task_struct", tgid + 4, [("of_no_kernel", number, 8 * tgid - 32), ("tgid", number, 8 * tgid)])
    return Btf(types.to_bytes())


def test_fields_are_where_the_given_types_say():
    (task,) = kernel_btf.vmlinux().find("task_struct", BTF_KIND_STRUCT)
    pid = next(each.offset // 8 for each in kernel_btf.vmlinux().type(task).members if each.name == "pid")
    read = [
        *core_read(-8, R6, field("task_struct", "tgid"), size=4),
        BPF_LDX_MEM(BPF_W, R0, FP, -8),
        BPF_ALU64_IMM(BPF_LSH, R0, 32),
        BPF_ALU64_IMM(BPF_OR, R0, field("task_struct", "of_no_kernel").exists),
    ]
    assert run(*read) == os.getpid() << 32
    elsewhere = other_types(tgid=pid)
    assert run(*read, btf=kernel_btf.vmlinux()) == os.getpid() << 32
    with ThreadPoolExecutor(1) as other:  # whose pid is not its tgid
        thread = other.submit(threading.get_native_id).result()
        assert thread != os.getpid()
        assert other.submit(run, *read, btf=elsewhere).result() == thread << 32 | 1
    # What the first has decides, and what it has not is looked for in those behind it.
    both = [elsewhere, kernel_btf.vmlinux()]
    assert run(BPF_MOV64_IMM(R0, field("task_struct", "tgid")), btf=both) == pid
    assert run(BPF_MOV64_IMM(R0, type_size("file")), btf=both) == run(BPF_MOV64_IMM(R0, type_size("file")))
    with pytest.raises(LinkError) as caught:
        run(BPF_MOV64_IMM(R0, field("file", "f_inode")), btf=elsewhere)
    assert caught.value.rule == "core-missing"


def test_sizes_and_values():
    (file,) = kernel_btf.vmlinux().find("file", 4)
    assert run(BPF_MOV64_IMM(R0, type_size("file"))) == kernel_btf.vmlinux().type(file).size
    assert run(BPF_LD_IMM64(R0, enum_value("pid_type", "PIDTYPE_SID"))) == 3
    assert run(BPF_MOV64_IMM(R0, type_id("file"))) == file


def test_what_a_chain_cannot_be():
    name = field("task_struct", "comm")
    for wrong in (
        lambda: core_read(-8, R6), lambda: core_read(-8, R6, name.size), lambda: core_read(-8, R6, "comm"),
        lambda: core_read(-4, R6, name, name, size=4), lambda: core_read(-8, "R6", name),
        lambda: core_read_bits(R6, 5, to=-8),
    ):  # fmt: skip
        with pytest.raises(OperandError) as caught:
            wrong()
        assert caught.value.rule == "snippet-operand"
