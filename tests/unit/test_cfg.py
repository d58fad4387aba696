"""Drawings of flow, comparison of programs, and the reference in the terminal."""

import json
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
from support.made_kernel import kernel

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.asm.align import align
from bpfasm.asm.flow import flow
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.isa.helpers import HELPERS
from bpfasm.isa.table import FORMS
from bpfasm.views import cfg, ref
from bpfasm.views.cfg_svg import svg
from bpfasm.views.layers import Layout

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "bpfasm" / "views" / "schemas"


def bpfasm_(*words, given=""):
    command = [sys.executable, "-m", "bpfasm", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, cwd=ROOT, check=False)


LOOP = [
    BPF_MOV64_IMM(R0, 3),
    label("again"),
    BPF_ALU64_IMM(BPF_SUB, R0, 1),
    BPF_JMP_IMM(BPF_JNE, R0, 0, "again"),
    BPF_EXIT_INSN(),
]


def drawn(insns, name="loop"):
    assembled = assemble(Program(name, BPF_PROG_TYPE_XDP, insns))
    return cfg.drawing(assembled, flow(assembled))


def test_text():
    assert list(cfg.text(drawn(LOOP), source=False)) == [
        "loop: 3 blocks",
        "",
        "    L0",
        "         0: r0 = 3",
        "            -> L1 (next)",
        "|",
        "|   L1, loop   <- L0, L1 (back)",
        "|        1: r0 -= 1",
        "|        2: if r0 != 0x0 goto L1",
        "|           -> L3 (else), L1 (if so, back)",
        "",
        "    L3   <- L1",
        "         3: exit",
    ]


def test_source_stands_beside_the_instructions():
    (line,) = [line for line in cfg.text(drawn(LOOP)) if " 0: " in line]
    assert re.search(r"; test_cfg\.py:\d+: BPF_MOV64_IMM\(R0, 3\),$", line)


def test_dead_code_and_functions_are_marked():
    sub = Subprog("sub", [BPF_EXIT_INSN()])
    lines = list(cfg.text(drawn([BPF_CALL_REL(sub), BPF_EXIT_INSN(), BPF_EXIT_INSN()]), source=False))
    assert "    L2, unreachable" in lines
    assert "sub: 1 block, called at 0" in lines
    assert "         0: call sub" in lines


def test_svg_is_xml_with_every_instruction():
    root = ET.fromstring("\n".join(svg(drawn(LOOP))))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text.strip().split("  ")[0] for text in texts if ": r0" in text or "exit" in text] == [
        "0: r0 = 3",
        "1: r0 -= 1",
        "3: exit",
    ]
    assert "if so, back" in texts
    paths = [each.get("class") for each in root.iter("{http://www.w3.org/2000/svg}path")]
    assert sorted(filter(None, paths)) == ["back", "next", "next"]


def test_dot_names_every_edge():
    text = "\n".join(cfg.dot(drawn(LOOP)))
    assert re.findall(r"(b\d) -> (b\d)", text) == [("b0", "b1"), ("b1", "b2"), ("b1", "b1")]


def test_boxes_do_not_overlap_and_edges_go_down():
    source = random.Random(6)
    for _ in range(60):
        count = source.randrange(1, 25)
        edges = list({(source.randrange(count), source.randrange(count)) for _ in range(2 * count)})
        sizes = [(source.uniform(20, 200), source.uniform(20, 90)) for _ in range(count)]
        layout = Layout(sizes, edges)
        boxes = [(*at, *size) for at, size in zip(layout.boxes, sizes, strict=True)]
        for number, (x, y, w, h) in enumerate(boxes):
            assert x >= 0 <= y
            for x2, y2, w2, h2 in boxes[:number]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
        for number, points in enumerate(layout.paths):
            downwards = [y for _, y in points]
            assert number in layout.back or downwards == sorted(downwards)


def test_disasm_draws():
    done = bpfasm_("disasm", "-", "--cfg", "text", given="b700000000000000 9500000000000000")
    assert done.stdout.splitlines()[0] == "stdin: 1 block"
    assert bpfasm_("disasm", "examples/execs.py:by_ring", "--cfg", "svg").stdout.startswith("<svg ")


# diff


def program(*insns):
    return Program("prog", BPF_PROG_TYPE_XDP, [*insns, label("out"), BPF_EXIT_INSN()])


def kinds(a, b):
    return [pair.kind for pair in align(a, b)]


MOV, ADD = BPF_MOV64_IMM(R0, 1), BPF_ALU64_IMM(BPF_ADD, R0, 1)
OUT = BPF_JMP_IMM(BPF_JEQ, R1, 0, "out")


def test_an_added_instruction_does_not_change_the_jumps_over_it():
    assert kinds(program(OUT, MOV), program(OUT, MOV, ADD)) == ["same", "same", "added", "same"]


def test_a_jump_to_another_place_changed():
    second = Program("prog", BPF_PROG_TYPE_XDP, [OUT, MOV, label("out"), ADD, BPF_EXIT_INSN()])
    assert kinds(program(OUT, MOV, ADD), second) == ["changed", "same", "same", "same"]


def test_a_changed_constant_stands_beside_the_old_one():
    assert kinds(program(MOV, ADD), program(BPF_MOV64_IMM(R0, 2), ADD)) == ["changed", "same", "same"]


def test_every_instruction_is_there_once():
    source = random.Random(8)
    for _ in range(50):
        a, b = (program(*(source.choice((MOV, ADD, OUT)) for _ in range(source.randrange(20)))) for _ in "ab")
        pairs = align(a, b)
        assert [pair.a for pair in pairs if pair.a is not None] == list(flow(a).pcs)
        assert [pair.b for pair in pairs if pair.b is not None] == list(flow(b).pcs)
        assert set(kinds(a, a)) == {"same"}


def test_jumps_out_of_the_program_are_compared_by_how_far_they_go():
    five, six = (program(BPF_JMP_A(distance), MOV) for distance in (5, 6))
    assert kinds(five, six) == ["changed", "same", "same"]
    assert kinds(five, five) == ["same"] * 3


def test_a_jump_to_what_is_gone_changed():
    assert kinds(program(BPF_JMP_A(1), MOV, ADD), program(BPF_JMP_A(1), MOV)) == [
        "changed",
        "same",
        "removed",
        "same",
    ]


def test_what_asks_for_the_same_field_is_the_same():
    asks = program(*(BPF_MOV64_IMM(R1, each) for each in (field("task", "tgid"), type_size("task"))))
    data = write_object(asks, types=kernel())
    first, second = (read_object(data, "o").programs[0] for _ in "ab")
    assert set(kinds(first, second)) == {"same"}
    other = program(BPF_MOV64_IMM(R1, field("task", "se")), BPF_MOV64_IMM(R1, type_size("task")))
    assert kinds(first, read_object(write_object(other, types=kernel()), "o").programs[0])[:2] == ["changed", "same"]


def test_diff_on_the_command_line(tmp_path):
    one, other = tmp_path / "one.hex", tmp_path / "other.hex"
    one.write_text("b700000001000000 9500000000000000")
    other.write_text("b700000002000000 9500000000000000")
    done = bpfasm_("diff", str(one), str(other))
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["-     0      : r0 = 1", "+           0: r0 = 2", "      1     1: exit"]
    same = bpfasm_("diff", str(one), str(one))
    assert (same.returncode, same.stdout) == (0, "")
    document = json.loads(bpfasm_("diff", str(one), str(other), "--json").stdout)
    jsonschema.validate(document, json.loads((SCHEMAS / "diff-1.json").read_text()))
    assert [row["kind"] for row in document["rows"]] == ["changed", "same"]


# ref


def test_every_name_of_the_tables_has_an_entry():
    for name in [*(form.name for form in FORMS), *(f"bpf_{name}" for name in HELPERS.values())]:
        assert ref.entries(name), name
    macros = [name for name in bpfasm.asm.__all__ if name.startswith("BPF_")]
    assert [name for name in macros if not ref.entries(name)] == []


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("BPF_MOV64_IMM", "macro", "mov64_imm"),
        ("add64_imm", "instruction", "BPF_ALU64_IMM"),
        ("map_lookup_elem", "helper", "compare with 0"),
        ("BPF_FUNC_probe_read_kernel", "helper", "compatible with the GPL"),
        ("BPF_NOEXIST", "constant", "1"),
        ("XDP_DROP", "constant", "enum xdp_action"),
        ("E2BIG", "errno", "too large"),
        ("524", "errno", "ENOTSUPP"),
        ("-22", "errno", "EINVAL"),
        ("-EINVAL", "errno", "22"),
        ("-524", "errno", "ENOTSUPP"),
        ("lddw", "mnemonic", "ld_imm64"),
        ("STXDW", "mnemonic", "*(u64 *)"),
        ("add64", "mnemonic", "add64_imm"),  # rbpf's
        ("ldabsb", "mnemonic", "ld_abs8"),
        ("goto", "mnemonic", "ja"),
        ("callx", "instruction", "callx"),
        ("core_read", "snippet", "chain of pointers"),
        ("func_arg", "snippet", "snippets"),
        ("BPF_MAP_TYPE_HASH", "map", "lookup"),
        ("BPF_PROG_TYPE_XDP", "program type", "struct xdp_md"),
        ("StackLayout", "bpfasm.asm", "stack"),
    ],
)
def test_what_is_said_of_a_name(name, kind, what):
    (entry,) = [each for each in ref.entries(name) if each.kind == kind]
    assert what in f"{entry.name} {entry.facts}"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("BPF_MOV46_IMM", "BPF_MOV64_IMM"),
        ("lokup_elem", "bpf_map_lookup_elem"),
        ("EPREM", "EPERM"),
        ("hashmap2", "HashMap"),
    ],
)
def test_a_name_that_is_not_there_has_a_nearest_one(asked, meant):
    assert meant in ref.nearest(asked)


@pytest.mark.parametrize("name", ["r0", "r1"])
def test_a_register_is_no_mnemonic(name):
    assert [each.kind for each in ref.entries(name)] == ["register"]


def test_every_word_that_texts_begin_with_is_found():
    for form in FORMS:
        for text in (form.ubpf, form.llvm, form.kernel):
            word = text.partition(" ")[0].partition("(")[0]
            assert not word.isidentifier() or word == "w0" or ref.entries(word), word


def test_an_errno_with_a_minus_is_no_option():
    for word in ("-22", "-EINVAL"):
        assert bpfasm_("ref", word).stdout.startswith("EINVAL: errno\n  number  22\n")
    assert bpfasm_("ref", "-x").returncode == 2


def test_ref_on_the_command_line():
    done = bpfasm_("ref", "BPF_MOV46_IMM")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: nothing is called BPF_MOV46_IMM [ref-unknown]"
    document = json.loads(bpfasm_("ref", "bpf_ringbuf_reserve", "--json").stdout)
    jsonschema.validate(document, json.loads((SCHEMAS / "ref-1.json").read_text()))
