"""The macros against the kernel's own, as gcc compiles them.

The three headers that have them (the kernel's filter.h, its copy under tools/, the samples' bpf_insn.h) are taken
from Debian's linux-source. Only their macro definitions are compiled, over the same kernel's linux/bpf.h.
"""

import inspect
import itertools
import random
import re
import subprocess
import sys

import pytest

import bpfasm.asm
from bpfasm.asm import macros
from bpfasm.isa import filter_h, match, operands
from bpfasm.isa.insn import encode
from bpfasm.isa.operands import Named, Reg

pytestmark = pytest.mark.oracle

HEADERS = {
    "kernel": "include/linux/filter.h",
    "tools": "tools/include/linux/filter.h",
    "samples": "samples/bpf/bpf_insn.h",
}

#: Macros that make no instruction but take one or its code apart.
PARTS = {"BPF_CLASS", "BPF_SIZE", "BPF_MODE", "BPF_OP", "BPF_SRC", "BPF_LDST_BYTES"}

#: Where the kernel's header and the one under tools/ differ: there tools/ is followed.
CONFLICTS = {"BPF_EMIT_CALL": "the kernel's takes a function of the kernel, that of tools/ a helper's id"}

#: What the kernel's header has and bpfasm has not, by the beginning of the name.
LEFT_OUT = {
    "BPF_CALL_IMM": "an address of the kernel, less another",
    "BPF_CALL_": "defines a helper in C",
    "NOTRACE_BPF_CALL_": "defines a helper in C",
    "BPF_SIZEOF": "of a C type",
    "BPF_FIELD_SIZEOF": "of a member of a C type",
    "BPF_ANC": "of classic programs",
    "BPF_PROG_SK_LOOKUP_RUN_ARRAY": "runs programs",
    "BPF_REG_A": "of classic programs in translation, whose two headers disagree",
    "BPF_REG_D": "of classic programs in translation, whose two headers disagree",
    "BPF_REG_H": "of classic programs in translation, whose two headers disagree",
    "BPF_REG_TMP": "of classic programs in translation, whose two headers disagree",
    "BPF_REG_X": "of classic programs in translation, whose two headers disagree",
    "MAX_BPF_EXT_REG": "of the interpreter",
    "MAX_BPF_JIT_REG": "of the JIT compilers",
    "BPF_SYM_ELF_TYPE": "of kallsyms",
    "BPF_IMAGE_ALIGNMENT": "of the JIT compilers",
    "BPF_SKB_CB_LEN": "of the kernel's own structures",
    "BPF_RI_F_": "of the kernel's own structures",
    "BPF_SOCKOPT_KERN_BUF_SIZE": "of the kernel's own structures",
}


# The headers


class Macro:
    """A macro of a header: its name, its parameters (None: it is no function), its definition."""

    def __init__(self, found):
        self.name, parameters, body = found.groups()
        self.parameters = None if parameters is None else re.findall(r"\w+", parameters)
        self.definition = f"#define {self.name}{'' if parameters is None else f'({parameters})'} {body}"
        self.uses = set(re.findall(r"\w+", body))


DEFINE = re.compile(r"^#[ \t]*define[ \t]+(\w+)(?:\(([^)]*)\))?((?:\\\n|[^\n])*)", re.M)


def macros_of(source, header):
    """Return the macros of a header by name."""
    found = map(Macro, DEFINE.finditer((source / HEADERS[header]).read_text()))
    return {macro.name: macro for macro in found}


def makers(header_macros):
    """Return the names of the macros that make instructions, by themselves or through another."""
    made = {"bpf_insn"}
    while True:
        more = {name for name, macro in header_macros.items() if macro.parameters is not None and macro.uses & made}
        if more <= made:
            return made - {"bpf_insn", "BPF_CALL_IMM"}
        made |= more


class Gcc:
    """gcc over one kernel's headers."""

    def __init__(self, source, scratch):
        self.source, self.scratch = source, scratch

    def run(self, header_macros, body):
        """Compile the body of main() with macros; return what the program prints."""
        text = "\n".join(
            [PROLOGUE, *(macro.definition for macro in header_macros.values()), "int main(void) {", body]
        )
        (self.scratch / "main.c").write_text(text + "\nreturn 0; }\n")
        program = self.scratch / "main"
        include = self.source / "include/uapi"
        subprocess.run(["gcc", "-w", f"-I{include}", "-o", program, self.scratch / "main.c"], check=True)
        return subprocess.run([program], check=True, capture_output=True).stdout

    def insns(self, header_macros, calls):
        """Return the bytes of the instructions that macro calls make."""
        insns = ",\n".join(calls)
        return self.run(
            header_macros,
            f"static const struct bpf_insn insns[] = {{\n{insns}\n}};\nfwrite(insns, sizeof(insns), 1, stdout);",
        )

    def values(self, header_macros, expressions):
        """Return the values of expressions."""
        printed = self.run(header_macros, "\n".join(f'printf("%lld\\n", (long long)({e}));' for e in expressions))
        return [int(line) for line in printed.split()]


PROLOGUE = """\
#include <errno.h>
#include <stdio.h>
#include <linux/types.h>
#include <linux/bpf.h>
#define WARN_ON(condition)
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
"""


@pytest.fixture(scope="module")
def compiler(gcc, source, tmp_path_factory):
    return Gcc(source, tmp_path_factory.mktemp("gcc"))


@pytest.fixture(scope="module", params=HEADERS)
def header(request, source):
    return request.param, macros_of(source, request.param)


# The operands: what is worth it for each parameter, and for some of one macro alone

S32 = (0, 1, -1, 2, 127, -128, 255, 4096, -4096, 2**31 - 1, -(2**31), 0x12345678)
U32 = (*S32, 2**31, 2**32 - 1, 0xDEADBEEF)
U64 = (*U32, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0x123456789ABCDEF0, 0xFFFFFFFF80000000, -(2**32))
S16 = (0, 1, -1, 2, -4, 8, -8, 255, 2**15 - 1, -(2**15))
REGS = operands.REGS[:11]
SIZES = operands.SIZES
UP_TO_WORD = operands.SIZES[:3]
NIBBLES = range(16)
BITS = (16, 32, 64)
ATOMIC_OPS = [
    op if not fetch else f"{op!r} | BPF_FETCH"
    for op in (operands.BPF_ADD, operands.BPF_AND, operands.BPF_OR, operands.BPF_XOR)
    for fetch in (False, True)
] + ["BPF_XCHG", "BPF_CMPXCHG"]

PARAMETERS = {
    "DST": REGS, "SRC": REGS, "IMM": U32, "OFF": S16, "SIZE": SIZES, "LEN": BITS,
    "FUNC": ("BPF_FUNC_map_lookup_elem", "BPF_FUNC_tail_call", 0, 211), "TGT": S32,
    "MAP_FD": (0, 1, 3, 1023, 2**31 - 1), "VALUE_OFF": (0, 4, 2**31 - 1, 2**32 - 1),
    "OFF1": S16, "OFF2": S16, "IMM1": U32, "IMM2": U32, "CODE": range(256),
}  # fmt: skip

#: Parameters of macros, the first whose name matches.
OF_MACROS = (
    (r"BPF_ALU\d+_..._OFF", {"OP": (operands.BPF_DIV, operands.BPF_MOD), "OFF": (0, 1)}),
    (r"BPF_ALU", {"OP": operands.ALU_OPS}),
    (r"BPF_JMP32_A|BPF_MOV64_RAW", {"IMM": S32, "TYPE": (operands.BPF_K, operands.BPF_X)}),
    (r"BPF_JMP", {"OP": operands.JMP_OPS}),
    (r"BPF_ENDIAN", {"TYPE": (operands.BPF_TO_LE, operands.BPF_TO_BE, "BPF_FROM_LE", "BPF_FROM_BE")}),
    (r"BPF_MOV32_RAW", {"TYPE": (operands.BPF_K, operands.BPF_X)}),
    (r"BPF_MOVSX32_REG", {"OFF": (8, 16)}),
    (r"BPF_MOVSX64_REG", {"OFF": (8, 16, 32)}),
    (r"BPF_LD_IMM64_RAW_FULL", {"SRC": NIBBLES}),
    (r"BPF_LD_IMM64_RAW", {"SRC": NIBBLES, "IMM": U64}),
    (r"BPF_LD_IMM64", {"IMM": U64}),
    (r"BPF_LD_ABS|BPF_LD_IND|BPF_LDX_MEMSX", {"SIZE": UP_TO_WORD}),
    (r"BPF_ATOMIC_OP", {"OP": (*ATOMIC_OPS, "BPF_LOAD_ACQ", "BPF_STORE_REL")}),
    (r"BPF_RAW_INSN", {"DST": NIBBLES, "SRC": NIBBLES}),
)

#: Immediates of 64-bit operations: what C would extend silently, bpfasm refuses.
SIGNED = r"BPF_ALU64_IMM|BPF_MOV64_IMM|BPF_JMP_IMM"


def operands_of(macro):
    """Return what to try for each parameter of a macro."""
    own = next((own for pattern, own in OF_MACROS if re.match(pattern, macro.name)), {})
    if re.match(SIGNED, macro.name):
        own = {**own, "IMM": S32}
    return [own.get(parameter) or PARAMETERS[parameter] for parameter in macro.parameters]


def calls_of(macro, most=1500):
    """Return calls of a macro as tuples of operands: all of them, or as many as ``most`` of them."""
    tries = operands_of(macro)
    if len(list(itertools.islice(itertools.product(*tries), most + 1))) <= most:
        calls = list(itertools.product(*tries))
    else:
        choose = random.Random(macro.name)
        calls = [tuple(map(choose.choice, tries)) for _ in range(most)]
    return [call for call in calls if exists(macro.name, call)]


def exists(name, call):
    """Tell what the kernel has: atomic operations on 1 and 2 bytes are loads and stores."""
    small = operands.BPF_B, operands.BPF_H
    if name == "BPF_ATOMIC_OP":
        return call[0] not in small or call[1] in ("BPF_LOAD_ACQ", "BPF_STORE_REL")
    if name == "BPF_ST_MEM":
        return call[0] is not operands.BPF_DW or call[3] in S32
    return name != "BPF_STX_XADD" or call[0] not in small


def in_c(operand):
    """Return an operand as C has it."""
    if isinstance(operand, Reg):
        return f"BPF_REG_{operand.number}"
    if isinstance(operand, Named | str):
        return str(operand) if isinstance(operand, str) else operand.name
    if operand < 0:
        return f"(-{-operand - 1}LL - 1)"
    return f"{operand}{'ULL' if operand >= 2**63 else 'LL' if operand >= 2**32 else 'U' if operand >= 2**31 else ''}"


def in_python(operand):
    """Return an operand as a program of bpfasm has it."""
    return eval(operand, vars(bpfasm.asm)) if isinstance(operand, str) else operand


# The tests


def test_every_macro_of_the_headers_is_there_and_no_other(source):
    theirs = set().union(*(makers(macros_of(source, header)) for header in HEADERS))
    assert set(macros.__all__) - PARTS == theirs


def test_parameters_are_named_and_ordered_as_in_the_headers(header):
    _, theirs = header
    for name in makers(theirs):
        assert list(inspect.signature(getattr(macros, name)).parameters) == [
            p.lower() for p in theirs[name].parameters
        ]


def test_every_call_gives_the_bytes_that_gcc_gives(header, compiler):
    which, theirs = header
    differ, count = [], 0
    for name in sorted(makers(theirs) - (CONFLICTS.keys() if which == "kernel" else set())):
        calls = calls_of(theirs[name])
        ours = [encode([getattr(macros, name)(*map(in_python, call))], sys.byteorder) for call in calls]
        printed = compiler.insns(theirs, [f"{name}({', '.join(map(in_c, call))})" for call in calls])
        expected = [printed[at : at + len(ours[0])] for at in range(0, len(printed), len(ours[0]))]
        differ += [(name, call, a, b) for call, a, b in zip(calls, ours, expected, strict=True) if a != b]
        count += len(calls)
    assert differ == []
    assert count > 10_000


def test_the_parts_of_an_opcode_are_those_that_gcc_computes(compiler, source):
    theirs = macros_of(source, "kernel")
    names = sorted(PARTS - {"BPF_LDST_BYTES"})
    expected = compiler.values(theirs, [f"{name}({code})" for name in names for code in range(256)])
    assert [getattr(macros, name)(code) for name in names for code in range(256)] == expected
    sizes = [f"BPF_LDX_MEM({size!r}, 0, 1, 2)" for size in SIZES]
    expected = compiler.values(theirs, [f"BPF_LDST_BYTES(&{insn})" for insn in sizes])
    assert [macros.BPF_LDST_BYTES(in_python(insn)) for insn in sizes] == expected


def test_constants_and_operands_have_the_headers_values(compiler, source):
    theirs = macros_of(source, "kernel")
    ours = {name: value for name, value in vars(filter_h).items() if not name.startswith("_")}
    assert ours.keys() <= theirs.keys()
    ours["MAX_BPF_EXT_REG - 1"] = match.MAX_REG
    kinds = {name: getattr(operands, name) for name in operands.__all__ if name.startswith("BPF_")}
    ours |= {name: value.number if isinstance(value, Reg) else int(value) for name, value in kinds.items()}
    assert dict(zip(ours, compiler.values(theirs, ours), strict=True)) == ours


def test_what_the_headers_have_is_here_or_left_out_for_a_reason(source):
    known = {*filter_h.__dict__, *operands.__all__, *macros.__all__}
    for header in HEADERS:
        theirs = {name for name in macros_of(source, header) if re.match(r"BPF_|MAX_BPF|NOTRACE_", name)}
        lacking = {name for name in theirs - known if not hasattr(bpfasm.asm, name)}
        assert {name for name in lacking if not name.startswith(tuple(LEFT_OUT))} == set()
    kernels = macros_of(source, "kernel").keys()
    assert [start for start in LEFT_OUT if not any(name.startswith(start) for name in kernels - known)] == []


def test_the_conflict_is_still_one(source):
    """Else there is no reason to leave it out of the comparison with the kernel's header."""
    for name in CONFLICTS:
        assert "BPF_CALL_IMM" in macros_of(source, "kernel")[name].uses
        assert "BPF_FUNC_unspec" in macros_of(source, "tools")[name].uses


def test_the_seed_program(compiler, source):
    """The program that introduces gobpf, as the samples' header makes it."""
    seed = """
        BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0),
        BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
        BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
        BPF_LD_MAP_FD(BPF_REG_1, 7),
        BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 2),
        BPF_MOV64_IMM(BPF_REG_1, 1),
        BPF_RAW_INSN(BPF_STX | BPF_XADD | BPF_DW, BPF_REG_0, BPF_REG_1, 0, 0),
        BPF_EXIT_INSN(),
    """
    insns = eval(f"[{seed}]", vars(bpfasm.asm))
    assert encode(insns, sys.byteorder) == compiler.insns(macros_of(source, "samples"), [seed.strip().rstrip(",")])
