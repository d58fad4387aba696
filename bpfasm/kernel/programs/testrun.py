"""Running a program on given data, where its type can."""

from __future__ import annotations

from bpfasm.asm.prog_types import TYPES
from bpfasm.errors import RecordError
from bpfasm.kernel.programs.program import TestRun
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.kernel.programs.program import KernelProgram

#: Room for the context afterwards: more than any struct of one.
_CTX_ROOM = 512

#: How many live packets the kernel prepares at a time unless it is told (NAPI_POLL_WEIGHT). Given always: kernels
#: before 5.18 do not look at the flag, and refuse this.
_BATCH = 64

#: More than the fragments of any packet hold (MAX_SKB_FRAGS of 64 KiB).
_MOST_ROOM = 4 << 20


def test_run(
    program: KernelProgram,
    data: bytes,
    ctx: bytes,
    *,
    repeat: int,
    cpu: int | None,
    live: bool,
    batch_size: int,
    flags: int,
    room: int,
) -> TestRun:
    """Run a program; see ``KernelProgram.test_run``. Raises KernelError."""
    if room.__class__ is not int or not 0 <= room <= _MOST_ROOM:
        what = f"room is {room!r}, and a packet can become 0 to {_MOST_ROOM} bytes longer"
        raise RecordError(what, "leave it out: 4096 is enough for any header")
    row = TYPES.get(program.type)
    takes = row.run or () if row else ()
    fields: dict[str, Any] = {"prog_fd": program.fd, "repeat": repeat if repeat != 1 else 0}
    data_out, ctx_in, ctx_out = buffer(len(data) + room), buffer(ctx), buffer(_CTX_ROOM)
    if data:
        fields |= {"data_in": buffer(data), "data_size_in": len(data)}
        fields |= {"data_out": data_out, "data_size_out": len(data_out)}
    if ctx:
        fields |= {"ctx_in": ctx_in, "ctx_size_in": len(ctx)}
        if "ctx out" in takes:
            fields |= {"ctx_out": ctx_out, "ctx_size_out": _CTX_ROOM}
    if cpu is not None:
        flags |= uapi.BPF_F_TEST_RUN_ON_CPU
        fields["cpu"] = cpu
    if live:
        flags |= uapi.BPF_F_TEST_XDP_LIVE_FRAMES
        batch_size = batch_size or _BATCH
    try:
        result = bpf.prog_test_run(**fields, flags=flags, batch_size=batch_size)
    except bpf.RunError as error:
        from bpfasm.kernel.programs.testrun_refused import refused

        given = {"data": data, "ctx": ctx, "repeat": repeat != 1, "cpu": cpu is not None, "live": live}
        raise refused(program, error, {name for name, value in given.items() if value}, len(data_out)) from None
    # Where the context does not come back by itself, the kernel has written it in place.
    ctx_after = ctx_out.raw[: result["ctx_size_out"]] if "ctx out" in takes else ctx_in.raw
    data_after = data_out.raw[: result["data_size_out"]] if data else b""
    return TestRun(result["retval"], data_after, ctx_after, result["duration"])
