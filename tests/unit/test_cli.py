"""The command line without a kernel: asm, disasm, and every wrong input's two lines and status."""

import os
import subprocess
import sys

import pytest
from support.commands import ROOT, bpfasm, document, output

from bpfasm import place
from bpfasm.cli import VERBS, chowncount

TWO_SLOTS = "b700000007000000\n9500000000000000\n"


def test_hex_and_raw_are_each_other():
    raw = output("asm", "-", "--to", "raw", given=TWO_SLOTS)
    assert raw == bytes.fromhex(TWO_SLOTS)
    assert output("asm", "-", given=raw) == TWO_SLOTS.encode()
    assert output("disasm", "-", given=raw) == b"0: (b7) r0 = 7\n1: (95) exit\n"


def test_hex_takes_comments_spaces_and_upper_case():
    text = "# first\nB7 00 00 00 07 00 00 00  ; r0 = 7\n\n95000000 00000000\n"
    assert output("asm", "-", given=text) == TWO_SLOTS.encode()


def test_macros_come_back_as_the_same_bytes(tmp_path):
    macros = output("disasm", "-", "--to", "macro", given=TWO_SLOTS).decode()
    assert macros == "BPF_MOV64_IMM(BPF_REG_0, 7),\nBPF_EXIT_INSN(),\n"
    file = tmp_path / "again.py"
    file.write_text(f"from bpfasm.asm import *\nprog = Program('prog', BPF_PROG_TYPE_SOCKET_FILTER, [\n{macros}])\n")
    assert output("asm", file) == TWO_SLOTS.encode()


def test_a_program_is_chosen_by_variable_or_by_its_name(tmp_path):
    file = tmp_path / "two.py"
    file.write_text(
        "from bpfasm.asm import *\n"
        "one = Program('first', BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])\n"
        "two = Program('second', BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()])\n"
        "same = two\n"
    )
    assert output("asm", f"{file}:one") == output("asm", f"{file}:first")
    assert output("disasm", file) == (
        b"; first\n0: (b7) r0 = 1\n1: (95) exit\n\n; second\n0: (b7) r0 = 2\n1: (95) exit\n"
    )


def test_the_bytes_column():
    assert output("disasm", "-", "--bytes", given="1801000001000000 0000000002000000") == (
        b"0: 18010000010000000000000002000000  (18) r1 = 0x200000001\n"
    )


def test_out_writes_a_file(tmp_path):
    assert output("asm", "-", "--to", "raw", "--out", tmp_path / "prog.bin", given=TWO_SLOTS) == b""
    assert (tmp_path / "prog.bin").read_bytes() == bytes.fromhex(TWO_SLOTS)


def test_maps_are_left_open_and_said():
    done = bpfasm("asm", "examples/chowncount.py:seed")
    assert done.returncode == 0
    assert done.stderr == b"note: map seed_counts at slot 3 is left as 0: load() fills it in\n"
    # The seed of every introduction: key on the stack, lookup, test, atomic add, exit.
    assert done.stdout.decode().split() == [
        "620afcff00000000",
        "bfa2000000000000",
        "07020000fcffffff",
        "1811000000000000",
        "0000000000000000",
        "8500000001000000",
        "1500020000000000",
        "b701000001000000",
        "db10000000000000",
        "9500000000000000",
    ]


def test_json_of_a_python_file():
    programs = document("programs-1", output("disasm", "examples/chowncount.py", "--json"))["programs"]
    assert [program["name"] for program in programs] == ["seed", "chowncount", "percpu"]
    load = programs[0]["insns"][3]
    assert load["symbol"] == {"kind": "map", "name": "seed_counts"}
    assert (load["pc"], load["width"], load["imm"]) == (3, 2, 0)
    line = (ROOT / load["source"]["file"]).read_text().splitlines()[load["source"]["line"] - 1]
    assert line.strip() == "BPF_LD_MAP_FD(BPF_REG_1, seed_counts),"


def test_what_is_no_instruction_is_data_with_the_reason():
    given = "ff00000000000000 9500000005000000 1800000000000000"
    assert output("disasm", "-", given=given).decode().splitlines() == [
        "0: (ff) BPF_RAW_INSN(0xff, 0, 0, 0, 0)  ; no instruction has code 0xff",
        "1: (95) BPF_RAW_INSN(0x95, 0, 0, 0, 5)  ; imm is 5, and exit takes 0 there",
        "2: (18) BPF_RAW_INSN(0x18, 0, 0, 0, 0)  ; BPF_LD_IMM64 without its second slot",
    ]
    insns = document("programs-1", output("disasm", "-", "--json", given=given))["programs"][0]["insns"]
    assert [insn["problem"].split()[0] for insn in insns] == ["no", "imm", "BPF_LD_IMM64"]


def test_a_cut_slot_is_shown_and_said():
    done = bpfasm("disasm", "-", given=bytes.fromhex(TWO_SLOTS)[:11])
    assert done.returncode == 1
    assert done.stdout == b"0: (b7) r0 = 7\n1: 950000  ; 3 of 8 bytes: the slot is cut short\n"
    assert done.stderr.decode().splitlines()[0] == ("error: -: 11 bytes are 1 slot of 8 and 3 bytes more [cut-slot]")


def test_a_cut_slot_is_one_document():
    done = bpfasm("disasm", "-", "--json", given=bytes.fromhex(TWO_SLOTS)[:11])
    found = document("programs-1", done.stdout)
    assert (done.returncode, done.stderr, found["error"]["rule"]) == (1, b"", "cut-slot")
    assert [insn["text"] for insn in found["programs"][0]["insns"]] == ["(b7) r0 = 7"]
    document("programs-1", bpfasm("disasm", "-", "--json", given=b"\xff\xfe\xfd").stdout)


def test_classic_bpf_as_a_document():
    (program,) = document("programs-1", output("disasm", "tests/data/only_ip.ddd", "--json"))["programs"]
    assert (program["name"], program["insns"][-1]["text"]) == ("only_ip", "(95) exit")


@pytest.mark.parametrize(
    "name, title", [("1 x", "Object1X"), ("01-prog", "Object01Prog"), ("class", "Class"), ("a b", "AB")]
)
def test_an_embedded_objects_class_has_a_name_whatever_the_file_has(name, title):
    text = output("embed", "examples/chowncount.py:percpu", "--name", name).decode()
    compile(text, "module.py", "exec")
    assert f"class {title}(Embedded):" in text


PROGRAM = "from bpfasm.asm import *\np = Program('p', BPF_PROG_TYPE_XDP, [\n    {}\n    BPF_EXIT_INSN(),\n])\n"

#: Files a user may give, with the status, the first line, and how the second begins.
WRONG = {
    "a register in an imm slot": (
        PROGRAM.format("BPF_MOV64_IMM(R0, R1),"),
        1,
        "in.py:3: error: BPF_MOV64_IMM: R1 is a register, and the imm slot takes a number [register-in-imm]",
        "did you mean BPF_MOV64_REG(R0, R1)?",
    ),
    "a label missing": (
        PROGRAM.format('BPF_JMP_A("oot"), label("out"),'),
        1,
        'in.py:3: error: no label "oot" in p [label-missing]',
        'did you mean "out"?',
    ),
    "a label double": (
        PROGRAM.format('label("out"),\n    label("out"),'),
        1,
        'in.py:4: error: the label "out" is defined twice in p [label-twice]',
        "the first is at in.py:3; give one of them another name",
    ),
    "a jump out of range": (
        PROGRAM.format('BPF_JMP_A("out"), *[BPF_MOV64_IMM(R0, 0)] * 32768, label("out"),'),
        1,
        (
            'in.py:3: error: the jump at slot 0 to "out" goes +32768 slots, '
            "and 16 bits reach -32768 to +32767 [jump-range]"
        ),
        "relax=True (link, load) or asm --relax makes it of several; or go by BPF_JMP32_A (from kernel 6.6 on)",
    ),
    "a file that raises": (
        "x = 1\ny = x / 0\n",
        2,
        "in.py:2: error: ZeroDivisionError: division by zero [python-raised]",
        "the file is run to get its Programs, and it raised this",
    ),
    "a file that is no Python": (
        "x = (\n",
        2,
        "in.py:1: error: SyntaxError: '(' was never closed [python-syntax]",
        "x = (",
    ),
    "a file without a program": (
        "x = 1\n",
        2,
        "error: in.py has no Program at module level [no-program]",
        "write one:",
    ),
    "a list in a list": (
        PROGRAM.format("[BPF_MOV64_IMM(R0, 0)],"),
        1,
        "in.py:3: error: item 0 of p is a list of 1 items [nested-list]",
        "a snippet gives several instructions: write a star before it",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("verb", ["asm", "disasm"])
def test_a_wrong_file_gives_two_lines(tmp_path, verb, case):
    text, status, first, second = WRONG[case]
    (tmp_path / "in.py").write_text(text)
    done = bpfasm(verb, "in.py", cwd=tmp_path)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines), lines[0]) == (status, b"", 2, first)
    assert lines[1].startswith(second)


@pytest.mark.parametrize(
    ("words", "given", "status", "first"),
    [
        (["asm", "-"], "b70000000000000", 1, "-:1: error: 15 hex digits are 7 bytes and half a byte [cut-slot]"),
        (["asm", "-"], TWO_SLOTS[:23], 1, "error: -: 11 bytes are 1 slot of 8 and 3 bytes more [cut-slot]"),
        (
            ["asm", "-", "--from", "hex"],
            "b7\nzz",
            1,
            "-:2: error: column 1 has 'z', which is no hex digit [hex-digit]",
        ),
        (["asm", "-"], "", 2, "error: - is empty [input-empty]"),
        (["asm", "nothing.hex"], "", 2, "error: nothing.hex: No such file or directory [input-file]"),
        (["asm"], "", 2, "error: the following arguments are required: INPUT [usage]"),
        (["disasm", "-", "--to", "elf"], "", 2, "error: argument --to: invalid choice: 'elf'"),
        (["disasm", "-", "--cfg", "svg", "--words"], TWO_SLOTS, 2, "error: --cfg and --words do not go together"),
        (["disasm", "-", "--cfg", "dot", "--to", "c"], TWO_SLOTS, 2, "error: --cfg and --to do not go together"),
        (["disasm", "-", "--native", "--cfg", "text"], TWO_SLOTS, 2, "error: --native and --cfg do not go together"),
        (["disasm", "-", "--to", "hex", "--words"], TWO_SLOTS, 2, "error: --to hex and --words do not go together"),
        (["disasm", "-", "--to", "c", "--labels"], TWO_SLOTS, 2, "error: --to c and --labels do not"),
        (["disasm", "-", "--to", "capstone", "--labels"], TWO_SLOTS, 2, "error: --to capstone and --labels do not"),
        (["btf", "show", ""], "", 2, "error: '' names no type [usage]"),
        (["btf", "show", "struct "], "", 2, "error: 'struct ' names no type [usage]"),
        (["lab", "run", "--memory", "-5", "--", "true"], "", 2, "error: --memory: '-5' is no memory for a guest"),
        (["lab", "shell", "--memory", "1.5g"], "", 2, "error: --memory: '1.5g' is no memory for a guest"),
        (["asm", "-", "--bytes"], TWO_SLOTS, 2, "error: --to hex and --bytes do not go together"),
        (["asm", "-", "--byteorder", "big"], TWO_SLOTS, 2, "error: --to hex and --byteorder do not go together"),
        (["assm", "-"], "", 2, "error: there is no verb 'assm' [no-verb]"),
        (["asm", "examples/chowncount.py"], "", 2, "error: examples/chowncount.py has 3 programs: seed, chowncount"),
        (["asm", "examples/chowncount.py:x"], "", 2, "error: examples/chowncount.py has no program x [input-name]"),
        (["asm", "-", "--out", "/no/such/place"], TWO_SLOTS, 2, "error: /no/such/place: No such file or directory"),
    ],
)
def test_a_wrong_call_gives_two_lines(words, given, status, first):
    done = bpfasm(*words, given=given)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (status, b"", 2), lines
    assert lines[0].startswith(first)
    assert lines[1]


def test_an_error_as_json():
    done = bpfasm("asm", "-", "--json", given="b7")
    assert (done.returncode, done.stderr) == (1, b"")
    assert document("error-1", done.stdout)["error"]["rule"] == "cut-slot"


@pytest.mark.parametrize("words", [["disasm", "-", "--cfg", "text"], ["asm", "-", "--to", "elf"], ["disasm", "x:y"]])
def test_with_json_an_error_is_the_document(words):
    done = bpfasm(*words, "--json", given=TWO_SLOTS)
    assert (done.returncode, done.stderr) == (2, b"")
    document("error-1", done.stdout)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["disasm", "--help"], ["ref", "BPF_ANY"], ["x", "--json"]]
)
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_disk_is_two_lines(words, buffered):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    environment = {"PYTHONPATH": str(ROOT)} | ({} if buffered else {"PYTHONUNBUFFERED": "1"})
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bpfasm", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    assert (done.returncode, done.stderr.decode().splitlines()) == (
        3,
        [
            "error: standard output takes no more: No space left on device [output]",
            "make room, or write it elsewhere",
        ],
    )


@pytest.mark.parametrize("columns", [60, 90, 200])
def test_help_is_as_wide_as_the_terminal(columns):
    for verb in set(VERBS) - {"lab"}:  # a list of verbs, in short lines
        done = subprocess.run(
            [sys.executable, "-m", "bpfasm", verb, "--help"],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "COLUMNS": str(columns)},
            check=True,
        )
        told = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
        assert max(map(len, told)) <= min(columns, 112), verb


def test_a_closed_pipe_is_silent():
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m bpfasm disasm - | head -n 1"],
        input=(TWO_SLOTS * 20000).encode(),
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"0: (b7) r0 = 7\n", b"")


@pytest.mark.parametrize("words", [[], ["--help"], ["asm", "--help"], ["disasm", "--help"], ["chowncount", "--help"]])
def test_help_begins_with_two_examples(words):
    done = bpfasm(*words)
    assert done.returncode == (0 if words else 2)
    examples = [line for line in done.stdout.decode().splitlines()[:4] if line.startswith("  ")]
    assert len(examples) == 2
    assert all("bpfasm" in example for example in examples)


@pytest.mark.parametrize("verb", ["asm", "disasm", "lint", "diff", "embed", "ref"])
def test_the_examples_of_help_run_anywhere(verb, tmp_path):
    """As they stand, in a shell, in a folder without a checkout; diff's answer is that they differ."""
    examples = [line.strip() for line in output(verb, "--help").decode().splitlines()[:2]]
    for example in examples:
        done = subprocess.run(
            ["sh", "-c", example.replace("bpfasm", f"{sys.executable} -m bpfasm", 1)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
        assert (done.returncode, done.stderr) == (int(verb == "diff"), b""), example
        assert done.stdout or list(tmp_path.iterdir()) or verb == "lint"


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", "", "0s", "1e999"])
def test_a_time_that_is_none_is_said(text):
    done = bpfasm("chowncount", f"--timeout={text}")
    assert (done.returncode, done.stderr.decode().splitlines()) == (
        2,
        [f"error: --timeout: {text!r} is no time [usage]", "write seconds (2.5) or a unit: 500ms, 30s, 2m"],
    )


@pytest.mark.parametrize(
    "words, seconds",
    [
        ([], 10),
        (["--timeout", "2m"], 120),
        (["--calls", "5"], 0),
        (["--calls", "5", "--timeout", "3"], 3),
        (["--timeout", "0"], 0),
    ],
)
def test_calls_that_were_asked_for_are_made_however_long_they_take(monkeypatch, words, seconds):
    monkeypatch.setattr(place, "run", lambda words, on, needs, here: here())
    monkeypatch.setattr(chowncount, "_count", lambda args: args.timeout)
    assert chowncount.main(words) == seconds
