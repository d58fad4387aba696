"""Instructions as text: the kernel's words, macros, and hex digits."""

import random

import pytest
from samples import samples

from bpfasm.asm import *
from bpfasm.asm.syntax import data, hexdump, kernel, llvm, macro
from bpfasm.asm.syntax.text import disassemble
from bpfasm.errors import DecodeError
from bpfasm.isa.insn import decode, encode
from bpfasm.isa.match import form_of

COUNTS = HashMap("counts", key=u32, value=u64, max_entries=1)


# Every form is compared with the kernel's own disassembler in tests/differential/test_disasm.py; these are for eyes.
@pytest.mark.parametrize(
    ("insn", "in_kernel", "in_macro"),
    [
        (BPF_MOV64_IMM(R1, -5), "(b7) r1 = -5", "BPF_MOV64_IMM(BPF_REG_1, -5)"),
        (BPF_ALU32_REG(BPF_ARSH, R1, R2), "(cc) w1 s>>= w2", "BPF_ALU32_REG(BPF_ARSH, BPF_REG_1, BPF_REG_2)"),
        (BPF_ENDIAN(BPF_TO_BE, R1, 16), "(dc) r1 = be16 r1", "BPF_ENDIAN(BPF_TO_BE, BPF_REG_1, 16)"),
        (
            BPF_JMP_IMM(BPF_JNE, R1, -1, 3),
            "(55) if r1 != 0xffffffff goto pc+3",
            "BPF_JMP_IMM(BPF_JNE, BPF_REG_1, -1, 3)",
        ),
        (BPF_JMP32_A(-7), "(06) gotol pc-7", "BPF_JMP32_A(-7)"),
        (BPF_ST_MEM(BPF_W, R10, -4, 0), "(62) *(u32 *)(r10 -4) = 0", "BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0)"),
        (BPF_LDX_MEM(BPF_DW, R0, R1, 8), "(79) r0 = *(u64 *)(r1 +8)", "BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_1, 8)"),
        (BPF_EMIT_CALL(1), "(85) call bpf_map_lookup_elem#1", "BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem)"),
        (BPF_EMIT_CALL(99999), "(85) call unknown#99999", "BPF_EMIT_CALL(99999)"),
        (BPF_LD_IMM64(R1, 1 << 40), "(18) r1 = 0x10000000000", "BPF_LD_IMM64(BPF_REG_1, 0x10000000000)"),
        (BPF_LD_MAP_FD(R1, 5), "(18) r1 = map[fd:5]", "BPF_LD_MAP_FD(BPF_REG_1, 5)"),
        (BPF_EXIT_INSN(), "(95) exit", "BPF_EXIT_INSN()"),
        # Maps stand there by name until they are linked
        (BPF_LD_MAP_FD(R1, COUNTS), "(18) r1 = map[counts]", "BPF_LD_MAP_FD(BPF_REG_1, counts)"),
        (BPF_LD_MAP_VALUE(R1, COUNTS, 8), "(18) r1 = map[counts][0]+8", "BPF_LD_MAP_VALUE(BPF_REG_1, counts, 8)"),
        # What no macro takes is written field by field: R11, a map that no fd can be
        (Insn(0xBF, 11, 1), "(bf) r11 = r1", "BPF_RAW_INSN(0xbf, 11, 1, 0, 0)"),
        (
            Insn(0x18, 1, 1, 0, -5, 0, 0),
            "(18) r1 = map[fd:-5]",
            "BPF_LD_IMM64_RAW_FULL(1, 1, 0, 0, -5, 0)",
        ),
        # No form
        (Insn(0xFF, 1, 2, 3, 4), "(ff) BPF_RAW_INSN(0xff, 1, 2, 3, 4)", "BPF_RAW_INSN(0xff, 1, 2, 3, 4)"),
        (
            Insn(0x18, 1, 9, 2, 3, 4, 5),
            "(18) BPF_LD_IMM64_RAW_FULL(1, 9, 2, 4, 3, 5)",
            "BPF_LD_IMM64_RAW_FULL(1, 9, 2, 4, 3, 5)",
        ),
    ],
)  # fmt: skip
def test_the_text_of(insn, in_kernel, in_macro):
    form = form_of(insn)
    assert (kernel.text(insn, form), macro.text(insn, form)) == (in_kernel, in_macro)


@pytest.mark.parametrize(
    "insn",
    [
        BPF_RAW_INSN(BPF_ALU64 | BPF_MOV | BPF_K, R1, 0, 0, COUNTS),
        BPF_RAW_INSN(BPF_JMP | BPF_JEQ, R1, 0, 0, COUNTS),
    ],
)
def test_an_operand_in_an_unusual_place_is_shown_as_it_is(insn):
    assert macro.text(insn, form_of(insn)) == data(insn)
    assert kernel.text(insn, form_of(insn)).endswith(data(insn))


# Hex digits


def test_a_line_a_slot():
    assert hexdump.lines(bytes(range(16))) == ["0001020304050607", "08090a0b0c0d0e0f"]
    assert hexdump.lines(b"") == []


@pytest.mark.parametrize(
    "text",
    [
        "b700000000000000 9500000000000000",
        "b7 00 00 00\n00 00 00 00\n\n95 00 00 00 00 00 00 00\n",
        "B700000000000000\t# r0 = 0\n9500000000000000 ; exit",
        "# a comment\nb70000000000000\n0\n9500000000000000",
    ],
)
def test_digits_are_read(text):
    assert hexdump.parse(text, "f") == bytes.fromhex("b7000000000000009500000000000000")
    assert hexdump.parse("\n".join(hexdump.lines(hexdump.parse(text, "f"))), "f") == hexdump.parse(text, "f")


NO_DIGIT = "hex input is 16 digits a slot, with spaces and line ends where you like"
CUT = "a slot has 16 digits; the end of the input may be missing"


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("b700000000000000\n95 0x", "f:2: error: column 5 has 'x', which is no hex digit [hex-digit]", NO_DIGIT),
        ("b7\u0660", "f:1: error: column 3 has '\u0660', which is no hex digit [hex-digit]", NO_DIGIT),
        ("b70\n\n", "f:1: error: 3 hex digits are 1 byte and half a byte [cut-slot]", CUT),
        ("# a comment\nb700\n0", "f:3: error: 5 hex digits are 2 bytes and half a byte [cut-slot]", CUT),
    ],
)
def test_what_is_no_hex_is_named(text, first, second):
    with pytest.raises(DecodeError) as caught:
        hexdump.parse(text, "f")
    assert caught.value.report() == f"{first}\n{second}"


# Many at once


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "macro"])
def test_many_at_once_are_each_as_alone(syntax):
    choose = random.Random(51)
    heads = [bytes([code]) for code in range(256)] * 3 + [b"\x18"] * 40 + [bytes(2)] * 40
    rest = (bytes(7), bytes([0x21, 0, 0, 5, 0, 0, 0]))
    slots_ = [(head + choose.choice((*rest, choose.randbytes(7))))[:8].ljust(8, b"\0") for head in heads]
    choose.shuffle(slots_)
    for code in (encode([insn for _, insn in samples(6, seed=52, registers=13)], "little"), b"".join(slots_)):
        print_one = {"kernel": kernel.text, "llvm": llvm.text, "macro": macro.text}[syntax]
        alone = [print_one(insn, form_of(insn)) for insn in decode(code)]
        assert disassemble(code, syntax) == alone
    with pytest.raises(DecodeError):
        disassemble(code + b"\x95", syntax)
