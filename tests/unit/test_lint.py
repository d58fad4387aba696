"""Lint finds mistakes at their lines, and nothing in what is right."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from support.chance import Chance
from support.mistakes import PATH, counts, mistakes, ring, slots

from bpfasm import inputs
from bpfasm.asm import *
from bpfasm.asm.lint import RULES, lint
from bpfasm.asm.lint.values import ways
from bpfasm.errors import BpfasmError
from bpfasm.isa import meaning
from bpfasm.isa.insn import decode

ROOT = Path(__file__).parents[2]
MISTAKES = mistakes()


def rules(insns, type=BPF_PROG_TYPE_SOCKET_FILTER, **more):
    return [(each.rule, each.pc) for each in lint(Program("prog", type, insns), **more)]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.id)
def test_a_mistake_is_found_at_its_line_and_nothing_else(mistake):
    found = lint(mistake.program(), **mistake.options)
    places = [(each.rule, each.source) for each in found]
    assert places == [(mistake.rule, (str(PATH), mistake.line) if mistake.line else None)]
    assert all(each.text and each.fix for each in found)


def test_there_are_mistakes_enough_and_each_rule_has_one():
    assert len(MISTAKES) == 79
    assert set(RULES) == {mistake.rule for mistake in MISTAKES}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_are_silent(path):
    assert [finding for program in inputs.read(str(path)).programs for finding in lint(program)] == []


def test_solutions_of_lessons_are_silent():
    solutions = sorted((ROOT / "lessons").glob("*/solution.py"))
    assert solutions
    for path in solutions:
        assert [finding for program in inputs.read(str(path)).programs for finding in lint(program)] == []


def accepted():
    """Yield (case, kernel) of every program that a kernel took: of the sample here, and of all where they are."""
    sample = json.loads((ROOT / "tests" / "data" / "vlogs" / "accepted" / "programs.json").read_text())
    for case in sample["cases"]:
        yield from (pytest.param(case, kernel, id=f"{case['case']}-{kernel}") for kernel in case["kernels"])
    for index in sorted(ROOT.parent.glob("shared/data/vlogs/*/index.json")):
        for case in json.loads(index.read_text())["cases"]:
            if not case["errno"]:
                yield pytest.param(case, index.parent.name, id=f"all-{case['case']}-{index.parent.name}")


@pytest.mark.parametrize(("case", "kernel"), list(accepted()))
def test_what_a_kernel_took_is_silent(case, kernel):
    program = Program(
        case["case"],
        case["prog_type"],
        decode(bytes.fromhex(case["insns"])),
        license=case["license"],
        expected_attach_type=case["expected_attach_type"],
    )
    assert lint(program) == ()
    assert lint(program, kernel=kernel) == ()


def test_there_is_something_that_each_kernel_took():
    taken = [parameters.values for parameters in accepted()]
    assert {kernel for _, kernel in taken} == {"5.10", "6.1", "6.12", "6.18", "7.2", "7.3"}
    assert len({case["case"] for case, _ in taken}) >= 15


CORRECT = {
    "a loop with an end": [
        BPF_MOV64_IMM(R0, 0),
        BPF_MOV64_IMM(R2, 1000),
        label("again"),
        BPF_ALU64_IMM(BPF_ADD, R0, 1),
        BPF_ALU64_IMM(BPF_SUB, R2, 1),
        BPF_JMP_IMM(BPF_JNE, R2, 0, "again"),
        BPF_EXIT_INSN(),
    ],
    "what a constant never lets run may be anything": [
        BPF_MOV64_IMM(R0, 0),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_REG(R0, R9),
        BPF_ALU64_IMM(BPF_LSH, R0, 99),
        BPF_ST_MEM(BPF_W, R10, 8, 0),
        label("out"),
        BPF_EXIT_INSN(),
    ],
    "two conditions on the same number": [
        BPF_LDX_MEM(BPF_W, R2, R1, 0),
        BPF_MOV64_IMM(R0, 0),
        BPF_JMP_IMM(BPF_JGT, R2, 5, "big"),
        BPF_MOV64_IMM(R7, 1),
        label("big"),
        BPF_JMP_IMM(BPF_JGT, R2, 5, "out"),
        BPF_MOV64_REG(R0, R7),
        label("out"),
        BPF_EXIT_INSN(),
    ],
    "a spilled register": [
        BPF_STX_MEM(BPF_DW, R10, R1, -8),
        BPF_EMIT_CALL(BPF_FUNC_get_prandom_u32),
        BPF_LDX_MEM(BPF_DW, R1, R10, -8),
        BPF_LDX_MEM(BPF_W, R0, R1, 0),
        BPF_EXIT_INSN(),
    ],
    "a function that returns nothing": [
        BPF_CALL_REL(Subprog("nothing", [BPF_EXIT_INSN()])),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
    "a callback": [
        BPF_MOV64_IMM(R1, 10),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, Subprog("each", [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]), 0),
        BPF_MOV64_IMM(R3, 0),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_loop),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
}


@pytest.mark.parametrize("name", CORRECT)
def test_what_is_right_is_silent(name):
    assert rules(CORRECT[name]) == []


def test_a_path_is_told():
    insns = [
        BPF_LDX_MEM(BPF_W, R2, R1, 0),
        BPF_MOV64_IMM(R0, 0),
        BPF_JMP_IMM(BPF_JEQ, R2, 3, 1),
        BPF_MOV64_IMM(R7, 1),
        BPF_MOV64_REG(R0, R7),
        BPF_EXIT_INSN(),
    ]
    (finding,) = lint(Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, insns))
    assert finding.text == "R7 is read, and nothing has written it where slot 2 jumps"


def test_packets_are_of_programs_that_have_them():
    """To a socket filter the same bytes of the context are a number."""
    insns = [BPF_LDX_MEM(BPF_W, R2, R1, 76), BPF_LDX_MEM(BPF_B, R0, R2, 0), BPF_EXIT_INSN()]
    assert rules(insns, BPF_PROG_TYPE_SCHED_CLS) == [("packet-check", 1)]
    assert rules(insns, BPF_PROG_TYPE_KPROBE) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("r11 = 5", "R11 is the kernel's own, for what it puts into programs that it has taken"),
        ("r0 = r12", "R12 is the kernel's own, for what it puts into programs that it has taken"),
        ("*(u64 *)(r11 -8) = r1", None),
    ],
)
def test_registers_of_the_kernel(text, said, tmp_path):
    (tmp_path / "text").write_text(f"{text}\nr0 = 0\nexit\n")
    (program,) = inputs.read(str(tmp_path / "text")).programs
    assert [(each.rule, each.pc, each.text) for each in lint(program)] == ([("no-register", 0, said)] if said else [])


def test_an_array_may_do_without_a_check_from_618_on():
    insns = [
        BPF_ST_MEM(BPF_W, R10, -4, 0),
        BPF_LD_MAP_FD(R1, slots),
        BPF_MOV64_REG(R2, R10),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_LDX_MEM(BPF_DW, R0, R0, 0),
        BPF_EXIT_INSN(),
    ]
    assert rules(insns) == []
    assert rules(insns, kernel="6.12") == [("no-null-check", 6)]
    assert rules(insns, kernel="6.18") == []


@pytest.mark.parametrize(
    ("type", "more", "kernel", "found"),
    [
        (BPF_PROG_TYPE_KPROBE, {"attach": kprobe_multi("vfs_read")}, "5.10",
         "BPF_TRACE_KPROBE_MULTI came with Linux 5.18"),
        (BPF_PROG_TYPE_KPROBE, {"attach": kprobe_multi("vfs_read")}, "5.18", None),
        (BPF_PROG_TYPE_KPROBE, {"expected_attach_type": BPF_TRACE_UPROBE_SESSION}, "6.12",
         "BPF_TRACE_UPROBE_SESSION came with Linux 6.13"),
        (BPF_PROG_TYPE_SCHED_CLS, {"attach": tcx("lo", "ingress")}, "6.1", "BPF_TCX_INGRESS came with Linux 6.6"),
        (BPF_PROG_TYPE_SCHED_CLS, {"attach": tc("lo", "ingress")}, "5.10", None),
        (BPF_PROG_TYPE_XDP, {"flags": BPF_F_XDP_HAS_FRAGS}, "5.10", "BPF_F_XDP_HAS_FRAGS came with Linux 5.18"),
        (BPF_PROG_TYPE_XDP, {"expected_attach_type": BPF_XDP}, "5.4", None),  # which takes it by netlink
        (BPF_PROG_TYPE_NETFILTER, {"expected_attach_type": BPF_NETFILTER}, "5.10",
         "programs of type BPF_PROG_TYPE_NETFILTER came with Linux 6.4"),
    ],
)  # fmt: skip
def test_what_a_program_is_attached_by_may_be_too_new(type, more, kernel, found):
    program = Program("prog", type, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()], **more)
    assert [each.text for each in lint(program, kernel=kernel)] == ([found] if found else [])
    assert lint(program) == ()


def test_when_attach_types_and_flags_came_is_what_is_probed():
    from bpfasm.asm.attach_types import ATTACH_TYPES, LOAD_FLAGS
    from bpfasm.elf.sections import ROWS
    from bpfasm.uapi import bpf

    known = [each for *_, types in ATTACH_TYPES for each in types]
    assert len(known) == len(set(known))
    assert {row.attach_type for row in ROWS} - {0} <= set(known)
    assert all(isinstance(getattr(bpf, name), int) for name, *_ in LOAD_FLAGS)


# Ranges

COMPARE = {
    "jeq": lambda a, b: a == b,
    "jne": lambda a, b: a != b,
    "jset": lambda a, b: a & b != 0,
    **{f"j{sign}gt": lambda a, b: a > b for sign in ("", "s")},
    **{f"j{sign}ge": lambda a, b: a >= b for sign in ("", "s")},
    **{f"j{sign}lt": lambda a, b: a < b for sign in ("", "s")},
    **{f"j{sign}le": lambda a, b: a <= b for sign in ("", "s")},
}


@pytest.mark.parametrize("operation", COMPARE)
@pytest.mark.parametrize("bits", [32, 64])
def test_what_is_left_of_a_range_goes_that_way(operation, bits):
    source = random.Random(f"{operation}{bits}")
    edges = (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
    read = {("s", 32): meaning.s32, ("s", 64): meaning.s64, ("u", 32): meaning.u32, ("u", 64): meaning.u64}
    as_number = read["s" if operation[1] == "s" and operation != "jset" else "u", bits]

    def one():
        return source.choice(edges) if source.random() < 0.5 else source.getrandbits(source.choice((4, 31, 33, 64)))

    for _ in range(2000):
        low, high = sorted((one(), one()))
        bound = one()
        for holds, left in zip((True, False), ways(operation, low, high, bound, bits), strict=True):
            if left is None:
                continue
            assert low <= left[0] <= left[1] <= high
            for number in (*left, source.randint(*left)):
                assert COMPARE[operation](as_number(number), as_number(bound)) is holds


def test_small_ranges_are_followed_both_ways_where_they_can():
    """Against all numbers of the range: a side is empty only where none goes there, but for jset."""
    for operation in COMPARE.keys() - {"jset"}:
        for low in range(6):
            for high in range(low, 6):
                for bound in range(7):
                    sides = ways(operation, low, high, bound, 64)
                    there = {COMPARE[operation](number, bound) for number in range(low, high + 1)}
                    assert {holds for holds, side in zip((True, False), sides, strict=True) if side} == there


# Anything


def test_any_bytes_get_an_answer():
    source = random.Random(7)
    for _ in range(400):
        data = source.randbytes(8 * source.randrange(1, 20))
        lint(Program("any", source.randrange(34), decode(data)))


def test_any_program_gets_an_answer():
    for seed in range(300):
        try:
            lint(Chance(seed).program(counts, slots, ring), kernel="5.10", isa="v1")
        except BpfasmError as error:
            assert error.rule == "jump-range"


def test_a_long_program_is_done_in_bounded_steps():
    """3,000 instructions, half of them conditions on a number that nobody knows."""
    source = random.Random(1)
    body = [BPF_LDX_MEM(BPF_W, R2, R1, 0), BPF_MOV64_IMM(R0, 0)]
    for _ in range(1_500):
        body += [BPF_JMP_IMM(BPF_JEQ, R2, source.randrange(1 << 30), 1), BPF_ALU64_IMM(BPF_ADD, R0, 1)]
    assert rules([*body, BPF_EXIT_INSN()]) == []


# The command line


def bpfasm(*words, given=""):
    command = [sys.executable, "-m", "bpfasm", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT, check=False)


FILE = """from bpfasm.asm import *

prog = Program("prog", BPF_PROG_TYPE_XDP, [
    BPF_MOV64_REG(R0, R4),
    BPF_EXIT_INSN(),
])
"""


def test_two_lines_for_each_and_status_1(tmp_path):
    path = tmp_path / "prog.py"
    path.write_text(FILE)
    done = bpfasm("lint", str(path))
    assert done.stdout.splitlines() == [
        f"{path}:4:5: error: R4 is read, and nothing has written it [unwritten]",
        "set R4 first",
    ]
    assert (done.returncode, done.stderr) == (1, "")


def test_silence_is_status_0():
    done = bpfasm("lint", "examples/execs.py", "--kernel", "5.10")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_bytes_have_slots_for_lines():
    done = bpfasm("lint", "-", "--json", given="bf40000000000000 9500000000000000")
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((ROOT / "bpfasm/views/schemas/lint-1.json").read_text()))
    (finding,) = document["programs"][0]["findings"]
    assert (finding["rule"], finding["pc"], finding["source"]) == ("unwritten", 0, None)
    assert bpfasm("lint", "-", given="bf40000000000000 9500000000000000").stdout.startswith(
        "stdin: slot 0: error: R4"
    )


def test_a_version_is_two_numbers():
    done = bpfasm("lint", "examples/execs.py", "--kernel", "new")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --kernel: 'new' is no version")


def test_every_rule_has_a_paragraph():
    text = (ROOT / "docs" / "lint.rst").read_text()
    assert set(re.findall(r"^([a-z-]+)\n\^+\n", text, re.M)) == set(RULES)


def test_a_program_from_the_kernel_is_none_to_lint(monkeypatch, capsys):
    from bpfasm.cli import lint as verb
    from bpfasm.errors import InputError

    given = inputs.Input("id:1", (Program("dump", BPF_PROG_TYPE_XDP, []),), names=(None,))
    monkeypatch.setattr(inputs, "read", lambda *_, **__: given)
    with pytest.raises(InputError) as caught:
        verb.main(["id:1"])
    assert caught.value.rule == "lint-dump"
