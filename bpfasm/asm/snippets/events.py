"""Snippets that send events to user space, by a ring buffer or by perf buffers.

``lost`` is a per-CPU array of u64, whose element 0 counts what found no place: a ring buffer does not say that by
itself. Give it to the reader too, and ``reader.lost`` has the sum. ``key`` is where 4 bytes of the stack are free,
for its index. Without them nothing is counted.
"""

from __future__ import annotations

from bpfasm.asm.macros import (
    BPF_ALU64_IMM,
    BPF_EMIT_CALL,
    BPF_JMP_A,
    BPF_JMP_IMM,
    BPF_LD_MAP_FD,
    BPF_MOV32_IMM,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
)
from bpfasm.asm.snippets.expand import a_label, a_map, a_register, expanded, on_stack, refused
from bpfasm.asm.snippets.maps import count
from bpfasm.asm.symbols import Label, label
from bpfasm.asm.types import size_of_type
from bpfasm.isa.operands import BPF_ADD, BPF_JEQ, BPF_JGE, BPF_JNE, FP, R0, R1, R2, R3, R4, R5, Reg
from bpfasm.uapi.bpf import (
    BPF_F_CURRENT_CPU,
    BPF_MAP_TYPE_PERCPU_ARRAY,
    BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    BPF_MAP_TYPE_RINGBUF,
    BPF_RB_AVAIL_DATA,
    BPF_RB_FORCE_WAKEUP,
    BPF_RB_NO_WAKEUP,
    BPF_FUNC_perf_event_output,
    BPF_FUNC_ringbuf_discard,
    BPF_FUNC_ringbuf_output,
    BPF_FUNC_ringbuf_query,
    BPF_FUNC_ringbuf_reserve,
    BPF_FUNC_ringbuf_submit,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.maps import MapSpec
    from bpfasm.asm.program import Item


def ringbuf_reserve(
    ring: MapSpec, size: Any, full: str | Label, *, lost: MapSpec | None = None, key: int | None = None
) -> list[Item]:
    """Reserve an event in a ring buffer: R0 points at it; where the ring is full, count that and go to ``full``.

    ``size`` is a Record, a type, or a number of bytes. The event is to be written whole, and to be submitted or
    discarded on every path: the verifier sees to the second. Changes R0 to R5. Stack: with ``lost``, 4 bytes at
    ``key``.

    >>> from bpfasm.asm import PerCpuArrayMap, RingBuf, u64
    >>> from bpfasm.asm.syntax.macro import body
    >>> events = RingBuf("events", max_entries=4096)
    >>> lost = PerCpuArrayMap("lost", value=u64, max_entries=1)
    >>> print(body(ringbuf_reserve(events, 24, "out", lost=lost, key=-4)))
    BPF_LD_MAP_FD(BPF_REG_1, events)
    BPF_MOV64_IMM(BPF_REG_2, 24)
    BPF_MOV64_IMM(BPF_REG_3, 0)
    BPF_EMIT_CALL(BPF_FUNC_ringbuf_reserve)
    BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, "reserved")
    BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0)
    BPF_MOV64_REG(BPF_REG_2, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4)
    BPF_LD_MAP_FD(BPF_REG_1, lost)
    BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem)
    BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, "counted")
    BPF_MOV64_IMM(BPF_REG_1, 1)
    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, 0)
    label("counted")
    BPF_JMP_A("out")
    label("reserved")
    """
    a_map("ringbuf_reserve", ring, BPF_MAP_TYPE_RINGBUF)
    call = [
        BPF_LD_MAP_FD(R1, ring),
        BPF_MOV64_IMM(R2, size_of_type(size)),
        BPF_MOV64_IMM(R3, 0),
        BPF_EMIT_CALL(BPF_FUNC_ringbuf_reserve),
    ]
    return expanded(*call, *_or_lost("ringbuf_reserve", full, lost, key, none=True))


def ringbuf_output(
    ring: MapSpec,
    data: int,
    size: Any,
    full: str | Label,
    *,
    flags: int = 0,
    lost: MapSpec | None = None,
    key: int | None = None,
) -> list[Item]:
    """Copy an event from the stack at ``data`` into a ring buffer; where it is full, count that and go to ``full``.

    ``size`` is a Record, a type, or a number of bytes; ``flags`` as in ``ringbuf_submit``. Changes R0 to R5. Stack:
    with ``lost``, 4 bytes at ``key``.

    >>> from bpfasm.asm import RingBuf
    >>> from bpfasm.asm.syntax.macro import body
    >>> events = RingBuf("events", max_entries=4096)
    >>> print(body(ringbuf_output(events, -24, 24, "out")))
    BPF_LD_MAP_FD(BPF_REG_1, events)
    BPF_MOV64_REG(BPF_REG_2, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -24)
    BPF_MOV64_IMM(BPF_REG_3, 24)
    BPF_MOV64_IMM(BPF_REG_4, 0)
    BPF_EMIT_CALL(BPF_FUNC_ringbuf_output)
    BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, "out")
    """
    a_map("ringbuf_output", ring, BPF_MAP_TYPE_RINGBUF)
    length = size_of_type(size)
    call = [
        BPF_LD_MAP_FD(R1, ring),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, on_stack("ringbuf_output", data, length)),
        BPF_MOV64_IMM(R3, length),
        BPF_MOV64_IMM(R4, flags),
        BPF_EMIT_CALL(BPF_FUNC_ringbuf_output),
    ]
    return expanded(*call, *_or_lost("ringbuf_output", full, lost, key, none=False))


def ringbuf_submit(record: Reg | int = R0, *, flags: Reg | int = 0) -> list[Item]:
    """Let user space have the event that a register points at.

    ``flags``: 0 wakes a reader that has read all before it, BPF_RB_NO_WAKEUP nobody, BPF_RB_FORCE_WAKEUP whoever
    waits; or the register that holds them. Changes R0 to R5. No stack.

    >>> from bpfasm.asm import R0, R6
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(ringbuf_submit(R6, flags=R0)))
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_6)
    BPF_MOV64_REG(BPF_REG_2, BPF_REG_0)
    BPF_EMIT_CALL(BPF_FUNC_ringbuf_submit)
    """
    return _commit("ringbuf_submit", BPF_FUNC_ringbuf_submit, record, flags)


def ringbuf_discard(record: Reg | int = R0, *, flags: Reg | int = 0) -> list[Item]:
    """Drop the event that a register points at; readers pass over it.

    ``flags`` as in ``ringbuf_submit``: without, this wakes a reader too. Changes R0 to R5. No stack.

    >>> from bpfasm.asm import BPF_RB_NO_WAKEUP
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(ringbuf_discard(flags=BPF_RB_NO_WAKEUP)))
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_0)
    BPF_MOV64_IMM(BPF_REG_2, 1)
    BPF_EMIT_CALL(BPF_FUNC_ringbuf_discard)
    """
    return _commit("ringbuf_discard", BPF_FUNC_ringbuf_discard, record, flags)


def ringbuf_watermark(ring: MapSpec, size: int) -> list[Item]:
    """Leave in R0 the flags for a submit that wakes a reader from ``size`` bytes waiting on, and not before.

    A wake-up costs more than many events. The reader's timeout then bounds how long the first one waits. Write
    ``*ringbuf_submit(R6, flags=R0)`` behind it. Changes R0 to R5: keep the event in R6 to R9. No stack.

    >>> from bpfasm.asm import RingBuf
    >>> from bpfasm.asm.syntax.macro import body
    >>> events = RingBuf("events", max_entries=1 << 20)
    >>> print(body(ringbuf_watermark(events, 1 << 16)))
    BPF_LD_MAP_FD(BPF_REG_1, events)
    BPF_MOV64_IMM(BPF_REG_2, 0)
    BPF_EMIT_CALL(BPF_FUNC_ringbuf_query)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_0)
    BPF_MOV64_IMM(BPF_REG_0, 2)
    BPF_JMP_IMM(BPF_JGE, BPF_REG_1, 65536, "flagged")
    BPF_MOV64_IMM(BPF_REG_0, 1)
    label("flagged")
    """
    a_map("ringbuf_watermark", ring, BPF_MAP_TYPE_RINGBUF)
    flagged = Label("flagged")
    return expanded(
        BPF_LD_MAP_FD(R1, ring),
        BPF_MOV64_IMM(R2, BPF_RB_AVAIL_DATA),
        BPF_EMIT_CALL(BPF_FUNC_ringbuf_query),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R0, BPF_RB_FORCE_WAKEUP),
        BPF_JMP_IMM(BPF_JGE, R1, size, flagged),
        BPF_MOV64_IMM(R0, BPF_RB_NO_WAKEUP),
        label(flagged),
    )


def perf_output(
    ctx: Reg | int, events: MapSpec, data: int, size: Any, failed: str | Label | None = None
) -> list[Item]:
    """Copy an event from the stack at ``data`` into the perf buffer of this CPU.

    ``ctx`` is the register that holds what R1 held when the program began. ``size`` is a Record, a type, or a number
    of bytes. Where ``failed`` is given, go there when the buffer is full (the kernel counts that), or when this CPU
    has none, since it came online after the reader was made. Changes R0 to R5. No stack but the event.

    >>> from bpfasm.asm import PerfEventArray, R6
    >>> from bpfasm.asm.syntax.macro import body
    >>> events = PerfEventArray("events")
    >>> print(body(perf_output(R6, events, -24, 24, "out")))
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_6)
    BPF_LD_MAP_FD(BPF_REG_2, events)
    BPF_MOV32_IMM(BPF_REG_3, -1)
    BPF_MOV64_REG(BPF_REG_4, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_4, -24)
    BPF_MOV64_IMM(BPF_REG_5, 24)
    BPF_EMIT_CALL(BPF_FUNC_perf_event_output)
    BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, "out")
    """
    a_map("perf_output", events, BPF_MAP_TYPE_PERF_EVENT_ARRAY)
    length = size_of_type(size)
    leave = [] if failed is None else [BPF_JMP_IMM(BPF_JNE, R0, 0, a_label("perf_output", failed))]
    return expanded(
        BPF_MOV64_REG(R1, a_register("perf_output", ctx)),
        BPF_LD_MAP_FD(R2, events),
        BPF_MOV32_IMM(R3, BPF_F_CURRENT_CPU),
        BPF_MOV64_REG(R4, FP),
        BPF_ALU64_IMM(BPF_ADD, R4, on_stack("perf_output", data, length)),
        BPF_MOV64_IMM(R5, length),
        BPF_EMIT_CALL(BPF_FUNC_perf_event_output),
        *leave,
    )


def _or_lost(snippet: str, full: Any, lost: MapSpec | None, key: int | None, *, none: bool) -> list[Item]:
    """Go on where a call found a place, else count and leave. ``none``: it then returns NULL, and not an error."""
    label_of_full = a_label(snippet, full)
    if lost is None:
        return [BPF_JMP_IMM(BPF_JEQ if none else BPF_JNE, R0, 0, label_of_full)]
    if key is None:
        raise refused(f"{snippet}: lost= takes an index on the stack", "give 4 bytes of it: key=stack.key")
    a_map(snippet, lost, BPF_MAP_TYPE_PERCPU_ARRAY)
    reserved = Label("reserved")
    return [
        BPF_JMP_IMM(BPF_JNE if none else BPF_JEQ, R0, 0, reserved),
        *count(lost, key=key),
        BPF_JMP_A(label_of_full),
        label(reserved),
    ]


def _commit(snippet: str, helper: int, record: Reg | int, flags: Reg | int) -> list[Item]:
    event = a_register(snippet, record)
    if isinstance(flags, Reg) and flags is R1:
        raise refused(f"{snippet}: the flags cannot be in R1, which takes the event first", "put them into R0 or R2")
    return expanded(
        BPF_MOV64_REG(R1, event),
        BPF_MOV64_REG(R2, flags) if isinstance(flags, Reg) else BPF_MOV64_IMM(R2, flags),
        BPF_EMIT_CALL(helper),
    )
