"""``bpfasm asm`` and ``disasm`` with text: every syntax in and out, what is beside an instruction, wrong inputs."""

import json

import pytest
from support.commands import bpfasm, document, output

PROGRAM = "0: (b7) r0 = 7\n1: (15) if r1 == 0x0 goto pc+1\n2: (b7) r0 = 1\n3: (95) exit\n"
HEX = b"b700000007000000\n1501010000000000\nb700000001000000\n9500000000000000\n"


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf", "macro", "c"])
@pytest.mark.parametrize(
    "options", [(), ("--labels",), ("--bytes",), ("--words",), ("--words", "--bytes", "--labels")]
)
def test_what_disasm_prints_asm_takes(syntax, options):
    # An array of C has no place for labels.
    options = [each for each in options if (syntax, each) != ("c", "--labels")]
    text = output("disasm", "-", "--to", syntax, *options, given=HEX)
    assert output("asm", "-", given=text) == HEX
    assert output("asm", "-", "--from", syntax, given=text) == HEX


def test_a_c_file_has_several_programs(tmp_path):
    file = tmp_path / "two.c"
    file.write_text(
        "#define SEVEN 7\nstruct bpf_insn one[] = { BPF_MOV64_IMM(BPF_REG_0, SEVEN), BPF_EXIT_INSN() };\n"
        "static struct bpf_insn two[] = { BPF_EXIT_INSN(), };\n"
    )
    assert output("asm", f"{file}:one") == b"b700000007000000\n9500000000000000\n"
    assert output("asm", f"{file}:two") == b"9500000000000000\n"
    assert output("disasm", file, "--to", "llvm") == b"# one\nr0 = 7\nexit\n\n# two\nexit\n"
    assert bpfasm("asm", f"{file}:three").stderr.decode() == (
        f"error: {file} has no program three [input-name]\nit has one, two\n"
    )


def test_source_lines_stand_above_their_instructions(tmp_path):
    file = tmp_path / "p.py"
    file.write_text(
        "from bpfasm.asm import *\np = Program('p', 1, [\n    BPF_MOV64_IMM(R0, 7),\n    BPF_EXIT_INSN(),\n])\n"
    )
    assert output("disasm", file, "--source").decode().splitlines() == [
        f"; {file}:3: BPF_MOV64_IMM(R0, 7),", "0: (b7) r0 = 7", f"; {file}:4: BPF_EXIT_INSN(),", "1: (95) exit",
    ]  # fmt: skip


def test_words():
    assert output("disasm", "-", "--words", given=HEX).decode().splitlines()[:4] == [
        "0: (b7) r0 = 7",
        "   ; set r0 to 7 (RFC 9669 group base64, ISA v1, since Linux 3.18)",
        "1: (15) if r1 == 0x0 goto pc+1",
        "   ; go to slot 3 if r1 is 0 (RFC 9669 group base64, ISA v1, since Linux 3.18)",
    ]


def test_capstone_beside():
    pytest.importorskip("capstone")
    given = "b700000007000000 16010100 00000000 7911f8ff00000000 9500000000000000"
    lines = output("disasm", "-", "--to", "capstone", given=given).decode().splitlines()
    assert [line[line.index(")") :].split("  ")[-1].strip() for line in lines[:4]] == [
        "mov64 r0, 0x7", "?", "! ldxdw r1, [r1+0xfff8]", "exit",
    ]  # fmt: skip
    assert lines[4].endswith("! says something else (1), ? does not decode (1), of 4")


FILTER = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n"
WORDS = "(000) ldh      [12]\n(001) jeq      #0x800           jt 2\tjf 3\n(002) ret      #262144\n(003) ret      #0\n"


def test_classic_programs():
    assert output("disasm", "-", given=FILTER).decode() == WORDS
    assert output("disasm", "-", "--to", "ddd", given=WORDS).decode() == FILTER
    assert output("disasm", "-", "--to", "kernel", given=FILTER).decode().splitlines() == [
        "0: (b4) w0 = 0", "1: (b4) w7 = 0", "2: (bf) r6 = r1", "3: (28) r0 = *(u16 *)skb[12]",
        "4: (55) if r0 != 0x800 goto pc+2", "5: (b4) w0 = 262144", "6: (95) exit", "7: (b4) w0 = 0", "8: (95) exit",
    ]  # fmt: skip
    assert output("asm", "-", given=FILTER).count(b"\n") == 9


def test_json_has_what_a_text_means():
    found = document("programs-1", output("disasm", "-", "--json", given="mov %r0, 7\nexit"))
    assert found["programs"][0]["hex"] == "b7000000070000009500000000000000"
    assert found["programs"][0]["insns"][1]["source"] == {"file": "-", "line": 2}


def test_what_may_be_two_things_is_a_warning():
    done = bpfasm("asm", "-", given="r1 = 0x5\nexit\n")
    assert (done.returncode, done.stdout) == (0, b"1801000005000000\n0000000000000000\n9500000000000000\n")
    assert done.stderr.startswith(b"warning: -:1: read as kernel text, BPF_LD_IMM64(BPF_REG_1, 0x5); in llvm it is")
    assert output("asm", "-", "--from", "llvm", given="r1 = 0x5\nexit\n") == b"b701000005000000\n9500000000000000\n"


@pytest.mark.parametrize(
    ("words", "given", "status", "first"),
    [
        (["disasm", "-"], "mov %r0, %r77\n", 1, "-:1:10: error: there is no register r77 [text-register]"),
        (["asm", "-"], "r0 = 1\nif r1 = 2 goto +1\n", 1, "-:2:7: error: '=' where one of"),
        (["disasm", "-", "--to", "ddd"], "exit", 2, "error: - is no classic BPF [not-classic]"),
        (["disasm", "-", "--native"], "exit", 2, "error: - has no native code: it is not in the kernel [not-loaded]"),
        (
            ["disasm", "-"],
            "int main(void) { return 0; }\n#define X 1\n",
            1,
            "-:1: error: there is no struct bpf_insn",
        ),
        (["disasm", "-"], "\n\n", 2, "error: - is empty [input-empty]"),
        (
            ["disasm", "-"],
            "12: (b7) r0 = 0 ; R0_w=0\n13: (95) exit\nprocessed 2 insns\n",
            1,
            "-:1:1: error: the log goes to slot 12, and slots 0 to 11 are not in it [text-slot]",
        ),
    ],
)
def test_wrong_text_gives_two_lines(words, given, status, first):
    done = bpfasm(*words, given=given)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (status, b"", 2), lines
    assert lines[0].startswith(first)
    assert lines[1]


def test_an_error_in_json_has_its_column():
    done = bpfasm("asm", "-", "--json", given="mov %r0, %r77\n")
    assert document("error-1", done.stdout)["error"]["source"] == {"file": "-", "line": 1, "column": 10}


def opcodes(code, imm):
    """Return an instruction as bpftool has it in JSON."""
    return {"code": code, "src_reg": "0x0", "dst_reg": "0x0", "off": ["0x00"] * 2, "imm": [imm, *["0x00"] * 3]}


BPFTOOL = [
    {"disasm": "(b7) r0 = 7", "opcodes": opcodes("0xb7", "0x07")},
    {"disasm": "(95) exit", "opcodes": opcodes("0x95", "0x00")},
]

#: The same two instructions, as people paste them.
PASTED = {
    "digits": "b7000000070000009500000000000000",
    "bytes": "b7 00 00 00 07 00 00 00  95 00 00 00 00 00 00 00",
    "a C array": "unsigned char prog[] = {\n 0xb7, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00,\n"
    " 0x95, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0\n};\n",
    "numbers with 0x": "0xb7,0x0,0x0,0x0,0x7,0x0,0x0,0x0,0x95,0x0,0x0,0x0,0x0,0x0,0x0,0x0",
    "64-bit numbers": "0x00000007000000b7 0x0000000000000095",
    "a C array of 64 bits": "const uint64_t prog[2] = {\n\t0x00000007000000b7ULL,\n\t0x95,\n};\n",
    "a C array in a line": "static __u64 prog[] = { 0x7000000b7ull, 0x95UL };",
    "slots with 0x": "0xb700000007000000\n0x9500000000000000\n",
    "xxd": "00000000: b700 0000 0700 0000 9500 0000 0000 0000  ................\n",
    "hexdump -C": "00000000  b7 00 00 00 07 00 00 00  95 00 00 00 00 00 00 00  |................|\n00000010\n",
    "a C string": r'"\xb7\x00\x00\x00\x07\x00\x00\x00" "\x95\x00\x00\x00\x00\x00\x00\x00"',
    "xxd -i": "unsigned char prog_bin[] = {\n  0xb7, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x95, 0x00,\n"
    "  0x00, 0x00, 0x00, 0x00, 0x00, 0x00\n};\nunsigned int prog_bin_len = 16;\n",
    "a C array with 0": "static const __u8 prog[] = { 0xb7,0,0,0,7,0,0,0, 0x95,0,0,0,0,0,0,0 };",
    "bytes of Python": r"b'\xb7\x00\x00\x00\x07\x00\x00\x00\x95\x00\x00\x00\x00\x00\x00\x00'",
    "a list of Python": "[0xb7, 0, 0, 0, 7, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]",
    "a slice of Go": "[]byte{0xb7, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x95, 0, 0, 0, 0, 0, 0, 0}",
    "bpftool -j": json.dumps(BPFTOOL),
    "objdump": "p.o:\tfile format elf64-bpf\n\nDisassembly of section .text:\n\n0000000000000000 <p>:\n"
    "       0:\tb7 00 00 00 07 00 00 00\tr0 = 7\n       1:\t95 00 00 00 00 00 00 00\texit\n",
}


@pytest.mark.parametrize("how", PASTED)
def test_bytes_are_read_as_they_were_pasted(how):
    assert output("asm", "-", given=PASTED[how]) == b"b700000007000000\n9500000000000000\n"


#: A filter of system calls, and the bytes of its struct sock_filter.
SECCOMP = b"4\n32 0 0 4\n21 0 1 3221225534\n6 0 0 2147418112\n6 0 0 0\n"
SECCOMP_BYTES = bytes.fromhex("2000000004000000150000013e0000c0060000000000ff7f0600000000000000")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (SECCOMP, []),
        (SECCOMP_BYTES, []),
        (SECCOMP_BYTES, ["--from", "tcpdump"]),
        (SECCOMP_BYTES.hex(" ").encode(), ["--from", "tcpdump"]),
    ],
    ids=["numbers", "bytes", "bytes that are named", "hex"],
)
def test_a_filter_of_system_calls_is_read_as_one_where_that_is_said(given, options, tmp_path):
    shown = output("disasm", "-", "--seccomp", "--to", "kernel", *options, given=given)
    assert b"3: (61) r0 = *(u32 *)(r6 +4)\n" in shown
    assert output("disasm", "-", "--seccomp", "--to", "ddd", *options, given=given) == SECCOMP
    (tmp_path / "filter").write_bytes(given)
    if not options:
        same = bpfasm("diff", "--seccomp", str(tmp_path / "filter"), str(tmp_path / "filter"))
        assert same.returncode == 0


def test_bytes_of_classic_bpf_are_those_of_packets_where_nothing_is_said():
    assert b"skb[4]" in output("disasm", "-", "--from", "tcpdump", "--to", "kernel", given=SECCOMP_BYTES)
    cut = bpfasm("disasm", "-", "--from", "tcpdump", given=SECCOMP_BYTES[:-1])
    assert (cut.returncode, cut.stderr[:40]) == (1, b"error: -: 31 bytes are 3 slots of 8 and ")
    refused = bpfasm("asm", "-", "--seccomp", "--from", "kernel", given=b"(95) exit")
    assert refused.stderr.startswith(b"error: - is no classic BPF [not-classic]")


def test_our_own_json_is_read():
    assert output("asm", "-", given=output("disasm", "-", "--json", given=HEX)) == HEX


def test_far_jumps_are_made_of_several_where_that_is_asked_for():
    far = ("if r1 == 0x0 goto out\n" + "r0 += 1\n" * 40_000 + "out:\nexit\n").encode()
    refused = bpfasm("asm", "-", "--from", "kernel", given=far)
    assert refused.returncode == 1
    assert refused.stderr.decode() == (
        '-:1: error: the jump at slot 0 to "out" goes +40000 slots, and 16 bits reach -32768 to +32767 [jump-range]\n'
        "relax=True (link, load) or asm --relax makes it of several; or go by BPF_JMP32_A (from kernel 6.6 on)\n"
    )
    by_gotol = output("asm", "-", "--from", "kernel", "--relax", "gotol", given=far).split()
    assert by_gotol[:3] == [
        b"5501010000000000",
        b"06000000" + (40_000).to_bytes(4, "little").hex().encode(),
        b"0700000001000000",
    ]
    assert len(by_gotol) == 40_003
    islands = output("asm", "-", "--from", "kernel", "--relax", given=far).split()
    assert len(islands) == 40_004
    jumps = {
        at: int.from_bytes(bytes.fromhex(word.decode())[2:4], "little")
        for at, word in enumerate(islands)
        if word[:2] in (b"15", b"05")
    }
    (first, island), *others = jumps.items()
    assert first == 0
    assert island + 1 in jumps  # it goes to a jump,
    assert island + 2 + jumps[island + 1] == 40_003  # which goes to the exit;
    assert dict(others) == {island: 1, island + 1: jumps[island + 1]}  # what comes from above goes over it
