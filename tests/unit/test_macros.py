"""The macros: where they were written, what they accept beside the obvious, and their fields."""

import inspect
from pathlib import Path

import pytest

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.asm import macros
from bpfasm.isa.insn import encode

THIS = __file__

#: The program that introduces gobpf, macro for macro. Its bytes are those that gcc gives (test_filter_h.py).
SEED = [
    BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0),
    BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
    BPF_LD_MAP_FD(BPF_REG_1, 7),
    BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
    BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 2),
    BPF_MOV64_IMM(BPF_REG_1, 1),
    BPF_RAW_INSN(BPF_STX | BPF_XADD | BPF_DW, BPF_REG_0, BPF_REG_1, 0, 0),
    BPF_EXIT_INSN(),
]

SEED_BYTES = """
    620afcff00000000
    bfa2000000000000
    07020000fcffffff
    1811000007000000 0000000000000000
    8500000001000000
    1500020000000000
    b701000001000000
    db10000000000000
    9500000000000000
"""


def test_the_seed_program_has_the_bytes_that_gcc_gives():
    assert encode(SEED) == bytes.fromhex(SEED_BYTES)


def test_the_newer_macros_make_the_same_seed_program():
    assert BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem) == SEED[4]
    assert BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0) == BPF_STX_XADD(BPF_DW, R0, R1, 0) == SEED[7]


# Names


def test_all_that_is_defined_is_exported():
    functions = {
        name
        for name, value in vars(macros).items()
        if inspect.isfunction(value) and value.__module__ == macros.__name__ and not name.startswith("_")
    }
    assert set(macros.__all__) == functions
    assert len(macros.__all__) == len(set(macros.__all__))
    assert all(getattr(bpfasm.asm, name) is getattr(macros, name) for name in macros.__all__)


@pytest.mark.parametrize("name", macros.__all__)
def test_each_says_what_it_does_in_one_line(name):
    first = inspect.getdoc(getattr(macros, name)).splitlines()[0]
    assert first[0].isupper()
    assert first.endswith((".", ";"))


# What stands for a register


@pytest.mark.parametrize("number", range(11))
def test_a_register_has_three_spellings(number):
    ways = [number, getattr(bpfasm.asm, f"R{number}"), getattr(bpfasm.asm, f"BPF_REG_{number}")]
    assert len({BPF_MOV64_REG(dst, src) for dst in ways for src in ways}) == 1


def test_r11_passes_arguments_on_the_stack():
    assert BPF_STX_MEM(BPF_DW, BPF_REG_PARAMS, R1, -8).dst_reg == 11
    assert BPF_RAW_INSN(0xBF, 15, 15, 0, 0).src_reg == 15


# Numbers


@pytest.mark.parametrize(
    ("given", "field"), [(0x7FFFFFFF, 2**31 - 1), (0x80000000, -(2**31)), (0xFFFFFFFF, -1), (-1, -1)]
)
def test_32_bit_forms_take_the_bits_they_show(given, field):
    calls = [
        BPF_MOV32_IMM(R1, given), BPF_ALU32_IMM(BPF_ADD, R1, given), BPF_JMP32_IMM(BPF_JEQ, R1, given, 0),
        BPF_ST_MEM(BPF_W, R1, 0, given), BPF_RAW_INSN(0xB4, R1, 0, 0, given), BPF_EMIT_CALL(given),
        BPF_LD_MAP_VALUE(R1, 3, given).replace(imm=given), BPF_MOV32_RAW(BPF_K, R1, R1, given),
    ]  # fmt: skip
    values = [insn.imm2 if insn.width == 2 else insn.imm for insn in calls]
    assert values == [field] * len(calls)


@pytest.mark.parametrize(
    ("given", "halves"),
    [
        (0, (0, 0)),
        (-1, (-1, -1)),
        (0xFFFFFFFF, (-1, 0)),
        (0x80000000, (-(2**31), 0)),
        (1 << 32, (0, 1)),
        (1 << 63, (0, -(2**31))),
        ((1 << 64) - 1, (-1, -1)),
        (-(1 << 63), (0, -(2**31))),
        (0x0123456789ABCDEF, (0x89ABCDEF - 2**32, 0x01234567)),
    ],
)
def test_64_bits_are_two_halves(given, halves):
    insn = BPF_LD_IMM64(R1, given)
    assert (insn.imm, insn.imm2) == halves
    assert BPF_LD_IMM64_RAW(R1, 3, given) == insn.replace(src_reg=3)


def test_fields_are_plain_ints_whatever_was_given():
    """A kind or a bool that stays in a field would print as itself."""
    calls = [
        BPF_MOV64_IMM(R0, True), BPF_MOV64_IMM(R0, BPF_W), BPF_LDX_MEM(BPF_W, R0, R1, BPF_H), BPF_JMP_A(False),
        BPF_ATOMIC_OP(BPF_W, BPF_OR, R0, R1, 0), BPF_ENDIAN(BPF_TO_BE, R0, 16), BPF_LD_IMM64(R0, BPF_X),
        BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, BPF_K, BPF_X), BPF_JMP32_A(BPF_X), BPF_BSWAP(R0, 16),
        BPF_LD_MAP_FD(R1, 3), BPF_ALU64_IMM_OFF(BPF_DIV, R0, 5, True), BPF_RAW_INSN(BPF_JEQ, 0, 0, 0, 0),
    ]  # fmt: skip
    odd = [(insn, value) for insn in calls for value in insn[:7] if value is not None and type(value) is not int]
    assert odd == []


def test_the_parts_of_an_opcode():
    insn = BPF_LDX_MEM(BPF_H, R1, R2, 0)
    assert (BPF_CLASS(insn.code), BPF_SIZE(insn.code), BPF_MODE(insn.code)) == (BPF_LDX, BPF_H, BPF_MEM)
    jump = BPF_JMP_REG(BPF_JSET, R1, R2, 0)
    assert (BPF_CLASS(jump.code), BPF_OP(jump.code), BPF_SRC(jump.code)) == (BPF_JMP, BPF_JSET, BPF_X)
    assert [BPF_LDST_BYTES(BPF_LDX_MEM(size, R1, R2, 0)) for size in (BPF_B, BPF_H, BPF_W, BPF_DW)] == [1, 2, 4, 8]


# Where each was written


def line_of(mark):
    return next(n for n, line in enumerate(Path(THIS).read_text().splitlines(), 1) if line.endswith(f"# {mark}"))


def snippet():
    return [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]  # in the snippet


def test_each_instruction_knows_its_line():
    insns = [
        BPF_MOV64_IMM(R0, 0), BPF_MOV64_IMM(R1, 1),  # two in a line
        BPF_LD_IMM64(  # over several lines
            R1,
            5,
        ),
        *snippet(),
        *(BPF_MOV64_IMM(R0, n) for n in range(2)),  # in a generator
        BPF_STX_XADD(BPF_DW, R0, R1, 0),  # through another
        Insn(0x95),
        label("out"),  # a label
    ]  # fmt: skip
    marks = ["two in a line"] * 2 + ["over several lines"] + ["in the snippet"] * 2 + ["in a generator"] * 2
    marks += ["through another"]
    expected = [(THIS, line_of(mark)) for mark in marks] + [None, (THIS, line_of("a label"))]
    assert [item.source for item in insns] == expected


PARTS = {"BPF_CLASS", "BPF_SIZE", "BPF_MODE", "BPF_OP", "BPF_SRC", "BPF_LDST_BYTES"}


@pytest.mark.parametrize("name", sorted(set(macros.__all__) - PARTS))
def test_every_macro_notes_its_caller(name):
    operands = {"op": "BPF_DIV", "size": "BPF_W", "type": "0", "len": "16", "off": "0", "code": "0"}
    if name.startswith("BPF_MOVSX"):
        operands["off"] = "8"
    if name.startswith("BPF_JMP"):
        operands["op"] = "BPF_JEQ"
    if name == "BPF_ATOMIC_OP":
        operands["op"] = "BPF_ADD"
    arguments = [operands.get(parameter, "1") for parameter in inspect.signature(getattr(macros, name)).parameters]
    insn = eval(compile(f"\n\n{name}({', '.join(arguments)})", "prog.py", "eval"), vars(bpfasm.asm))
    assert insn.source == ("prog.py", 3)
