"""Show every program that starts, through a ring buffer or through perf buffers.

python3 examples/execs.py              # until Ctrl-C
python3 examples/execs.py --count 5    # the first five
python3 examples/execs.py --perf       # by a buffer for each CPU, in the order of time
bpfasm asm examples/execs.py:by_ring   # the bytes
"""

import argparse
import sys

from bpfasm.asm import *
from bpfasm.asm.snippets import perf_output, ringbuf_reserve, ringbuf_submit
from bpfasm.errors import BpfasmError
from bpfasm.isa.operands import Reg
from bpfasm.kernel import load
from bpfasm.kernel.signals import Terminated, terminable


class Exec(Record):
    """A program that started."""

    time = u64("ns since boot")
    pid = u32("process")
    uid = u32("its user")
    comm = chars(16)("its name")


ring = RingBuf("execs", max_entries=1 << 18, record=Exec)
lost = PerCpuArrayMap("lost", value=u64, max_entries=1)
buffers = PerfEventArray("execs_by_cpu", record=Exec)
stack = StackLayout(key=u32, exec=Exec)


def describe(base: Reg, off: int) -> list[Insn]:
    """Write the event at ``base + off``; ``base`` is a register that calls keep."""
    return [
        BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
        BPF_STX_MEM(BPF_DW, base, R0, off + Exec.time.off),
        BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
        BPF_ALU64_IMM(BPF_RSH, R0, 32),  # the process; the lower half is the thread
        BPF_STX_MEM(BPF_W, base, R0, off + Exec.pid.off),
        BPF_EMIT_CALL(BPF_FUNC_get_current_uid_gid),
        BPF_STX_MEM(BPF_W, base, R0, off + Exec.uid.off),
        BPF_MOV64_REG(R1, base),
        BPF_ALU64_IMM(BPF_ADD, R1, off + Exec.comm.off),
        BPF_MOV64_IMM(R2, Exec.comm.size),
        BPF_EMIT_CALL(BPF_FUNC_get_current_comm),
    ]


by_ring = Program(
    "by_ring",
    BPF_PROG_TYPE_RAW_TRACEPOINT,
    attach=raw_tracepoint("sched_process_exec"),
    insns=[
        *ringbuf_reserve(ring, Exec, "out", lost=lost, key=stack.key),
        BPF_MOV64_REG(R7, R0),
        *describe(R7, 0),
        *ringbuf_submit(R7),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)

by_perf = Program(
    "by_perf",
    BPF_PROG_TYPE_RAW_TRACEPOINT,
    attach=raw_tracepoint("sched_process_exec"),
    insns=[
        BPF_MOV64_REG(R6, R1),
        *describe(FP, stack.exec),
        *perf_output(R6, buffers, stack.exec, Exec),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)


def main() -> int:
    """Print a line for each event."""
    parser = argparse.ArgumentParser(description="Show every program that starts.")
    parser.add_argument("--perf", action="store_true", help="use perf buffers")
    parser.add_argument("--count", type=int, help="stop after this many")
    args = parser.parse_args()
    seen = 0
    try:
        with terminable(), load(by_perf if args.perf else by_ring) as obj:
            # Before the program is attached: it finds no perf buffer that is made later.
            reader = obj.reader(buffers, ordered=True) if args.perf else obj.reader(ring, lost=lost)
            obj.attach()
            print(f"{'TIME(s)':>12} {'PID':>7} {'UID':>6} COMM", flush=True)
            try:
                for event in reader:
                    name = event.comm.decode(errors="replace")
                    print(f"{event.time / 1e9:12.6f} {event.pid:7} {event.uid:6} {name}", flush=True)
                    seen += 1
                    if seen == args.count:
                        break
            finally:
                if reader.lost:
                    print(f"lost: {reader.lost}", file=sys.stderr)
    except BpfasmError as error:
        print(error.report(), file=sys.stderr)
        return 3
    except KeyboardInterrupt as end:
        return 143 if isinstance(end, Terminated) else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
