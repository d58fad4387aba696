"""Programs on tracepoints, by name."""

import errno
import os

import pytest

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import load

pytestmark = pytest.mark.lab

RETURN_0 = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
calls = ArrayMap("calls", value=u64, max_entries=1)

#: The number of getpriority, which nobody calls by chance, on x86_64 and on the others.
GETPRIORITY = {"x86_64": 140}.get(os.uname().machine, 141)


def counter():
    """Return a program that counts this process's calls of getpriority."""
    return Program(
        "counter",
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        attach=raw_tracepoint("sys_enter"),
        insns=[
            BPF_LDX_MEM(BPF_DW, R6, R1, 8),  # the number; before it is the address of the registers
            BPF_JMP_IMM(BPF_JNE, R6, GETPRIORITY, "out"),
            BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
            BPF_ALU64_IMM(BPF_RSH, R0, 32),
            BPF_JMP_IMM(BPF_JNE, R0, os.getpid(), "out"),
            BPF_LD_MAP_VALUE(R1, calls, 0),
            BPF_MOV64_IMM(R2, 1),
            BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
            label("out"),
            *RETURN_0,
        ],
    )


def test_23_calls_are_23_events():
    program = counter()
    with load(program) as obj:
        os.getpriority(os.PRIO_PROCESS, 0)
        (link,) = obj.attach()
        assert (link.mode, str(link.target)) == ("link", "raw tracepoint sys_enter")
        for _ in range(23):
            os.getpriority(os.PRIO_PROCESS, 0)
        assert obj[calls][0] == 23
        link.close()
        os.getpriority(os.PRIO_PROCESS, 0)
        assert obj[calls][0] == 23


def test_what_a_tracepoint_lets_be_written():
    """A test run hands its error to a tracepoint that may change it. (net/bpf/test_run.c bpf_test_finish())"""
    run = Program("run", BPF_PROG_TYPE_XDP, RETURN_0)
    writes = Program(
        "writes",
        BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
        attach=raw_tracepoint("bpf_test_finish"),
        insns=[
            BPF_LDX_MEM(BPF_DW, R6, R1, 0),
            BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
            BPF_ALU64_IMM(BPF_RSH, R0, 32),
            BPF_JMP_IMM(BPF_JNE, R0, os.getpid(), "out"),
            BPF_ST_MEM(BPF_W, R6, 0, -errno.EXDEV),
            label("out"),
            *RETURN_0,
        ],
    )
    with load(run, writes) as obj:
        assert obj[run].test_run(bytes(64)).retval == 0
        (link,) = obj.attach()
        with pytest.raises(OSError) as caught:
            obj[run].test_run(bytes(64))
        assert caught.value.errno == errno.EXDEV
        link.close()
        assert obj[run].test_run(bytes(64)).retval == 0


def test_a_tracepoint_that_is_not_writable():
    writes = Program(
        "writes",
        BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
        [BPF_LDX_MEM(BPF_DW, R6, R1, 0), BPF_ST_MEM(BPF_W, R6, 0, 1), *RETURN_0],
        attach=raw_tracepoint("sys_enter"),
    )
    with load(writes) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.rule == "attach-refused"
    assert "or is writable and the tracepoint is not" in caught.value.do


@pytest.mark.lab(on="ends")
def test_a_tracepoint_that_is_not_there():
    program = counter().replace(attach=raw_tracepoint("no_such_tracepoint"))
    with load(program) as obj, pytest.raises(FeatureMissing) as caught:
        obj.attach()
    assert caught.value.rule == "no-tracepoint"
    assert "has no tracepoint no_such_tracepoint" in caught.value.what


def test_the_wrong_type_of_program():
    program = Program("filter", BPF_PROG_TYPE_SOCKET_FILTER, RETURN_0, attach=raw_tracepoint("sys_enter"))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.what == (
        "filter is of type BPF_PROG_TYPE_SOCKET_FILTER, and raw tracepoint sys_enter takes a "
        "BPF_PROG_TYPE_RAW_TRACEPOINT or BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE"
    )


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("name", ["", "sched/sched_process_exec", "sched:sched_switch", "2nd", "ä"])
def test_what_is_no_name(name):
    with pytest.raises(OperandError, match="is no name of a tracepoint") as caught:
        raw_tracepoint(name)
    assert caught.value.rule == "attach-target"
