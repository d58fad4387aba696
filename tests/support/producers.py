"""Programs that send numbered events when they are told to, as many as they are told to."""

import struct

from bpfasm.asm import *
from bpfasm.asm.snippets import (
    perf_output,
    ringbuf_discard,
    ringbuf_output,
    ringbuf_reserve,
    ringbuf_submit,
    ringbuf_watermark,
)
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from support.zygote import IN_GUEST

#: Many events, of which buffers of a page are full many times over: an emulated guest takes long for more.
MANY = 2_000 if IN_GUEST else 10_000

#: The most events that one run sends.
BURST = 64

#: The longest text.
TEXT = 128


class Event(Record):
    number = u64("which it is")
    time = u64("bpf_ktime_get_ns()")
    cpu = u32("where it was made")
    tag = u32("what the run was told")


stack = StackLayout(event=Event, key=u32, text=TEXT)


def numbered(name, send):
    """Return a raw tracepoint's program that does ``send`` with each event, which is on the stack.

    Its arguments are the first number, how many, and a tag. R6 is the context, R8 the number; "next" is where a
    round ends, R0 to R5 are free.
    """
    return Program(
        name,
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        [
            BPF_MOV64_REG(R6, R1),
            BPF_LDX_MEM(BPF_DW, R8, R6, 0),
            BPF_LDX_MEM(BPF_DW, R9, R6, 8),
            BPF_JMP_IMM(BPF_JGT, R9, BURST, "out"),
            BPF_LDX_MEM(BPF_DW, R1, R6, 16),
            BPF_STX_MEM(BPF_W, FP, R1, stack.event + Event.tag.off),
            BPF_MOV64_IMM(R7, 0),
            label("again"),
            BPF_JMP_REG(BPF_JGE, R7, R9, "out"),
            BPF_STX_MEM(BPF_DW, FP, R8, stack.event + Event.number.off),
            BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
            BPF_STX_MEM(BPF_DW, FP, R0, stack.event + Event.time.off),
            BPF_EMIT_CALL(BPF_FUNC_get_smp_processor_id),
            BPF_STX_MEM(BPF_W, FP, R0, stack.event + Event.cpu.off),
            *send,
            label("next"),
            BPF_ALU64_IMM(BPF_ADD, R8, 1),
            BPF_ALU64_IMM(BPF_ADD, R7, 1),
            BPF_JMP_A("again"),
            label("out"),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )


def by_output(ring, lost=None, flags=0):
    """Return a program that copies events into a ring."""
    send = ringbuf_output(ring, stack.event, Event, "next", flags=flags, lost=lost, key=lost and stack.key)
    return numbered("by_output", send)


def by_reserve(ring, lost=None, flags=0, watermark=None, discard_odd=False):
    """Return a program that writes events in their place in a ring, and may discard those of odd numbers."""
    copy = [
        insn
        for field in Event.fields
        for insn in (
            BPF_LDX_MEM(field.bpf_size, R1, FP, stack.event + field.off),
            BPF_STX_MEM(field.bpf_size, R0, R1, field.off),
        )
    ]
    send = [*ringbuf_reserve(ring, Event, "next", lost=lost, key=lost and stack.key), *copy]
    if discard_odd:
        discard = [BPF_JMP_IMM(BPF_JSET, R8, 1, "odd"), *ringbuf_submit(), BPF_JMP_A("next"), label("odd")]
        send += [*discard, *ringbuf_discard(flags=BPF_RB_NO_WAKEUP)]
    elif watermark is None:
        send += ringbuf_submit(flags=flags)
    else:
        # The number is on the stack, so R8 may hold the event meanwhile.
        send += [BPF_MOV64_REG(R8, R0), *ringbuf_watermark(ring, watermark), *ringbuf_submit(R8, flags=R0)]
        send += [BPF_LDX_MEM(BPF_DW, R8, FP, stack.event + Event.number.off)]
    return numbered("by_reserve", send)


def by_perf(events):
    """Return a program that copies events into perf buffers; what fails is left out."""
    return numbered("by_perf", perf_output(R6, events, stack.event, Event))


def texts(name, send):
    """Return a program that does ``send`` with a text of as many bytes as its first argument says, in R7.

    Each byte is the second argument. "out" is the end; R6 is the context.
    """
    fill = [BPF_STX_MEM(BPF_B, FP, R8, stack.text + at) for at in range(TEXT)]
    return Program(
        name,
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        [
            BPF_MOV64_REG(R6, R1),
            BPF_LDX_MEM(BPF_DW, R7, R6, 0),
            BPF_LDX_MEM(BPF_DW, R8, R6, 8),
            BPF_JMP_IMM(BPF_JGT, R7, TEXT, "out"),
            *fill,
            *send,
            label("out"),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )


def texts_by_output(ring):
    """Return a program that copies texts into a ring."""
    send = [
        BPF_LD_MAP_FD(R1, ring),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, stack.text),
        BPF_MOV64_REG(R3, R7),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_ringbuf_output),
    ]
    return texts("texts", send)


def texts_by_perf(events):
    """Return a program that copies texts into perf buffers."""
    send = [
        BPF_MOV64_REG(R1, R6),
        BPF_LD_MAP_FD(R2, events),
        BPF_MOV32_IMM(R3, BPF_F_CURRENT_CPU),
        BPF_MOV64_REG(R4, FP),
        BPF_ALU64_IMM(BPF_ADD, R4, stack.text),
        BPF_MOV64_REG(R5, R7),
        BPF_EMIT_CALL(BPF_FUNC_perf_event_output),
    ]
    return texts("texts", send)


def run(program, *arguments, cpu=None):
    """Run a loaded raw tracepoint's program with its arguments, on a CPU if one is given; return what it returns."""
    context = struct.pack(f"={len(arguments)}Q", *arguments)
    fields = {} if cpu is None else {"cpu": cpu, "flags": BPF_F_TEST_RUN_ON_CPU}
    return bpf.prog_test_run(prog_fd=program.fd, ctx_in=buffer(context), ctx_size_in=len(context), **fields)["retval"]


def produce(program, first, count, tag=0, cpu=None):
    """Let a program send events ``first`` to ``first + count - 1``."""
    for start in range(first, first + count, BURST):
        run(program, start, min(BURST, first + count - start), tag, cpu=cpu)
