"""Classic BPF's macros."""

import struct

import pytest

from bpfasm.asm import classic
from bpfasm.asm.classic import BPF_JUMP, BPF_STMT, SockFilter, encode
from bpfasm.asm.syntax import tcpdump
from bpfasm.errors import OperandError
from bpfasm.uapi import filter as uapi


def test_the_fields_lie_where_the_header_has_them():
    insn = BPF_JUMP(0x1234, 0x89ABCDEF, 0x56, 0x78)
    data = encode([insn], "little")
    assert len(data) == uapi.sizeof_struct_sock_filter
    for name, (offset, _, format) in uapi.struct_sock_filter.items():
        assert struct.unpack_from(f"<{format}", data, offset) == (getattr(insn, name),)
    assert encode([insn], "big") == bytes.fromhex("1234567889abcdef")


def test_a_statement_jumps_nowhere():
    assert BPF_STMT(6, 7) == SockFilter(code=6, jt=0, jf=0, k=7)
    assert (classic.__BPF_STMT, classic.__BPF_JUMP) == (BPF_STMT, BPF_JUMP)


@pytest.mark.parametrize("fields", [(0x10000, 0, 0, 0), (0, 1 << 32, 0, 0), (0, 0, 256, 0), (0, 0, 0, -1)])
def test_what_does_not_fit_is_refused(fields):
    with pytest.raises(OperandError) as caught:
        BPF_JUMP(*fields)
    assert caught.value.rule == "imm-range"
    assert caught.value.source[0] == __file__


def test_the_places_that_the_kernel_knows_have_libpcaps_names():
    """What tcpdump -d vlan prints, before and since libpcap 1.10."""
    expected = [BPF_STMT(0x30, 0xFFFFF030), BPF_JUMP(0x15, 1, 0, 1), BPF_STMT(6, 262144), BPF_STMT(6, 0)]
    listing = tcpdump.listing(expected)
    assert listing[0] == "(000) ldb      [vlanp]"
    for text in (listing, ["(000) ldb      [-4048]", *listing[1:]], ["(000) ldb [4294963248]", *listing[1:]]):
        assert tcpdump.read("\n".join(text), "x") == expected


def test_every_classic_instruction_is_read_as_it_is_printed():
    for code in tcpdump.WORDS:
        for k in (0, 5, 0x7FFFFFFF, 0xFFFFF000, 0xFFFFF03D, 0xFFFFFFFC, 0xFFFFFFFF):
            listing = tcpdump.listing([SockFilter(code, 0, 0, k)])
            assert tcpdump.read("\n".join(listing), "x") == [SockFilter(code, 0, 0, k)], listing


@pytest.mark.parametrize(
    "text",
    [
        "# the filter\n2\n6 0 0 1\n# and\n6 0 0 0\n",
        "// the filter\n{ 0x6, 0, 0, 0x1 },\n/* and\n more */\n{ 0x6, 0, 0, 0x0 },\n",
        "# the filter\n(000) ret      #1\n; and\n(001) ret      #0\n",
    ],
)
def test_lines_of_comment_are_passed_over(text):
    assert tcpdump.looks_classic(text)
    assert tcpdump.read(text, "x") == [BPF_STMT(6, 1), BPF_STMT(6, 0)]
