"""Arguments and results by the processor: where they are, and what is not in a register."""

import pytest

from bpfasm.asm import *
from bpfasm.asm.registers import ARCHS, Register
from bpfasm.asm.snippets import func_arg, ret_value, syscall_arg
from bpfasm.errors import LinkError, OperandError
from bpfasm.uapi.ptrace import bpf_user_pt_regs_t


def offsets(items, arch):
    return [insn.off or insn.imm for insn in link(Program("p", BPF_PROG_TYPE_KPROBE, items), Target(arch=arch)).insns]


@pytest.mark.parametrize("arch", ARCHS)
def test_every_register_of_the_table_is_one_of_the_processor(arch):
    for what, held in ARCHS[arch].__dict__.items():
        for index, name in enumerate([held] if isinstance(held, str) else held):
            offset, size, _ = bpf_user_pt_regs_t[arch][name.partition("[")[0]]
            assert offset <= Register(what, index).offset(arch) <= offset + size - 8


def test_where_they_are():
    assert [offsets(func_arg(n, R2), "x86_64")[0] for n in range(6)] == [112, 104, 96, 88, 72, 64]
    assert [offsets(func_arg(n, R2), "aarch64")[0] for n in range(8)] == [0, 8, 16, 24, 32, 40, 48, 56]
    assert (offsets(ret_value(R2), "x86_64"), offsets(ret_value(R2), "aarch64")) == ([80], [0])
    # Not where a function has its fourth: the syscall instruction itself needs rcx.
    assert offsets(syscall_arg(3, R2, at=-8), "x86_64")[1] == 56


def test_what_is_not_in_a_register():
    with pytest.raises(LinkError) as caught:
        offsets(func_arg(6, R2), "x86_64")
    assert caught.value.rule == "register-argument"
    assert caught.value.what == "on x86_64 only the first 6 arguments are in registers, and args[6] is not"
    for n in (-1, 8, "1"):
        with pytest.raises(OperandError) as caught:
            func_arg(n, R2)
        assert caught.value.rule == "register-argument"
    with pytest.raises(LinkError, match="where vax keeps args"):
        offsets(func_arg(0, R2), "vax")


def test_what_holds_nothing():
    with pytest.raises(OperandError) as caught:
        register("flags")
    assert caught.value.rule == "register-argument"
    assert repr(register("ret")) == 'register("ret")'


def test_without_a_target_they_stay_unresolved():
    assert len(link(Program("p", BPF_PROG_TYPE_KPROBE, func_arg(0, R2))).unresolved) == 1
