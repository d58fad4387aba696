"""Snippets: what they expand to is in their docstrings, which are tests; here is what holds for all of them."""

import pytest

from bpfasm.asm import *
from bpfasm.asm import snippets
from bpfasm.asm.snippets import count, perf_output, ringbuf_output, ringbuf_reserve, ringbuf_submit, ringbuf_watermark
from bpfasm.asm.syntax.macro import body
from bpfasm.errors import OperandError

events = RingBuf("events", max_entries=4096)
buffers = PerfEventArray("buffers")
lost = PerCpuArrayMap("lost", value=u64, max_entries=1)
table = HashMap("table", key=u32, value=u64, max_entries=1)


class Event(Record):
    number = u64()
    pid = u32()
    port = u32()


def test_each_says_what_it_changes_and_what_it_takes():
    for name, snippet in vars(snippets).items():
        if callable(snippet):
            assert ">>> print(body(" in snippet.__doc__, name
            assert "Changes R" in snippet.__doc__, name
            assert "tack" in snippet.__doc__, name


def test_an_expansion_stands_where_it_was_called():
    items = [*ringbuf_reserve(events, Event, "full", lost=lost, key=-4)]
    line = items[0].source[1]
    assert {item.source for item in items} == {(__file__, line)}
    assert line == test_an_expansion_stands_where_it_was_called.__code__.co_firstlineno + 1


def test_twice_in_one_body():
    program = Program(
        "twice",
        BPF_PROG_TYPE_SOCKET_FILTER,
        [
            *ringbuf_reserve(events, Event, "full", lost=lost, key=-4),
            *ringbuf_submit(),
            *ringbuf_reserve(events, Event, "full", lost=lost, key=-4),
            *ringbuf_submit(),
            label("full"),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )
    assert len(link(program).insns) > 30


@pytest.mark.parametrize("size", [Event, 16, raw(16)])
def test_a_size_is_a_record_a_type_or_a_number(size):
    assert ringbuf_reserve(events, size, "full")[1] == BPF_MOV64_IMM(R2, 16)
    assert ringbuf_output(events, -16, size, "full")[3] == BPF_MOV64_IMM(R3, 16)
    assert perf_output(R6, buffers, -16, size)[5] == BPF_MOV64_IMM(R5, 16)


def test_labels_may_be_objects():
    full = Label("full")
    assert ringbuf_reserve(events, 8, full)[-1] == BPF_JMP_IMM(BPF_JEQ, R0, 0, full)
    assert body(ringbuf_reserve(events, 8, full)).endswith('BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, "full")')


def test_an_output_that_counts():
    text = body(ringbuf_output(events, -16, Event, "full", flags=BPF_RB_FORCE_WAKEUP, lost=lost, key=-24))
    assert "BPF_MOV64_IMM(BPF_REG_4, 2)" in text
    assert text.endswith('label("counted")\nBPF_JMP_A("full")\nlabel("reserved")')
    assert 'BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, "reserved")\nBPF_ST_MEM(BPF_W, BPF_REG_10, -24, 0)' in text


def test_a_body_as_it_is_written():
    """Labels, subprograms and maps by their names, before they are numbers."""
    function = Subprog("function", [BPF_EXIT_INSN()])
    items = [
        label("again"),
        BPF_CALL_REL(function),
        BPF_CALL_REL("again"),
        BPF_JMP32_A("again"),
        BPF_JMP_A(Label("there")),
        BPF_JMP_A(-3),
        BPF_LD_MAP_FD(R1, table),
    ]
    assert body(items).splitlines() == [
        'label("again")',
        "BPF_CALL_REL(function)",
        'BPF_CALL_REL("again")',
        'BPF_JMP32_A("again")',
        'BPF_JMP_A("there")',
        "BPF_JMP_A(-3)",
        "BPF_LD_MAP_FD(BPF_REG_1, table)",
    ]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (
            lambda: ringbuf_reserve(table, 8, "full"),
            "<map table> is of type BPF_MAP_TYPE_HASH, and a map of type BPF",
        ),
        (lambda: ringbuf_reserve("events", 8, "full"), "'events', and a map of type BPF_MAP_TYPE_RINGBUF belongs"),
        (lambda: ringbuf_reserve(events, 8, 3), "ringbuf_reserve: 3 is no label"),
        (lambda: ringbuf_reserve(events, 8, "full", lost=lost), "takes an index on the stack"),
        (lambda: ringbuf_reserve(events, 8, "full", lost=table, key=-4), "a map of type BPF_MAP_TYPE_PERCPU_ARRAY"),
        (lambda: ringbuf_output(events, -8, 16, "full"), "-8 is no place for 16 bytes on the stack"),
        (lambda: ringbuf_output(events, 0, 0, "full", lost=lost, key=-520), "-520 is no place for 4 bytes"),
        (lambda: ringbuf_submit("R6"), "'R6' is no register"),
        (lambda: ringbuf_submit(11), "11 is no register"),
        (lambda: ringbuf_submit(R6, flags=R1), "the flags cannot be in R1"),
        (lambda: ringbuf_watermark(buffers, 100), "ringbuf_watermark: <map buffers> is of type"),
        (lambda: perf_output(R6, events, -8, 8), "BPF_MAP_TYPE_PERF_EVENT_ARRAY belongs there"),
        (lambda: perf_output(R6, buffers, -8, 8, 5), "perf_output: 5 is no label"),
        (lambda: count(table, key=-4), "a map of type BPF_MAP_TYPE_ARRAY or BPF_MAP_TYPE_PERCPU_ARRAY"),
        (lambda: count(lost, key=-3), "-3 is no place for 4 bytes"),
    ],
)
def test_what_is_refused(call, what):
    with pytest.raises(OperandError) as caught:
        call()
    assert what in caught.value.what
    assert caught.value.do
    assert caught.value.rule == "snippet-operand"
    assert caught.value.source[0] == __file__
