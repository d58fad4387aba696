"""How often a guest comes up: each kernel is booted many times, and taken up from its snapshot as often.

    python3 bench/lab_often.py [TIMES [VERSION...]]

Nothing is tried twice here, as `lab run` would. A guest counts when a program in it has switched a kprobe and a
tracepoint on and off while the other processor ran what they trace: where emulated kernels break down.
"""

import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bpfasm import lab  # noqa: E402
from bpfasm.errors import LabError  # noqa: E402
from bpfasm.lab.guest import start  # noqa: E402
from bpfasm.lab.image import ext4, parts as image, python  # noqa: E402
from bpfasm.lab.machine import qemu  # noqa: E402
from bpfasm.lab.packages import bundle  # noqa: E402

PROGRAM = """
import os
busy = os.fork()
while busy == 0:
    os.stat("/")
def put(name, text):
    fd = os.open("/sys/kernel/tracing/" + name, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)
put("kprobe_events", "p:lab/stat vfs_statx")
for switch in "1010":
    put("events/lab/stat/enable", switch)
    put("events/sched/sched_switch/enable", switch)
put("kprobe_events", "-:lab/stat")
os.kill(busy, 9)
"""

TIMEOUT_S = 120


def once(way, machine: qemu.Machine, kernel: lab.Kernel, parts: image.Parts) -> float:
    """Return the seconds until a guest is up; raise LabError when it does not come up, or breaks down."""
    begin = time.perf_counter()
    with way(machine, kernel, parts, TIMEOUT_S) as guest:
        taken = time.perf_counter() - begin
        done = guest.capture(["python3", "-c", PROGRAM], timeout=TIMEOUT_S)
    if done.status:
        raise LabError(f"status {done.status}", done.stderr.decode(errors="replace"), rule="lab-guest")
    return taken


def main() -> None:
    """Boot, count and print."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    versions = sys.argv[2:] or [kernel.version for kernel in lab.everything()]
    print(f"{'kernel':<28} {'way':<9} {'came up':>9} {'median':>7} {'slowest':>8}")
    for kernel in map(lab.fetch, versions):
        assert kernel.tree
        trees = [lab.userland(arch) for arch in bundle.userlands(kernel)]
        runs = python.below(*trees) if trees else python.here()
        disk = ext4.image() if ext4.find() else None
        machine = qemu.Machine(qemu.find(kernel.arch), "tcg", arch=kernel.arch, disk=disk)
        parts = image.parts(kernel.tree, runs=runs)
        for way in (start.cold, start.warm):
            taken = []
            for _ in range(times):
                try:
                    taken.append(once(way, machine, kernel, parts))
                except LabError as error:
                    print(error, file=sys.stderr, flush=True)
            shown = f"{median(taken):7.2f} {max(taken):8.2f}" if taken else ""
            print(
                f"{kernel.release:<28} {'boot' if way is start.cold else 'snapshot':<9} "
                f"{len(taken):>3} of {times:<3} {shown}",
                flush=True,
            )


if __name__ == "__main__":
    main()
