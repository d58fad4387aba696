"""Classic BPF's macros of linux/filter.h: the instructions of socket filters before eBPF, and of seccomp.

They are no part of ``from bpfasm.asm import *``, since no program mixes the two.

>>> from bpfasm.asm.classic import BPF_JUMP, BPF_STMT, encode
>>> from bpfasm.uapi.bpf_common import BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET
>>> only_ip = [
...     BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
...     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 1),
...     BPF_STMT(BPF_RET | BPF_K, 0xffff),
...     BPF_STMT(BPF_RET | BPF_K, 0),
... ]
>>> encode(only_ip, "little").hex(" ", 8)
'280000000c000000 1500000100080000 06000000ffff0000 0600000000000000'
"""

from __future__ import annotations

from struct import error as struct_error, iter_unpack, pack

from bpfasm.errors import OperandError
from bpfasm.isa.where import here, source_of
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.isa.insn import ByteOrder


class SockFilter(Value):
    """One classic instruction, with the fields of ``struct sock_filter``: 16, 8, 8 and 32 bits, all unsigned.

    ``jt`` and ``jf`` are how many instructions a jump skips when its condition is true, and when it is false.
    """

    code: int
    jt: int
    jf: int
    k: int


def BPF_STMT(code: int, k: int) -> SockFilter:
    """Make an instruction that is no jump."""
    return _checked(SockFilter(code, 0, 0, k))


def BPF_JUMP(code: int, k: int, jt: int, jf: int) -> SockFilter:
    """Make a conditional jump: skip ``jt`` instructions if it is true, ``jf`` if not (0 to 255)."""
    return _checked(SockFilter(code, jt, jf, k))


#: The kernel's own names for the same, with a cast that Python has no need of.
__BPF_STMT = BPF_STMT
__BPF_JUMP = BPF_JUMP

__all__ = ["BPF_JUMP", "BPF_STMT", "SockFilter", "__BPF_JUMP", "__BPF_STMT", "decode", "encode"]


def encode(insns: Iterable[SockFilter], byteorder: ByteOrder) -> bytes:
    """Return the bytes of classic instructions, 8 each."""
    order = "<" if byteorder == "little" else ">"
    return b"".join(pack(f"{order}HBBI", insn.code, insn.jt, insn.jf, insn.k) for insn in insns)


def decode(data: bytes, byteorder: ByteOrder = "little") -> list[SockFilter]:
    """Return the classic instructions of bytes, 8 each."""
    order = "<" if byteorder == "little" else ">"
    return [SockFilter(*fields) for fields in iter_unpack(f"{order}HBBI", data)]


def _checked(insn: SockFilter) -> SockFilter:
    """Check that every field fits."""
    try:
        encode([insn], "little")
    except struct_error:
        raise OperandError(
            f"{insn} does not fit struct sock_filter",
            "code takes 0 to 0xffff, jt and jf 0 to 255, k 0 to 0xffffffff",
            source=source_of(here(1)),
            rule="imm-range",
        ) from None
    return insn
