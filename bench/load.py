"""What loading costs: a program of 50,000 instructions linked and loaded, beside a C program that fills and loads it.

    python3 bench/load.py [ROUNDS]

Needs root, gcc and libbpf-dev. The variants take turns, so that a busy moment of the machine meets them all; medians
of processor time are printed, in ms, and what they are of C's.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from peers import compiled  # noqa: E402

from bpfasm.asm import (  # noqa: E402
    BPF_ADD,
    BPF_ALU64_IMM,
    BPF_EXIT_INSN,
    BPF_MOV64_IMM,
    BPF_PROG_TYPE_SOCKET_FILTER,
    R0,
    Program,
    link,
)
from bpfasm.kernel import load  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COUNTS = (2, 1000, 50_000)

C = """
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <unistd.h>
int fill_and_load(int count) {
    struct bpf_insn *insns = malloc(count * sizeof(*insns));
    insns[0] = (struct bpf_insn){ BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0 };
    for (int n = 1; n < count - 1; n++)
        insns[n] = (struct bpf_insn){ BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 0, 1 };
    insns[count - 1] = (struct bpf_insn){ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 };
    int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "straight", "GPL", insns, count, NULL);
    free(insns);
    return fd < 0 ? -1 : close(fd);
}
"""


def straight(count: int) -> Program:
    """Return a program that adds 1 as often as fits, each time by an instruction of its own."""
    body = [BPF_ALU64_IMM(BPF_ADD, R0, 1) for _ in range(count - 2)]
    return Program("straight", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), *body, BPF_EXIT_INSN()])


def variants(library: Any, count: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured for a program of so many instructions."""
    program = straight(count)

    def in_c() -> None:
        if library.fill_and_load(count):
            raise SystemExit("the C program was not loaded")

    return {
        "C: fill and load": in_c,
        "load(program): link and load": lambda: load(program).close(),
        "  link(program) alone": lambda: link(program).code,
        "  building the Program": lambda: straight(count),
    }


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    library = compiled(C)
    if library is None:
        raise SystemExit("this takes gcc and libbpf-dev")
    library.fill_and_load.argtypes = [ctypes.c_int]
    print(f"{os.uname().release}, Python {sys.version.split()[0]}, median of {rounds}")
    for count in COUNTS:
        what = variants(library, count)
        times: dict[str, list[float]] = {name: [] for name in what}
        for _ in range(rounds):
            for name, run in what.items():
                begin = time.process_time()
                run()
                times[name].append(time.process_time() - begin)
        floor = median(times["C: fill and load"])
        print(f"{f'{count} instructions':<34} {'ms':>9} {'min':>9} {'C':>6}")
        for name, taken in times.items():
            print(f"{name:<34} {1e3 * median(taken):9.3f} {1e3 * min(taken):9.3f} {median(taken) / floor:6.2f}")


if __name__ == "__main__":
    main()
