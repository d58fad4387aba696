"""What the notation costs at start, as a ratio to the bare interpreter.

    python3 bench/start.py [ROUNDS]

Each variant is a fresh process of the real interpreter (no version manager's shim), isolated and without site. The
variants take turns, so that a busy moment of the machine meets them all; medians are printed.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
PATH = f"import sys; sys.path.insert(0, {str(ROOT)!r})"

VARIANTS = {
    "python3 -I -S -c pass": "pass",
    "import bpfasm.asm": f"{PATH}; import bpfasm.asm",
    "... and build chowncount": f"{PATH}; exec(open({str(ROOT / 'examples/chowncount.py')!r}).read())",
    "... and link it": (
        f"{PATH}; exec(open({str(ROOT / 'examples/chowncount.py')!r}).read()); link(chowncount).code"
    ),
    "import argparse": "import argparse",
    "import dataclasses": "import dataclasses",
}


def start(code: str) -> float:
    """Return the seconds that a fresh interpreter takes for a line of code."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", code], env=environ, check=True)
    return time.perf_counter() - begin


def build_rate() -> float:
    """Return how many instructions a second the macros make, operands checked and place kept."""
    sys.path.insert(0, str(ROOT))
    from bpfasm.asm import BPF_ADD, BPF_ALU64_IMM, R1

    rounds = 200_000
    begin = time.perf_counter()
    for _ in range(rounds):
        BPF_ALU64_IMM(BPF_ADD, R1, 5)
    return rounds / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    for code in VARIANTS.values():
        start(code)  # the .pyc files are written
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, code in VARIANTS.items():
            times[name].append(start(code))
    bare = median(times["python3 -I -S -c pass"])
    print(f"{'start, median of ' + str(rounds):<28} {'ms':>7} {'ratio':>6}")
    for name, taken in times.items():
        print(f"{name:<28} {median(taken) * 1e3:7.1f} {median(taken) / bare:6.2f}")
    print(f"\nmacros: {build_rate() / 1e6:.2f} million instructions a second")


if __name__ == "__main__":
    main()
