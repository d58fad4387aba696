"""Classic BPF's macros."""

import struct

import pytest

from bpfasm.asm import classic
from bpfasm.asm.classic import BPF_JUMP, BPF_STMT, SockFilter, encode
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
