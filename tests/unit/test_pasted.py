"""What is pasted: the output of bpftool and llvm-objdump as they print it, and files of editors on Windows."""

import contextlib
import json
import time

import pytest
from support.commands import output

from bpfasm.asm import *
from bpfasm.asm.syntax import hexdump, lines
from bpfasm.errors import DecodeError

#: bpftool prog dump xlated: prototypes, source, calls by distance and address, maps.
BPFTOOL = """\
int count(struct xdp_md * ctx):
; return f(ctx) + 1;
   0: (85) call pc+8#bpf_prog_68cf7c29c9eb586d_f
   1: (85) call bpf_ktime_get_ns#274736
   2: (85) call __htab_map_lookup_elem#-7216
   3: (15) if r0 == 0x0 goto pc+1
   4: (18) r1 = map[id:12]
   6: (18) r2 = map[id:13][0]+4
   8: (95) exit
long unsigned int * f(struct xdp_md * c, int (*)(void)):
; static int f(struct xdp_md *c) { return 1; }
   9: (b7) r0 = 1
  10: (95) exit
"""

CODE = [
    BPF_CALL_REL(8),
    BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
    BPF_EMIT_CALL(-7216),
    BPF_JMP_IMM(BPF_JEQ, R0, 0, 1),
    BPF_LD_MAP_FD(R1, 12),
    BPF_LD_MAP_VALUE(R2, 13, 4),
    BPF_EXIT_INSN(),
    BPF_MOV64_IMM(R0, 1),
    BPF_EXIT_INSN(),
]

#: llvm-objdump -d -r -S -l of clang 19.
OBJDUMP = """

sub.o:\tfile format elf64-bpf

Disassembly of section .text:

0000000000000000 <f>:
; f():
; /tmp/sub.c:3
; static int f(struct xdp_md *c) { return c->data > 4 ? 2: 1; }
       0:\t61 11 00 00 00 00 00 00\tr1 = *(u32 *)(r1 + 0x0)
       1:\tb7 00 00 00 02 00 00 00\tr0 = 0x2
       2:\t95 00 00 00 00 00 00 00\texit

Disassembly of section xdp:

0000000000000000 <main_prog>:
; main_prog():
       0:\t85 10 00 00 ff ff ff ff\tcall -0x1
\t\t0000000000000000:  R_BPF_64_32\t.text
       1:\t07 00 00 00 01 00 00 00\tr0 += 0x1
       2:\t95 00 00 00 00 00 00 00\texit
"""


def same(text, insns):
    (program,) = lines.read(text, "log", "kernel")
    return list(program.insns) == insns


def test_bpftools_text():
    assert same(BPFTOOL, CODE)
    assert output("asm", "-", given=BPFTOOL) == output("asm", "-", "--from", "kernel", given=BPFTOOL)


def test_bpftools_json_without_opcodes():
    rows = [
        {"proto": line} if line.endswith("):") else {"src": line[2:]} if line[0] == ";" else {"disasm": line[6:]}
        for line in BPFTOOL.splitlines()
    ]
    for indent in (None, 4):
        assert output("asm", "-", given=json.dumps(rows, indent=indent)) == output("asm", "-", given=BPFTOOL)


OPCODES = """\
int count(struct xdp_md * ctx):
; int count(struct xdp_md *ctx)
   0: (18) r1 = map[id:77]
       18 11 00 00 4d 00 00 00 00 00 00 00 00 00 00 00
   2: (85) call bpf_map_lookup_elem#312
       85 00 00 00 38 01 00 00
   3: (85) call pc+1#helper
       85 10 01 00 01 00 00 00
   4: (95) exit
       95 00 00 00 00 00 00 00
"""


def test_bpftools_opcodes_stand_below_the_text():
    expected = [BPF_LD_MAP_FD(R1, 77), BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem), BPF_CALL_REL(1), BPF_EXIT_INSN()]
    assert same(OPCODES, expected)
    assert output("asm", "-", given=OPCODES) == output("asm", "-", given="\n".join(OPCODES.splitlines()[::2]))
    rows = []
    for text, line in zip(OPCODES.splitlines()[2::2], OPCODES.splitlines()[3::2], strict=True):
        code, registers, *rest = (f"0x{byte}" for byte in line.split())
        off, imm = rest[:2], rest[2:]
        fields = {"code": code, "src_reg": registers[:3], "dst_reg": f"0x{registers[3]}", "off": off, "imm": imm}
        rows.append({"disasm": text[6:], "opcodes": fields})
    assert output("asm", "-", given=json.dumps(rows)) == output("asm", "-", given=OPCODES)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (OPCODES.replace("95 00 00", "95 00 01"), "the bytes 9500010000000000 are not those of the text beside them"),
        ("       95 00 00 00 00 00 00 00\n" + OPCODES, "these are the bytes of no instruction above"),
    ],
)
def test_opcodes_that_are_of_another_instruction_are_refused(text, what):
    with pytest.raises(DecodeError, match=what):
        lines.read(text, "x", "kernel")


def test_the_letters_of_a_string_are_bytes():
    insns = bytes.fromhex("6111000000000000 720a000009000000 9500000000000000 6610040022000000")
    assert hexdump.looks_hex(repr(insns).encode())
    assert hexdump.parse(repr(insns), "x") == insns
    assert hexdump.parse(r'"\x00\n\\\101z"', "x") == b"\0\n\\Az"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (r'"\xb7\x00a"', r"\x00a is one byte in C and two in Python"),
        (r'"\xb7\xz"', r"\xz is no byte"),
        (r'"\xb7\400"', r"\400 is no byte"),
        ("char a[] = {\n0x1b7\n};\nlength = 2;", "column 1 has 'l', which is no hex digit"),
    ],
)
def test_strings_and_arrays_that_are_not_plain_are_refused(text, what):
    with pytest.raises(DecodeError) as caught:
        hexdump.parse(text, "x")
    assert caught.value.what == what


def test_a_name_beside_the_number_of_another_helper_is_refused():
    with pytest.raises(DecodeError, match="bpf_ktime_get_ns is not the name of helper 1"):
        lines.read("(85) call bpf_ktime_get_ns#1", "x", "kernel")


def test_objdumps_text_with_source_and_relocations():
    text = output("disasm", "-", given=OBJDUMP).decode()
    assert text.splitlines() == [
        "; f",
        "0: (61) r1 = *(u32 *)(r1 +0)",
        "1: (b7) r0 = 2",
        "2: (95) exit",
        "",
        "; main_prog",
        "0: (85) call pc-1",
        "1: (07) r0 += 1",
        "2: (95) exit",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["r0 = 7\r\nexit\r\n", "b700000007000000\r\n9500000000000000\r\n"])
def test_what_windows_puts_before_a_text(encoding, text):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    assert output("disasm", "-", given=(mark + text).encode(encoding)) == b"0: (b7) r0 = 7\n1: (95) exit\n"


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf"])
@pytest.mark.parametrize("end", ["exit", "R1=ctx processed", "asm (", '"', "x :"])
def test_empty_lines_take_time_by_their_number(syntax, end):
    def took(count):
        start = time.process_time()
        with contextlib.suppress(DecodeError):
            lines.read(f"exit\n{chr(10) * count}{end}", "x", syntax)
        return time.process_time() - start

    took(10)
    # 16 times as many: 256 times as long where the time grows by the square.
    assert took(32_000) < 80 * max(took(2_000), 0.002)
