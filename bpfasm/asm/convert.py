"""Classic BPF to eBPF, by the rules of the kernel (net/core/filter.c bpf_convert_filter()).

The kernel converts each socket filter when it is attached; what this makes of one is loaded by bpf(2) and does the
same. A is R0, X is R7, the packet is R6, M[] is on the stack. It differs where the kernel's own code need not pass
the verifier: A and X are set to 0 by moves, fields of the packet are read through ``struct __sk_buff``, and what can
never run is left out.
"""

from __future__ import annotations

from bpfasm.asm import macros as m
from bpfasm.asm.symbols import Mark
from bpfasm.errors import AssemblyError
from bpfasm.isa import operands as k
from bpfasm.uapi import bpf, bpf_common as c, filter as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from bpfasm.asm.classic import SockFilter
    from bpfasm.asm.program import Item

A, X, CTX, TMP = k.R0, k.R7, k.BPF_REG_CTX, k.R2
_U32 = 0xFFFF_FFFF

_ALU = {
    int(op): op
    for op in (
        k.BPF_ADD, k.BPF_SUB, k.BPF_MUL, k.BPF_DIV, k.BPF_MOD, k.BPF_AND, k.BPF_OR, k.BPF_XOR, k.BPF_LSH, k.BPF_RSH,
    )
}  # fmt: skip
_JUMPS = {int(op): op for op in (k.BPF_JEQ, k.BPF_JGT, k.BPF_JGE, k.BPF_JSET)}
_OPPOSITE = {k.BPF_JEQ: k.BPF_JNE, k.BPF_JGT: k.BPF_JLE, k.BPF_JGE: k.BPF_JLT}
_SIZES = {int(size): size for size in (k.BPF_W, k.BPF_H, k.BPF_B)}

#: What an extension reads of ``struct __sk_buff``, and whether it is in network order there.
_FIELDS = {
    f.SKF_AD_PROTOCOL: ("protocol", True),
    f.SKF_AD_PKTTYPE: ("pkt_type", False),
    f.SKF_AD_IFINDEX: ("ifindex", False),
    f.SKF_AD_MARK: ("mark", False),
    f.SKF_AD_QUEUE: ("queue_mapping", False),
    f.SKF_AD_RXHASH: ("hash", False),
    f.SKF_AD_VLAN_TAG: ("vlan_tci", False),
    f.SKF_AD_VLAN_TAG_PRESENT: ("vlan_present", False),
    f.SKF_AD_VLAN_TPID: ("vlan_proto", True),
}


def convert(insns: Sequence[SockFilter], *, seccomp: bool = False) -> list[Item]:
    """Return the body of an eBPF program that does what a classic one does, with labels ``L0`` ... for its jumps.

    ``seccomp`` reads ``struct seccomp_data`` where a socket filter reads a packet. Raises AssemblyError for what the
    kernel would refuse (bpf_check_classic()), and for the extensions that no field of ``__sk_buff`` has.
    """
    reached = _reached(insns)
    jumped = {target for pc, insn in enumerate(insns) if pc in reached for target in _targets(pc, insn)}
    body: list[Item] = [m.BPF_MOV32_IMM(A, 0), m.BPF_MOV32_IMM(X, 0), m.BPF_MOV64_REG(CTX, k.R1)]
    for pc, insn in enumerate(insns):
        if pc in reached:
            if pc in jumped:
                body.append(Mark(f"L{pc}"))
            body += _one(pc, insn, seccomp)
    return body


def _reached(insns: Sequence[SockFilter]) -> set[int]:
    """Return which instructions can run. Raises AssemblyError where one leads out of the program."""
    if not insns:
        raise AssemblyError("a filter without instructions", "it has one `ret` at least", rule="classic-refused")
    reached = {0}
    for pc, insn in enumerate(insns):
        if pc not in reached:
            continue
        if insn.code & 7 == c.BPF_RET:
            continue
        if insn.code & 7 == c.BPF_JMP:
            following = _targets(pc, insn)
            following += [pc + 1] if insn.code & 0xF0 != c.BPF_JA and 0 in (insn.jt, insn.jf) else []
        else:
            following = [pc + 1]
        for target in following:
            if target >= len(insns):
                _refuse(pc, insn, f"it goes on at {target}, behind the last", "a filter ends with `ret`")
            reached.add(target)
    return reached


def _targets(pc: int, insn: SockFilter) -> list[int]:
    """Return where a jump names a place to go to."""
    if insn.code & 7 != c.BPF_JMP:
        return []
    if insn.code & 0xF0 == c.BPF_JA:
        return [pc + 1 + insn.k]
    return [pc + 1 + insn.jt, pc + 1 + insn.jf]


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number


def _refuse(pc: int, insn: SockFilter, why: str, do: str) -> NoReturn:
    raise AssemblyError(f"instruction {pc} ({insn.code:#x}): {why}", do, rule="classic-refused")


def _one(pc: int, insn: SockFilter, seccomp: bool) -> list[Item]:
    code, number = insn.code, _signed(insn.k)
    kind, register = code & 7, X if code & 7 in (c.BPF_LDX, c.BPF_STX) else A
    if kind == c.BPF_ALU:
        return _arithmetic(pc, insn)
    if kind == c.BPF_JMP:
        return _jump(pc, insn)
    if kind == c.BPF_RET and code in (c.BPF_RET | c.BPF_K, c.BPF_RET | f.BPF_A):
        value: list[Item] = [m.BPF_MOV32_IMM(A, number)] if code == c.BPF_RET | c.BPF_K else []
        return [*value, m.BPF_EXIT_INSN()]
    if code == c.BPF_MISC | f.BPF_TAX:
        return [m.BPF_MOV64_REG(X, A)]
    if code == c.BPF_MISC | f.BPF_TXA:
        return [m.BPF_MOV64_REG(A, X)]
    if code in (c.BPF_LD | c.BPF_IMM, c.BPF_LDX | c.BPF_IMM):
        return [m.BPF_MOV32_IMM(register, number)]
    if code in (c.BPF_LD | c.BPF_W | c.BPF_LEN, c.BPF_LDX | c.BPF_W | c.BPF_LEN):
        if seccomp:
            return [m.BPF_MOV32_IMM(register, 64)]
        return [m.BPF_LDX_MEM(k.BPF_W, register, CTX, bpf.struct___sk_buff["len"][0])]
    if code in (c.BPF_ST, c.BPF_STX, c.BPF_LD | c.BPF_MEM, c.BPF_LDX | c.BPF_MEM):
        if not 0 <= insn.k < f.BPF_MEMWORDS:
            _refuse(pc, insn, f"there is no M[{insn.k}]", f"M[] has {f.BPF_MEMWORDS} words")
        place = -4 * insn.k - 4
        if kind in (c.BPF_ST, c.BPF_STX):
            return [m.BPF_STX_MEM(k.BPF_W, k.R10, register, place)]
        return [m.BPF_LDX_MEM(k.BPF_W, register, k.R10, place)]
    mode, size = code & 0xE0, _SIZES.get(code & 0x18)
    if kind == c.BPF_LD and size is not None and code >> 8 == 0:
        if mode == c.BPF_ABS:
            if seccomp:
                if size is not k.BPF_W or insn.k % 4 or insn.k >= 64:
                    _refuse(pc, insn, "seccomp reads words of struct seccomp_data", "ld [0] is the system call")
                return [m.BPF_LDX_MEM(k.BPF_W, A, CTX, insn.k)]
            if f.SKF_AD_OFF <= number < f.SKF_AD_OFF + f.SKF_AD_MAX:
                return _extension(pc, insn, number - f.SKF_AD_OFF)
            return [m.BPF_LD_ABS(size, number)]
        if mode == c.BPF_IND and not seccomp:
            return [m.BPF_LD_IND(size, X, number)]
    if code == c.BPF_LDX | c.BPF_MSH | c.BPF_B and not seccomp:
        return [
            m.BPF_MOV64_REG(X, A),
            m.BPF_LD_ABS(k.BPF_B, number),
            m.BPF_ALU32_IMM(k.BPF_AND, A, 0xF),
            m.BPF_ALU32_IMM(k.BPF_LSH, A, 2),
            m.BPF_MOV64_REG(TMP, X),
            m.BPF_MOV64_REG(X, A),
            m.BPF_MOV64_REG(A, TMP),
        ]
    _refuse(pc, insn, "no classic instruction has this code", "tcpdump -d shows what there is")


def _arithmetic(pc: int, insn: SockFilter) -> list[Item]:
    code = insn.code
    if code == c.BPF_ALU | c.BPF_NEG:
        return [m.BPF_ALU32_IMM(k.BPF_NEG, A, 0)]
    op = _ALU.get(code & 0xF0)
    if op is None or code & ~0xF8 != c.BPF_ALU:
        _refuse(pc, insn, "no classic instruction has this code", "tcpdump -d shows what there is")
    divides, shifts = op in (k.BPF_DIV, k.BPF_MOD), op in (k.BPF_LSH, k.BPF_RSH)
    if not code & c.BPF_X:
        if divides and insn.k == 0:
            _refuse(pc, insn, "a division by 0", "the kernel refuses it")
        if shifts and insn.k > 31:
            _refuse(pc, insn, f"a shift by {insn.k} bits", "0 to 31")
        return [m.BPF_ALU32_IMM(op, A, _signed(insn.k))]
    if not divides:
        return [m.BPF_ALU32_REG(op, A, X)]
    # A division by zero ends the filter with 0, where eBPF would go on.
    return [
        m.BPF_MOV32_REG(X, X),
        m.BPF_JMP_IMM(k.BPF_JNE, X, 0, 2),
        m.BPF_MOV32_IMM(A, 0),
        m.BPF_EXIT_INSN(),
        m.BPF_ALU32_REG(op, A, X),
    ]


def _jump(pc: int, insn: SockFilter) -> list[Item]:
    yes, no = f"L{pc + 1 + insn.jt}", f"L{pc + 1 + insn.jf}"
    if insn.code == c.BPF_JMP | c.BPF_JA:
        return [m.BPF_JMP_A(f"L{pc + 1 + insn.k}")]
    op = _JUMPS.get(insn.code & 0xF0)
    if op is None or insn.code & ~0xF8 != c.BPF_JMP:
        _refuse(pc, insn, "no classic instruction has this code", "tcpdump -d shows what there is")
    body: list[Item] = []
    register: k.Reg | None = X if insn.code & c.BPF_X else None
    if register is None and insn.k >> 31:
        # An immediate of eBPF is signed: as a register, it is compared as the 32 bits that it shows.
        body.append(m.BPF_MOV32_IMM(TMP, _signed(insn.k)))
        register = TMP

    def when(condition: k.JmpOp, target: str) -> Item:
        if register is None:
            return m.BPF_JMP_IMM(condition, A, insn.k, target)
        return m.BPF_JMP_REG(condition, A, register, target)

    if insn.jf == 0:
        return [*body, when(op, yes)]
    if insn.jt == 0 and op in _OPPOSITE:
        return [*body, when(_OPPOSITE[op], no)]
    return [*body, when(op, yes), m.BPF_JMP_A(no)]


def _extension(pc: int, insn: SockFilter, which: int) -> list[Item]:
    """Return what reads one of the SKF_AD_* that a load from a negative place stands for."""
    if which in _FIELDS:
        name, network = _FIELDS[which]
        load = m.BPF_LDX_MEM(k.BPF_W, A, CTX, bpf.struct___sk_buff[name][0])
        return [load, m.BPF_ENDIAN(k.BPF_TO_BE, A, 16)] if network else [load]
    if which == f.SKF_AD_ALU_XOR_X:
        return [m.BPF_ALU32_REG(k.BPF_XOR, A, X)]
    if which == f.SKF_AD_RANDOM:
        return [m.BPF_EMIT_CALL(bpf.BPF_FUNC_get_prandom_u32)]
    if which == f.SKF_AD_CPU:
        return [m.BPF_EMIT_CALL(bpf.BPF_FUNC_get_smp_processor_id)]
    _refuse(
        pc, insn, f"the extension SKF_AD_OFF + {which} has no eBPF", "only the kernel's own conversion reaches it"
    )
