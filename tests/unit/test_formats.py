"""The format files of tracepoints, and their fields as operands."""

import random

import pytest

from bpfasm.asm import *
from bpfasm.asm.attach.format import FormatField, parse_format
from bpfasm.errors import DecodeError, LinkError

TEXT = """name: sched_thing
ID: 315
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:char prev_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t prev_pid;	offset:24;	size:4;	signed:1;
	field:const char * filename;	offset:32;	size:8;	signed:0;
	field:__data_loc char[] name;	offset:40;	size:4;	signed:0;
	field:unsigned long args[6];	offset:48;	size:48;	signed:0;
	field:const char **argv;	offset:96;	size:8;	signed:0;

print fmt: "prev_comm=%s field:x;", REC->prev_comm
"""
HERE = tracepoint("sched", "sched_thing")
TARGET = Target(tracepoints={("sched", "sched_thing"): parse_format(TEXT)})


def test_what_a_format_says():
    format = parse_format(TEXT)
    assert (format.name, format.id) == ("sched_thing", 315)
    assert [*format.fields.values()] == [
        FormatField("common_type", "unsigned short", 0, 2, False),
        FormatField("common_pid", "int", 4, 4, True),
        FormatField("prev_comm", "char[16]", 8, 16, False),
        FormatField("prev_pid", "pid_t", 24, 4, True),
        FormatField("filename", "const char *", 32, 8, False),
        FormatField("name", "__data_loc char[]", 40, 4, False),
        FormatField("args", "unsigned long[6]", 48, 48, False),
        FormatField("argv", "const char **", 96, 8, False),
    ]


def test_any_text_is_a_format_or_an_error():
    chance = random.Random(11)
    parts = [*TEXT, "field:", ";", "offset:", "9" * 30, "\n", "ID: ", "\0", "é", "[", "]"]
    for _ in range(500):
        at, until = sorted(chance.choices(range(len(TEXT)), k=2))
        text = TEXT[:at] + "".join(chance.choices(parts, k=chance.randrange(8))) + TEXT[until:]
        try:
            parse_format(text)
        except DecodeError as error:
            assert error.rule == "format"


@pytest.mark.parametrize("length", range(0, len(TEXT), 7))
def test_a_format_that_is_cut_short(length):
    try:
        found = parse_format(TEXT[:length])
    except DecodeError as error:
        assert error.do
    else:
        whole = parse_format(TEXT).fields  # a number may be cut, or a name that comes later
        assert all(whole[name].type == field.type for name, field in [*found.fields.items()][:-1])


def linked(*insns):
    return link(Program("reads", BPF_PROG_TYPE_TRACEPOINT, insns, attach=HERE), TARGET).insns


def test_fields_stand_where_numbers_stand():
    insns = linked(
        BPF_LDX_MEM(BPF_W, R2, R1, HERE.field("prev_pid")),
        BPF_LDX_MEM(BPF_DW, R2, R1, HERE.field("filename")),
        BPF_LDX_MEM(BPF_DW, R2, R1, HERE.field("args")),  # the first of them
        BPF_ALU64_IMM(BPF_ADD, R1, HERE.field("prev_comm")),
        BPF_MOV64_IMM(R2, HERE.field("prev_comm").size),
        BPF_LD_IMM64(R2, HERE.field("args").size),
    )
    assert [insn.off for insn in insns[:3]] == [24, 32, 48]
    assert [insn.imm for insn in insns[3:]] == [8, 16, 48]


@pytest.mark.parametrize(
    ("size", "name", "what", "do"),
    [
        (
            BPF_W,
            "prev_pdi",
            "the record of tracepoint sched:sched_thing has no field prev_pdi",
            "did you mean prev_pid?",
        ),
        (
            BPF_W,
            "xyz",
            "the record of tracepoint sched:sched_thing has no field xyz",
            "its fields are prev_comm, prev",
        ),
        (BPF_DW, "prev_pid", "sched_thing.prev_pid (pid_t) has 4 bytes here, and 8 are loaded", "load it with BPF_W"),
        (BPF_W, "common_pid", "sched_thing.common_pid is none of the fields that a program may read", "helpers tell"),
    ],
)
def test_what_is_wrong_with_a_field(size, name, what, do):
    with pytest.raises(LinkError) as caught:
        linked(BPF_LDX_MEM(size, R2, R1, HERE.field(name)))
    assert caught.value.rule == "tracepoint-field"
    assert caught.value.what == what
    assert caught.value.do.startswith(do)


def test_without_a_target_it_stays_unresolved():
    program = Program("reads", BPF_PROG_TYPE_TRACEPOINT, [BPF_LDX_MEM(BPF_W, R2, R1, HERE.field("prev_pid"))])
    done = link(program)
    assert [str(operand) for _, operand, _ in done.unresolved] == [f"tracepoint({HERE.group}:sched_thing.prev_pid)"]
    with pytest.raises(LinkError, match="the target has no tracepoint sched:sched_thing"):
        link(program, Target(tracepoints={}))
