"""The instruction table: a row for each concrete form, made from operations and formats.

A row (``bpfasm.isa.form``) says everything that is known about a form: its code, which fields are fixed and which
are operands, its text in the kernel's disassembler and as a macro call, what it means, reads and writes, and where
it comes from. Codec, syntaxes, lint, simulator and the reference pages are driven by it; nothing else states an
opcode.
"""

from __future__ import annotations

from bpfasm.isa import filter_h as h, operands as k
from bpfasm.isa.form import Form, form
from bpfasm.uapi import bpf as u, bpf_common as c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Arithmetic. {a} and {b} are the operands at the operation's width, {sa} and {sb} the same read as signed,
# {top} is the highest shift.
_ARITHMETIC = (
    # name     op         kernel  meaning
    ("add", k.BPF_ADD, "+=", "{a} + {b}"),
    ("sub", k.BPF_SUB, "-=", "{a} - {b}"),
    ("mul", k.BPF_MUL, "*=", "{a} * {b}"),
    ("div", k.BPF_DIV, "/=", "quot({a}, {b})"),
    ("or", k.BPF_OR, "|=", "{a} | {b}"),
    ("and", k.BPF_AND, "&=", "{a} & {b}"),
    ("lsh", k.BPF_LSH, "<<=", "{a} << ({b} & {top})"),
    ("rsh", k.BPF_RSH, ">>=", "{a} >> ({b} & {top})"),
    ("mod", k.BPF_MOD, "%=", "rem({a}, {b})"),
    ("xor", k.BPF_XOR, "^=", "{a} ^ {b}"),
    ("mov", k.BPF_MOV, "=", "{b}"),
    ("arsh", k.BPF_ARSH, "s>>=", "{sa} >> ({b} & {top})"),
    ("sdiv", k.BPF_DIV, "s/=", "quot({sa}, {sb})"),
    ("smod", k.BPF_MOD, "s%=", "rem({sa}, {sb})"),
)


def _arithmetic() -> Iterator[Form]:
    for bits, cls, w, suffix in ((64, u.BPF_ALU64, "r", ""), (32, c.BPF_ALU, "w", "32")):
        for name, op, sign, value in _ARITHMETIC:
            signed = name in {"sdiv", "smod"}
            reads = "" if name == "mov" else "dst"
            group = f"{'divmul' if name in {'mul', 'div', 'mod', 'sdiv', 'smod'} else 'base'}{bits}"
            facts: dict[str, Any] = {"writes": "dst", "group": group}
            if signed:
                facts |= {"off": 1, "isa": "v4", "since": "6.6"}
            for kind, src, b in (("imm", k.BPF_K, "i"), ("reg", k.BPF_X, "s")):
                wide = {"a": "d", "b": b, "sa": "s64(d)", "sb": f"s64({b})", "top": "63"}
                narrow = {"a": "u32(d)", "b": f"u32({b})", "sa": "s32(d)", "sb": f"s32({b})", "top": "31"}
                meaning = f"u{bits}({value.format(**wide if bits == 64 else narrow)})"
                if src is k.BPF_K:
                    operand, kernel, more, second = "{imm}", f"{w}{{dst}} {sign} {{imm}}", "", "{imm}"
                else:
                    operand, kernel, more, second = "{src}", f"{w}{{dst}} {sign} {w}{{src}}", " src", "%r{src}"
                if name == "mov":
                    macro = f"BPF_MOV{bits}_{kind.upper()}({{dst}}, {operand})"
                elif signed:
                    macro = f"BPF_ALU{bits}_{kind.upper()}_OFF({op!r}, {{dst}}, {operand}, 1)"
                else:
                    macro = f"BPF_ALU{bits}_{kind.upper()}({op!r}, {{dst}}, {operand})"
                yield form(
                    f"{name}{bits}_{kind}",
                    "alu",
                    cls | op | src,
                    kernel,
                    macro,
                    meaning,
                    ubpf=f"{name}{suffix} %r{{dst}}, {second}",
                    reads=reads + more,
                    **facts,
                )
        yield form(
            f"neg{bits}",
            "alu",
            cls | k.BPF_NEG,
            f"{w}{{dst}} = -{w}{{dst}}",
            # filter.h has no macro of its own for it; the immediate is unused.
            f"BPF_ALU{bits}_IMM(BPF_NEG, {{dst}}, 0)",
            f"u{bits}(-d)",
            ubpf=f"neg{suffix} %r{{dst}}",
            reads="dst",
            writes="dst",
            group=f"base{bits}",
        )
        for narrow_bits in (8, 16, 32)[: 3 if bits == 64 else 2]:
            yield form(
                f"movsx{bits}_{narrow_bits}",
                "alu",
                cls | k.BPF_MOV | k.BPF_X,
                f"{w}{{dst}} = (s{narrow_bits}){w}{{src}}",
                f"BPF_MOVSX{bits}_REG({{dst}}, {{src}}, {narrow_bits})",
                f"u{bits}(s{narrow_bits}(s))",
                ubpf=f"movsx{narrow_bits}{bits} %r{{dst}}, %r{{src}}",
                reads="src",
                writes="dst",
                off=narrow_bits,
                isa="v4",
                since="6.6",
                group=f"base{bits}",
            )


def _byte_order() -> Iterator[Form]:
    for bits in (16, 32, 64):
        group = "base64" if bits == 64 else "base32"
        common: dict[str, Any] = {"reads": "dst", "writes": "dst", "imm": bits, "group": group}
        for name, order in (("le", k.BPF_TO_LE), ("be", k.BPF_TO_BE)):
            yield form(
                f"{name}{bits}",
                "alu",
                c.BPF_ALU | k.BPF_END | order,
                f"r{{dst}} = {name}{bits} r{{dst}}",
                f"BPF_ENDIAN({order!r}, {{dst}}, {bits})",
                f"{name}(d, {bits})",
                ubpf=f"{name}{bits} %r{{dst}}",
                **common,
            )
        yield form(
            f"bswap{bits}",
            "alu",
            u.BPF_ALU64 | k.BPF_END,
            f"r{{dst}} = bswap{bits} r{{dst}}",
            f"BPF_BSWAP({{dst}}, {bits})",
            f"swap(d, {bits})",
            ubpf=f"bswap{bits} %r{{dst}}",
            isa="v4",
            since="6.6",
            **common,
        )


_CONDITIONS = (
    # name    op         kernel  meaning                  isa   since
    ("jeq", k.BPF_JEQ, "==", "{a} == {b}", "v1", "3.18"),
    ("jgt", k.BPF_JGT, ">", "{a} > {b}", "v1", "3.18"),
    ("jge", k.BPF_JGE, ">=", "{a} >= {b}", "v1", "3.18"),
    ("jset", k.BPF_JSET, "&", "({a} & {b}) != 0", "v1", "3.18"),
    ("jne", k.BPF_JNE, "!=", "{a} != {b}", "v1", "3.18"),
    ("jsgt", k.BPF_JSGT, "s>", "{sa} > {sb}", "v1", "3.18"),
    ("jsge", k.BPF_JSGE, "s>=", "{sa} >= {sb}", "v1", "3.18"),
    ("jlt", k.BPF_JLT, "<", "{a} < {b}", "v2", "4.14"),
    ("jle", k.BPF_JLE, "<=", "{a} <= {b}", "v2", "4.14"),
    ("jslt", k.BPF_JSLT, "s<", "{sa} < {sb}", "v2", "4.14"),
    ("jsle", k.BPF_JSLE, "s<=", "{sa} <= {sb}", "v2", "4.14"),
)


def _jumps() -> Iterator[Form]:
    for bits, cls, w, suffix in ((64, c.BPF_JMP, "r", ""), (32, u.BPF_JMP32, "w", "32")):
        for name, op, sign, condition, isa, since in _CONDITIONS:
            if bits == 32:
                isa, since = "v3", "5.1"  # noqa: PLW2901
            for kind, src, b in (("imm", k.BPF_K, "i"), ("reg", k.BPF_X, "s")):
                wide = {"a": "d", "b": b, "sa": "s64(d)", "sb": f"s64({b})"}
                narrow = {"a": "u32(d)", "b": f"u32({b})", "sa": "s32(d)", "sb": f"s32({b})"}
                operand = "{cmp}" if src is k.BPF_K else "{src}"
                shown = "{cmp}" if src is k.BPF_K else f"{w}{{src}}"
                second = "{cmp}" if src is k.BPF_K else "%r{src}"
                yield form(
                    f"{name}{bits}_{kind}",
                    "jump",
                    cls | op | src,
                    f"if {w}{{dst}} {sign} {shown} goto pc{{jump}}",
                    f"BPF_JMP{'' if bits == 64 else '32'}_{kind.upper()}({op!r}, {{dst}}, {operand}, {{jump}})",
                    condition.format(**wide if bits == 64 else narrow),
                    llvm=f"if {w}{{dst}} {sign} {shown} goto {{jump}}",
                    ubpf=f"{name}{suffix} %r{{dst}}, {second}, {{jump}}",
                    reads="dst" if src is k.BPF_K else "dst src",
                    isa=isa,
                    since=since,
                    group=f"base{bits}",
                )
    yield form(
        "ja",
        "goto",
        c.BPF_JMP | k.BPF_JA,
        "goto pc{jump}",
        "BPF_JMP_A({jump})",
        llvm="goto {jump}",
        ubpf="ja {jump}",
        group="base32",
    )
    yield form(
        "gotol",
        "goto",
        u.BPF_JMP32 | k.BPF_JA,
        "gotol pc{jump32}",
        "BPF_JMP32_A({jump32})",
        llvm="gotol {jump32}",
        ubpf="ja32 {jump32}",
        isa="v4",
        since="6.6",
        group="base32",
    )
    yield form(
        "may_goto",
        "jump",
        c.BPF_JMP | k.BPF_JCOND,
        "may_goto pc{jump}",
        "BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, BPF_MAY_GOTO, {jump}, 0)",
        llvm="may_goto {jump}",
        src_reg=u.BPF_MAY_GOTO,
        isa="",
        since="6.9",
    )
    yield form(
        "gotox",
        "goto",
        c.BPF_JMP | k.BPF_JA | k.BPF_X,
        "gotox r{dst}",
        "BPF_RAW_INSN(BPF_JMP | BPF_JA | BPF_X, {dst}, 0, 0, 0)",
        reads="dst",
        isa="",
        since="6.19",
    )


_WIDTHS = (
    # size     bytes  C's name for it, unsigned and signed
    (k.BPF_B, 1, "u8", "s8"),
    (k.BPF_H, 2, "u16", "s16"),
    (k.BPF_W, 4, "u32", "s32"),
    (k.BPF_DW, 8, "u64", "s64"),
)


def _memory() -> Iterator[Form]:
    for size, count, unsigned, signed in _WIDTHS:
        bits = 8 * count
        group = "base64" if bits == 64 else "base32"
        facts: dict[str, Any] = {"size": count, "group": group}
        at_src, at_dst = f"*({unsigned} *)(r{{src}} {{off}})", f"*({unsigned} *)(r{{dst}} {{off}})"
        # What LLVM has in the low half of a register is a ``w``; uBPF's names end like those of the kernel's sizes.
        w, letters = "r" if bits == 64 else "w", size.name.removeprefix("BPF_").lower()
        yield form(
            f"ldx{bits}",
            "load",
            c.BPF_LDX | size | c.BPF_MEM,
            f"r{{dst}} = {at_src}",
            f"BPF_LDX_MEM({size!r}, {{dst}}, {{src}}, {{off}})",
            "m",
            llvm=f"{w}{{dst}} = {at_src}",
            ubpf=f"ldx{letters} %r{{dst}}, [%r{{src}}{{off}}]",
            reads="src mem",
            writes="dst",
            **facts,
        )
        yield form(
            f"st{bits}",
            "store",
            c.BPF_ST | size | c.BPF_MEM,
            f"{at_dst} = {{imm}}",
            f"BPF_ST_MEM({size!r}, {{dst}}, {{off}}, {{imm}})",
            f"u{bits}(i)",
            ubpf=f"st{letters} [%r{{dst}}{{off}}], {{imm}}",
            reads="dst",
            writes="mem",
            **facts,
        )
        yield form(
            f"stx{bits}",
            "store",
            c.BPF_STX | size | c.BPF_MEM,
            f"{at_dst} = r{{src}}",
            f"BPF_STX_MEM({size!r}, {{dst}}, {{src}}, {{off}})",
            f"u{bits}(s)",
            llvm=f"{at_dst} = {w}{{src}}",
            ubpf=f"stx{letters} [%r{{dst}}{{off}}], %r{{src}}",
            reads="dst src",
            writes="mem",
            **facts,
        )
        if bits < 64:
            yield form(
                f"ldsx{bits}",
                "load",
                c.BPF_LDX | size | u.BPF_MEMSX,
                f"r{{dst}} = *({signed} *)(r{{src}} {{off}})",
                f"BPF_LDX_MEMSX({size!r}, {{dst}}, {{src}}, {{off}})",
                f"u64({signed}(m))",
                ubpf=f"ldxs{letters} %r{{dst}}, [%r{{src}}{{off}}]",
                reads="src mem",
                writes="dst",
                size=count,
                isa="v4",
                since="6.6",
                group="base64" if bits == 32 else "base32",
            )
            yield form(
                f"ld_abs{bits}",
                "packet",
                c.BPF_LD | size | c.BPF_ABS,
                f"r0 = *({unsigned} *)skb[{{imm}}]",
                f"BPF_LD_ABS({size!r}, {{imm}})",
                "m",
                ubpf=f"ldabs{letters} {{imm}}",
                reads="r6 mem",
                writes="r0 r1 r2 r3 r4 r5",
                size=count,
                group="packet",
            )
            yield form(
                f"ld_ind{bits}",
                "packet",
                c.BPF_LD | size | c.BPF_IND,
                f"r0 = *({unsigned} *)skb[r{{src}} + {{imm}}]",
                f"BPF_LD_IND({size!r}, {{src}}, {{imm}})",
                "m",
                llvm=f"r0 = *({unsigned} *)skb[r{{src}}]",
                ubpf=f"ldind{letters} %r{{src}}, {{imm}}",
                reads="src r6 mem",
                writes="r0 r1 r2 r3 r4 r5",
                size=count,
                group="packet",
            )


_ATOMIC_ALU = (
    ("add", k.BPF_ADD, "+=", "m + s"),
    ("or", k.BPF_OR, "|=", "m | s"),
    ("and", k.BPF_AND, "&=", "m & s"),
    ("xor", k.BPF_XOR, "^=", "m ^ s"),
)


def _atomics(mode: int, prefix: str, text: str, dialect: str) -> Iterator[Form]:
    """Yield the atomic operations under BPF_ATOMIC, or as the kernel rewrites them for arenas."""
    for size, count, unsigned, _ in _WIDTHS:
        bits = 8 * count
        at_src, at_dst = f"({unsigned} *)(r{{src}} {{off}})", f"({unsigned} *)(r{{dst}} {{off}})"
        code = c.BPF_STX | size | mode

        def row(
            name: str,
            kernel: str,
            op: str,
            imm: int,
            meaning: str,
            *,
            kind: str = "atomic",
            code: int = code,
            bits: int = bits,
            size: k.Size = size,
            count: int = count,
            **facts: Any,
        ) -> Form:
            macro = f"BPF_ATOMIC_OP({size!r}, {op}, {{dst}}, {{src}}, {{off}})"
            if dialect == "xlated":
                facts |= {"llvm": None, "ubpf": ""}
                macro = f"BPF_RAW_INSN(BPF_STX | {size!r} | BPF_PROBE_ATOMIC, {{dst}}, {{src}}, {{off}}, {op})"
                # Arenas had atomic operations from 6.10 on; what is younger came to both at once.
                facts |= {"isa": "", "since": "6.10" if facts["isa"] else facts["since"], "group": ""}
            return form(
                f"{prefix}{name.format(bits=bits)}",
                kind,
                code,
                text + kernel,
                macro,
                meaning,
                imm=imm,
                size=count,
                dialect=dialect,
                **facts,
            )

        if bits >= 32:
            wide, w, suffix = ("64", "r", "") if bits == 64 else ("", "w", "32")
            group = f"atomic{bits}"
            at = "[%r{dst}{off}], %r{src}"
            fetch: dict[str, Any] = {"isa": "v3", "since": "5.12", "group": group}
            for name, op, sign, meaning in _ATOMIC_ALU:
                facts = {"isa": "v1", "since": "3.18", "group": group} if name == "add" else fetch
                yield row(
                    f"atomic{{bits}}_{name}",
                    f"lock *{at_dst} {sign} r{{src}}",
                    repr(op),
                    op,
                    f"u{bits}({meaning})",
                    llvm=f"lock *{at_dst} {sign} {w}{{src}}",
                    ubpf=f"lock {name}{suffix} {at}",
                    reads="dst src mem",
                    writes="mem",
                    **facts,
                )
                yield row(
                    f"atomic{{bits}}_fetch_{name}",
                    f"r{{src}} = atomic{wide}_fetch_{name}({at_dst}, r{{src}})",
                    f"{op!r} | BPF_FETCH",
                    op | u.BPF_FETCH,
                    f"u{bits}({meaning})",
                    llvm=f"{w}{{src}} = atomic_fetch_{name}({at_dst}, {w}{{src}})",
                    ubpf=f"lock fetch {name}{suffix} {at}",
                    reads="dst src mem",
                    writes="src mem",
                    **fetch,
                )
            yield row(
                "atomic{bits}_xchg",
                f"r{{src}} = atomic{wide}_xchg({at_dst}, r{{src}})",
                "BPF_XCHG",
                u.BPF_XCHG,
                f"u{bits}(s)",
                llvm=f"{w}{{src}} = xchg{suffix}_{bits}(r{{dst}} {{off}}, {w}{{src}})",
                ubpf=f"lock xchg{suffix} {at}",
                reads="dst src mem",
                writes="src mem",
                **fetch,
            )
            yield row(
                "atomic{bits}_cmpxchg",
                f"r0 = atomic{wide}_cmpxchg({at_dst}, r0, r{{src}})",
                "BPF_CMPXCHG",
                u.BPF_CMPXCHG,
                f"u{bits}(s) if m == u{bits}(r0) else m",
                llvm=f"{w}0 = cmpxchg{suffix}_{bits}(r{{dst}} {{off}}, {w}0, {w}{{src}})",
                ubpf=f"lock cmpxchg{suffix} {at}",
                reads="dst src r0 mem",
                writes="r0 mem",
                **fetch,
            )
        yield row(
            "load_acquire{bits}",
            f"r{{dst}} = load_acquire({at_src})",
            "BPF_LOAD_ACQ",
            u.BPF_LOAD_ACQ,
            "m",
            kind="load",
            llvm=f"{'r' if bits == 64 else 'w'}{{dst}} = load_acquire({at_src})",
            reads="src mem",
            writes="dst",
            isa="",
            since="6.15",
        )
        yield row(
            "store_release{bits}",
            f"store_release({at_dst}, r{{src}})",
            "BPF_STORE_REL",
            u.BPF_STORE_REL,
            f"u{bits}(s)",
            kind="store",
            llvm=f"store_release({at_dst}, {'r' if bits == 64 else 'w'}{{src}})",
            reads="dst src",
            writes="mem",
            isa="",
            since="6.15",
        )


def _wide() -> Iterator[Form]:
    """Yield BPF_LD_IMM64 and the pseudo sources that make it name something."""
    full = "BPF_LD_IMM64_RAW_FULL({dst}, "
    # disasm.c leaves the words of a pseudo source to whom it prints for; map[idx:2]+8 and subprog[+3] are bpftool's.
    rows = (
        ("ld_imm64", "{imm64}", "BPF_LD_IMM64({dst}, {imm64})", "", 0, "3.18"),
        ("ld_map_fd", "map[fd:{map}]", "BPF_LD_MAP_FD({dst}, {map})", "{map}", u.BPF_PSEUDO_MAP_FD, "3.18"),
        (
            "ld_map_value",
            "map[fd:{map}][0]+{value_off}",
            "BPF_LD_MAP_VALUE({dst}, {map}, {value_off})",
            "{map}",
            u.BPF_PSEUDO_MAP_VALUE,
            "5.2",
        ),
        (
            "ld_btf_id",
            "btf[id:{btf_id}][fd:{btf_fd}]",
            full + "BPF_PSEUDO_BTF_ID, 0, 0, {btf_id}, {btf_fd})",
            "{btf_id}",
            u.BPF_PSEUDO_BTF_ID,
            "5.10",
        ),
        (
            "ld_func",
            "subprog[{func}]",
            full + "BPF_PSEUDO_FUNC, 0, 0, {func}, 0)",
            "{func}",
            u.BPF_PSEUDO_FUNC,
            "5.13",
        ),
        (
            "ld_map_idx",
            "map[idx:{map_idx}]",
            full + "BPF_PSEUDO_MAP_IDX, 0, 0, {map_idx}, 0)",
            "{map_idx}",
            u.BPF_PSEUDO_MAP_IDX,
            "5.14",
        ),
        (
            "ld_map_idx_value",
            "map[idx:{map_idx}]+{value_off}",
            full + "BPF_PSEUDO_MAP_IDX_VALUE, 0, 0, {map_idx}, {value_off})",
            "{map_idx}",
            u.BPF_PSEUDO_MAP_IDX_VALUE,
            "5.14",
        ),
    )
    for name, words, macro, pseudo, src, since in rows:
        yield form(
            name,
            "ld_imm64",
            c.BPF_LD | c.BPF_IMM | k.BPF_DW,
            f"r{{dst}} = {words}",
            macro,
            "i" if src == 0 else "",
            llvm=f"ld_pseudo r{{dst}}, {src}, {pseudo}" if src else "r{dst} = {imm64} ll",
            ubpf=f"lddw %r{{dst}}, {words}",
            writes="dst",
            width=2,
            src_reg=src,
            since=since,
            group="base64",
        )


def _calls() -> Iterator[Form]:
    clobbers = "r0 r1 r2 r3 r4 r5"
    arguments = "r1 r2 r3 r4 r5"
    code = c.BPF_JMP | k.BPF_CALL
    facts: dict[str, Any] = {"reads": arguments, "writes": clobbers, "group": "base32"}
    yield form("call_helper", "call", code, "call {helper}", "BPF_EMIT_CALL({helper})", ubpf="call {helper}", **facts)
    yield form(
        "call_rel",
        "call",
        code,
        "call pc{callee}",
        "BPF_CALL_REL({callee})",
        llvm="call {callee}",
        ubpf="call local {callee}",
        src_reg=u.BPF_PSEUDO_CALL,
        since="4.16",
        **facts,
    )
    yield form(
        "call_kfunc",
        "call",
        code,
        "call kernel-function#{kfunc}",
        "BPF_CALL_KFUNC({module}, {kfunc})",
        llvm="",
        src_reg=u.BPF_PSEUDO_KFUNC_CALL,
        since="5.13",
        **facts,
    )
    # LLVM emits it for calls through a pointer; every kernel refuses it.
    yield form(
        "callx",
        "call",
        code | k.BPF_X,
        "call bpf_unspec#0",
        "BPF_RAW_INSN(BPF_JMP | BPF_CALL | BPF_X, {dst}, 0, 0, 0)",
        llvm="callx r{dst}",
        ubpf="call %r{dst}",
        reads=f"dst {arguments}",
        writes=clobbers,
        since="",
        group="",
    )
    yield form(
        "exit",
        "exit",
        c.BPF_JMP | k.BPF_EXIT,
        "exit",
        "BPF_EXIT_INSN()",
        ubpf="exit",
        reads="r0",
        group="base32",
    )


def _kernel_only() -> Iterator[Form]:
    """Yield what the kernel makes of a program: met in dumps, refused at load."""
    xlated: dict[str, Any] = {"dialect": "xlated", "isa": ""}
    yield form(
        "addr_space_cast",
        "alu",
        u.BPF_ALU64 | k.BPF_MOV | k.BPF_X,
        "r{dst} = addr_space_cast(r{src}, {cast})",
        "BPF_RAW_INSN(BPF_ALU64 | BPF_MOV | BPF_X, {dst}, {src}, BPF_ADDR_SPACE_CAST, {cast})",
        off=u.BPF_ADDR_SPACE_CAST,
        reads="src",
        writes="dst",
        isa="",
        since="6.9",
    )
    yield form(
        "mov_percpu",
        "alu",
        u.BPF_ALU64 | k.BPF_MOV | k.BPF_X,
        "r{dst} = &(void __percpu *)(r{src})",
        "BPF_MOV64_PERCPU_REG({dst}, {src})",
        off=h.BPF_ADDR_PERCPU,
        reads="src",
        writes="dst",
        since="6.10",
        **xlated,
    )
    yield form(
        "zext",
        "alu",
        c.BPF_ALU | k.BPF_MOV | k.BPF_X,
        "w{dst} = w{dst}",
        "BPF_ZEXT_REG({dst})",
        "u32(d)",
        src_reg="dst_reg",
        imm=1,
        reads="dst",
        writes="dst",
        since="5.3",
        **xlated,
    )
    yield form("nospec", "barrier", c.BPF_ST | h.BPF_NOSPEC, "nospec", "BPF_ST_NOSPEC()", since="5.14", **xlated)
    yield form(
        "tail_call",
        "call",
        c.BPF_JMP | h.BPF_TAIL_CALL,
        "if r0 (null) 0x0 goto pc+0",
        "BPF_RAW_INSN(BPF_JMP | BPF_TAIL_CALL, 0, 0, 0, 0)",
        reads="r1 r2 r3",
        writes="r0 r1 r2 r3 r4 r5",
        since="4.2",
        **xlated,
    )
    yield form(
        "call_args",
        "call",
        c.BPF_JMP | h.BPF_CALL_ARGS,
        "if r0 (null) {cmp} goto pc{jump}",
        "BPF_RAW_INSN(BPF_JMP | BPF_CALL_ARGS, 0, BPF_PSEUDO_CALL, {jump}, {cmp})",
        src_reg=u.BPF_PSEUDO_CALL,
        reads="r1 r2 r3 r4 r5",
        writes="r0 r1 r2 r3 r4 r5",
        since="4.16",
        **xlated,
    )
    for mode, name, signed, since in (
        (h.BPF_PROBE_MEM, "BPF_PROBE_MEM", False, "5.5"),
        (h.BPF_PROBE_MEMSX, "BPF_PROBE_MEMSX", True, "6.6"),
        (h.BPF_PROBE_MEM32, "BPF_PROBE_MEM32", False, "6.9"),
        (h.BPF_PROBE_MEM32SX, "BPF_PROBE_MEM32SX", True, "6.18"),
    ):
        stem = name.removeprefix("BPF_").lower()
        for size, count, _, s in _WIDTHS[: 3 if signed else 4]:
            bits = 8 * count
            more: dict[str, Any] = {"size": count, "since": since, **xlated}
            code = c.BPF_LDX | size | mode
            raw = f"{size!r} | {name}"
            yield form(
                f"{stem}_ldx{bits}",
                "load",
                code,
                f"BUG_ldx_{code:02x}",
                f"BPF_RAW_INSN(BPF_LDX | {raw}, {{dst}}, {{src}}, {{off}}, 0)",
                f"u64({s}(m))" if signed else "m",
                reads="src mem",
                writes="dst",
                **more,
            )
            if mode != h.BPF_PROBE_MEM32:
                continue
            code = c.BPF_ST | size | mode
            yield form(
                f"{stem}_st{bits}",
                "store",
                code,
                f"BUG_st_{code:02x}",
                f"BPF_RAW_INSN(BPF_ST | {raw}, {{dst}}, 0, {{off}}, {{imm}})",
                f"u{bits}(i)",
                reads="dst",
                writes="mem",
                **more,
            )
            code = c.BPF_STX | size | mode
            yield form(
                f"{stem}_stx{bits}",
                "store",
                code,
                f"BUG_{code:02x}",
                f"BPF_RAW_INSN(BPF_STX | {raw}, {{dst}}, {{src}}, {{off}}, 0)",
                f"u{bits}(s)",
                reads="dst src",
                writes="mem",
                **more,
            )


#: Every form there is. ``bpfasm.isa.match`` finds an instruction's row.
FORMS: tuple[Form, ...] = (
    *_arithmetic(),
    *_byte_order(),
    *_jumps(),
    *_memory(),
    *_atomics(u.BPF_ATOMIC, "", "", "source"),
    *_wide(),
    *_calls(),
    *_kernel_only(),
    *_atomics(h.BPF_PROBE_ATOMIC, "probe_", "probe ", "xlated"),
)
