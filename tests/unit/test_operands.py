"""Operand kinds: registers that are no numbers, and numbers that know their name."""

import pytest

from bpfasm.errors import OperandError
from bpfasm.isa import operands
from bpfasm.isa.operands import ALU_OPS, BPF_ADD, BPF_K, BPF_REG_PARAMS, BPF_W, FP, JMP_OPS, R1, R10, REGS, SIZES
from bpfasm.uapi import bpf, bpf_common

HEADERS = {**vars(bpf_common), **vars(bpf)}
KINDS = [*SIZES, *ALU_OPS, *JMP_OPS, operands.BPF_K, operands.BPF_X, operands.BPF_TO_LE, operands.BPF_TO_BE]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_a_kind_is_the_headers_number_with_its_name(kind):
    assert kind == HEADERS[kind.name]
    assert getattr(operands, kind.name) is kind
    assert repr(kind) == kind.name


def test_kinds_compute_as_in_c():
    assert BPF_W | BPF_ADD | BPF_K == 0
    assert type(BPF_W | BPF_ADD) is int
    assert f"{BPF_ADD:#x}" == "0x0"


@pytest.mark.parametrize("number", range(12))
def test_registers_are_told_apart_by_number(number):
    assert REGS[number].number == number
    assert repr(REGS[number]) == f"R{number}"


def test_some_registers_have_two_names():
    assert FP is R10
    assert BPF_REG_PARAMS is REGS[11]
    assert (REGS[6], REGS[10], REGS[3]) == (operands.BPF_REG_CTX, operands.BPF_REG_FP, operands.BPF_REG_ARG3)


@pytest.mark.parametrize("compute", [lambda: R1 + 4, lambda: 4 + R1, lambda: R1 - 4, lambda: 4 - R1, lambda: R1 + R1])
def test_python_does_not_compute_with_registers(compute):
    with pytest.raises(OperandError) as caught:
        compute()
    assert caught.value.rule == "reg-arithmetic"
    assert caught.value.source[0] == __file__


def test_all_is_what_is_there():
    names = {
        name
        for name, value in vars(operands).items()
        if isinstance(value, operands.Reg | operands.Named) and not name.startswith("_")
    }
    assert set(operands.__all__) == names
    assert len(operands.__all__) == len(names)
