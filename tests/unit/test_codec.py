"""``Insn``, and bytes to instructions and back."""

import pytest
from hypothesis import given, settings, strategies as st

from bpfasm.asm import *
from bpfasm.errors import DecodeError, LinkError, OperandError
from bpfasm.isa.insn import decode, encode

ORDERS = ["little", "big"]
EXACTLY = settings(derandomize=True, deadline=None, max_examples=300)

# An instruction with another number in every field, and the bytes of one slot in each order.
WIDE = Insn(0x18, 1, 2, 0x0304, 0x05060708, 0x090A, 0x0B0C0D0E)


@pytest.mark.parametrize(
    ("order", "hex"),
    [
        ("little", "18 21 0403 08070605" + "00 00 0a09 0e0d0c0b"),
        ("big", "18 12 0304 05060708" + "00 00 090a 0b0c0d0e"),
    ],
)
def test_every_field_has_its_place(order, hex):
    assert encode([WIDE], order) == bytes.fromhex(hex)
    assert decode(bytes.fromhex(hex), order) == [WIDE]


@pytest.mark.parametrize("order", ORDERS)
@given(data=st.binary(max_size=160))
@EXACTLY
def test_any_slots_come_back(order, data):
    whole = data[: len(data) // 8 * 8]
    insns = decode(whole, order)
    assert encode(insns, order) == whole
    assert sum(insn.width for insn in insns) == len(whole) // 8


#: Second slots that BPF_LD_IMM64 can have, and others: the first slot then stands alone, and no bit is lost.
@pytest.mark.parametrize(
    ("second", "widths"),
    [
        ("0000 0000 00000000", [2]),
        ("0000 ffff 00000080", [2]),
        ("0100 0000 00000000", [1, 1]),
        ("0001 0000 00000000", [1, 1]),
        ("0010 0000 00000000", [1, 1]),
        ("1800 0000 00000000", [1, 1]),
        ("", [1]),
    ],
)
def test_a_wide_instruction_is_one_only_with_its_second_slot(second, widths):
    data = bytes.fromhex("18010000 05000000" + second)
    insns = decode(data)
    assert [insn.width for insn in insns] == widths
    assert encode(insns) == data


@pytest.mark.parametrize("order", ORDERS)
def test_two_first_slots_in_a_row(order):
    data = encode([Insn(0x18, 1), Insn(0x18, 2, 0, 0, 5, 0, 6)], order)
    assert [(insn.dst_reg, insn.width) for insn in decode(data, order)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("length", [n for n in range(1, 25) if n % 8])
def test_every_truncation_is_an_error(length):
    with pytest.raises(DecodeError) as caught:
        decode(bytes(24)[:length])
    whole, rest = (f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((length // 8, "slot"), (length % 8, "byte")))
    assert caught.value.what == f"{length} bytes are {whole} of 8 and {rest} more"
    assert caught.value.do == "the last slot is cut short, or something before it does not belong to the program"
    assert caught.value.rule == "cut-slot"


def test_no_bytes_are_no_instructions():
    assert decode(b"") == []
    assert encode([]) == b""


@pytest.mark.parametrize(
    ("insn", "what", "do"),
    [
        (BPF_JMP_A("out"), "off of this instruction still refers to 'out'", "link() the program first"),
        (BPF_CALL_REL("f"), "imm of this instruction still refers to 'f'", "link() the program first"),
        (
            Insn(0x07, 1, 0, 2**15, 5),
            "Insn(code=7, dst_reg=1, src_reg=0, off=32768, imm=5) does not fit struct bpf_insn",
            "code has 8 bits, off and off2 have 16, imm and imm2 have 32",
        ),
        (
            Insn(0x118),
            "Insn(code=280, dst_reg=0, src_reg=0, off=0, imm=0) does not fit struct bpf_insn",
            "code has 8 bits, off and off2 have 16, imm and imm2 have 32",
        ),
        (
            Insn(0x18, 0, 0, 0, 0, None, 5),
            "Insn(code=24, dst_reg=0, src_reg=0, off=0, imm=0, imm2=5) does not fit struct bpf_insn",
            "code has 8 bits, off and off2 have 16, imm and imm2 have 32",
        ),
    ],
)
def test_what_is_not_linked_or_does_not_fit_has_no_bytes(insn, what, do):
    with pytest.raises(LinkError) as caught:
        encode([BPF_EXIT_INSN(), insn])
    assert caught.value.what == what
    assert caught.value.do.startswith(do)
    assert (caught.value.rule, caught.value.source) == ("unlinked", insn.source)


@pytest.mark.parametrize("field", ["dst_reg", "src_reg"])
@pytest.mark.parametrize("number", [16, -1, R1, None])
def test_a_register_has_4_bits(field, number):
    with pytest.raises(OperandError) as caught:
        Insn(0x07, **{field: number})
    assert caught.value.what == f"{field} is {number!r}, and 4 bits hold 0 to 15"
    assert (caught.value.rule, caught.value.source[0]) == ("not-a-register", __file__)


# Insn as a value


def test_it_is_frozen():
    insn = BPF_EXIT_INSN()
    with pytest.raises(AttributeError):
        insn.imm = 5
    with pytest.raises(AttributeError):
        insn.other = 5
    with pytest.raises(TypeError):
        insn[4] = 5


def test_where_it_was_written_takes_no_part_in_comparison():
    first, second = BPF_EXIT_INSN(), Insn(0x95)
    assert first == second
    assert (first != second) is False
    assert hash(first) == hash(second)
    assert first.source != second.source
    assert first != (*second,)
    assert first != BPF_MOV64_IMM(R0, 0)
    assert len({first, second}) == 1


def test_a_syntax_that_knows_its_lines_gives_them():
    insn = Insn(0x95, where=("prog.s", 7))
    assert insn.source == ("prog.s", 7)
    assert insn.replace(off=1).source == ("prog.s", 7)


def test_replace_keeps_the_rest():
    insn = BPF_LD_IMM64(R1, 5)
    other = insn.replace(imm=6)
    assert (other.code, other.dst_reg, other.imm, other.imm2) == (0x18, 1, 6, 0)
    assert other.source == insn.source
    assert insn.imm == 5


def test_repr_leaves_out_what_is_not_there():
    assert repr(Insn(0x95)) == "Insn(code=149, dst_reg=0, src_reg=0, off=0, imm=0)"
    assert repr(WIDE) == ("Insn(code=24, dst_reg=1, src_reg=2, off=772, imm=84281096, off2=2314, imm2=185339150)")
    assert eval(repr(WIDE)) == WIDE


@pytest.mark.parametrize(("insn", "width"), [(BPF_EXIT_INSN(), 1), (BPF_LD_IMM64(R0, 0), 2), (Insn(0x18), 1)])
def test_width_is_slots(insn, width):
    assert insn.width == width
    assert len(encode([insn])) == 8 * width
