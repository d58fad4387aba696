"""Instructions by family, and the levels of the instruction set that they make up."""

from __future__ import annotations

import sys
from errno import E2BIG, EINVAL
from functools import partial

from bpfasm.asm.macros import (
    BPF_ALU64_IMM_OFF,
    BPF_ATOMIC_OP,
    BPF_BSWAP,
    BPF_EXIT_INSN,
    BPF_JMP32_A,
    BPF_JMP32_IMM,
    BPF_JMP_IMM,
    BPF_LD_ABS,
    BPF_LD_IMM64_RAW_FULL,
    BPF_LD_MAP_FD,
    BPF_LD_MAP_VALUE,
    BPF_LDX_MEM,
    BPF_LDX_MEMSX,
    BPF_MOV32_IMM,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
    BPF_MOVSX64_REG,
    BPF_ST_MEM,
)
from bpfasm.isa.insn import Insn
from bpfasm.isa.operands import BPF_ADD, BPF_B, BPF_DIV, BPF_DW, BPF_JEQ, BPF_JLT, FP, R0, R1, R2, R6
from bpfasm.isa.table import FORMS
from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.probe.answer import Answer, every, judge, refused
from bpfasm.syscall.probe.feature import Feature
from bpfasm.syscall.probe.trying import load, map_of
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpfasm.syscall.probe.trying import Fd

    Probe = Callable[[], Answer]

_FORMS = {form.name: form for form in FORMS}

#: What every program here begins and ends with: 0 in R0, the packet in R6, 1 in R1, 8 bytes of the stack.
_START = [BPF_MOV64_IMM(R0, 0), BPF_MOV64_REG(R6, R1), BPF_MOV64_IMM(R1, 1), BPF_ST_MEM(BPF_DW, FP, -8, 0)]
_END = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


def taken(insns: Iterable[Insn]) -> Answer:
    """Return whether the verifier takes a program with these instructions."""
    tried = load([*_START, *insns, *_END], bpf.BPF_PROG_TYPE_SCHED_CLS)
    return judge(tried, absent=(EINVAL,), reason="the verifier does not know it")


def _with(make: Callable[[], Fd], use: Callable[[int], Answer]) -> Answer:
    """Make a map and ask something about it; where there is no such map, that is the answer."""
    try:
        table = make()
    except OSError as error:
        return refused(error, absent=(EINVAL, E2BIG), reason="there is no map for it")
    with table:
        return use(table.number)


def _array() -> Fd:
    return map_of(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1)


def _map_value() -> Answer:
    return _with(_array, lambda fd: taken([BPF_LD_MAP_VALUE(R1, fd, 0)]))


def _map_index() -> Answer:
    """A map by its place in an array of file descriptors that comes with the program."""

    def use(fd: int) -> Answer:
        fds = buffer(fd.to_bytes(4, sys.byteorder))
        insns = [BPF_LD_IMM64_RAW_FULL(R1, bpf.BPF_PSEUDO_MAP_IDX, 0, 0, 0, 0), *_END]
        tried = load(insns, bpf.BPF_PROG_TYPE_SCHED_CLS, fd_array=fds)
        return judge(tried, absent=(EINVAL, E2BIG), reason="the kernel takes no array of file descriptors")

    return _with(_array, use)


def _cast() -> Answer:
    """From one address space of an arena to the other."""

    def arena() -> Fd:
        return map_of(bpf.BPF_MAP_TYPE_ARENA, max_entries=1, map_flags=bpf.BPF_F_MMAPABLE, map_extra=1 << 44)

    cast = Insn(_FORMS["addr_space_cast"].code, 1, 2, 1, 1)
    return _with(arena, lambda fd: taken([BPF_LD_MAP_FD(R1, fd), BPF_MOV64_IMM(R2, 0), cast]))


def _indirect() -> Answer:
    """A jump to where a map says."""

    def use(fd: int) -> Answer:
        target = buffer((4).to_bytes(4, sys.byteorder) + bytes(12))
        Attr({"map_fd": fd, "key": buffer(4), "value": target}).call(bpf.BPF_MAP_UPDATE_ELEM)
        Attr({"map_fd": fd}).call(bpf.BPF_MAP_FREEZE)
        jump = [BPF_LD_MAP_VALUE(R1, fd, 0), BPF_LDX_MEM(BPF_DW, R1, R1, 0), Insn(_FORMS["gotox"].code, 1)]
        tried = load([*jump, *_END], bpf.BPF_PROG_TYPE_SCHED_CLS)
        return judge(tried, absent=(EINVAL,), reason="the verifier does not know it")

    size = bpf.sizeof_struct_bpf_insn_array_value
    return _with(lambda: map_of(bpf.BPF_MAP_TYPE_INSN_ARRAY, key_size=4, value_size=size, max_entries=1), use)


def _insns(*insns: Insn) -> Probe:
    return partial(taken, insns)


def _atomic(operation: int) -> Insn:
    return BPF_ATOMIC_OP(BPF_DW, operation, FP, R1, -8)


#: (name, what it is, the form that stands for it, commit, options, probe)
_FAMILIES: tuple[tuple[str, str, str, str, str, Probe], ...] = (
    ("alu64", "arithmetic of 64 bits", "mov64_imm", "", "", _insns(BPF_MOV64_IMM(R1, 2))),
    ("alu32", "arithmetic of 32 bits", "mov32_imm", "", "", _insns(BPF_MOV32_IMM(R1, 2))),
    ("packet", "loads from a packet, as classic BPF has them", "ld_abs8", "", "", _insns(BPF_LD_ABS(BPF_B, 0))),
    ("xadd", "atomic add", "atomic64_add", "", "", _insns(_atomic(BPF_ADD))),
    ("jlt", "jumps if less", "jlt64_imm", "92b31a9af73b", "", _insns(BPF_JMP_IMM(BPF_JLT, R1, 2, 0))),
    ("jmp32", "jumps on 32 bits", "jeq32_imm", "092ed0968bb6", "", _insns(BPF_JMP32_IMM(BPF_JEQ, R1, 2, 0))),
    ("map_value", "the address of an array's value", "ld_map_value", "d8eca5bbb2be", "", _map_value),
    ("atomic_fetch", "atomic add that returns the old value", "atomic64_fetch_add", "5ca419f2864a", "",
     _insns(_atomic(BPF_ADD | bpf.BPF_FETCH))),
    ("atomic_xchg", "atomic exchange", "atomic64_xchg", "5ffa25502b5a", "", _insns(_atomic(bpf.BPF_XCHG))),
    ("atomic_cmpxchg", "atomic compare and exchange", "atomic64_cmpxchg", "5ffa25502b5a", "",
     _insns(_atomic(bpf.BPF_CMPXCHG))),
    ("map_index", "a map by its place in an array", "ld_map_idx", "387544bfa291", "", _map_index),
    ("sdiv", "signed division and remainder", "sdiv64_imm", "ec0e2da95f72", "",
     _insns(BPF_ALU64_IMM_OFF(BPF_DIV, R1, 2, 1))),
    ("movsx", "moves that extend the sign", "movsx64_8", "8100928c8814", "", _insns(BPF_MOVSX64_REG(R1, R1, 8))),
    ("ldsx", "loads that extend the sign", "ldsx8", "1f9a1ea821ff", "", _insns(BPF_LDX_MEMSX(BPF_B, R1, FP, -8))),
    ("bswap", "bytes in reverse", "bswap64", "0845c3db7bf5", "", _insns(BPF_BSWAP(R1, 64))),
    ("gotol", "jumps of 32 bits", "gotol", "4cd58e9af8b9", "", _insns(BPF_JMP32_A(0))),
    ("may_goto", "a jump that ends a loop in time", "may_goto", "011832b97b31", "",
     _insns(Insn(_FORMS["may_goto"].code, off=1))),
    ("addr_space_cast", "pointers of an arena", "addr_space_cast", "6082b6c328b5", "MMU", _cast),
    ("load_acquire", "loads and stores in order", "load_acquire64", "880442305a39", "",
     _insns(BPF_ATOMIC_OP(BPF_DW, bpf.BPF_LOAD_ACQ, R1, FP, -8))),
    ("gotox", "a jump to where a register says", "gotox", "493d9e0d6083", "", _indirect),
)  # fmt: skip

#: The families of each level (llvm's -mcpu=).
_LEVELS = {
    "v1": ("alu64", "alu32", "packet", "xadd"),
    "v2": ("jlt",),
    "v3": ("jmp32", "atomic_fetch", "atomic_xchg", "atomic_cmpxchg"),
    "v4": ("sdiv", "movsx", "ldsx", "bswap", "gotol"),
}

#: Families that older series were given later.
_ALSO = {"gotol": ("6.1",)}

_PROBES = {name: probe for name, *_, probe in _FAMILIES}


def level(name: str) -> Answer:
    """Return whether the kernel has all that a level adds to the ones before it, and those too."""
    names = [each for known in _LEVELS for each in _LEVELS[known] if known <= name]
    return every({each: _PROBES[each]() for each in names})


def _latest(names: Iterable[str]) -> str:
    """Return the release with the last of some families."""
    releases = (_FORMS[form].since for family, _, form, *_ in _FAMILIES if family in names)
    return max(releases, key=lambda release: [int(part) for part in release.split(".")])


FEATURES = tuple(
    Feature("isa", f"cpu_{name}", f"the instruction set of llvm's -mcpu={name}", _latest(names), partial(level, name))
    for name, names in _LEVELS.items()
) + tuple(
    Feature("isa", name, what, _FORMS[form].since, probe, commit, tuple(config.split()), _ALSO.get(name, ()))
    for name, what, form, commit, config, probe in _FAMILIES
)
