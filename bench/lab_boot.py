"""How long the lab takes from the command to the first output, beside a bare boot of the same kernel.

    python3 bench/lab_boot.py [ROUNDS [VERSION...]]

Bare: QEMU with the same machine, the kernel's own image, and a busybox whose init writes one line. Fresh, lab run:
what a user types, in a process of its own, until the line of `python3 -c 'print(1)'` in the guest is on our side;
once with --fresh, and once as it is, which without KVM goes on from a snapshot. They take turns, so that a busy
moment of the machine meets all; medians are printed.
"""

import io
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bpfasm import lab  # noqa: E402
from bpfasm.lab.image.cpio import CpioWriter  # noqa: E402
from bpfasm.lab.machine import qemu  # noqa: E402


def busybox(kernel: lab.Kernel) -> bytes:
    """Return a file system of the kernel's busybox and an init that writes one line."""
    assert kernel.tree
    assert kernel.tree.busybox
    out = io.BytesIO()
    cpio = CpioWriter(out)
    cpio.device("/dev/console", 5, 1)
    cpio.file("/bin/busybox", kernel.tree.busybox.read_bytes(), 0o755)
    cpio.file("/init", b"#!/bin/busybox sh\necho bare\nexec /bin/busybox sleep 1000\n", 0o755)
    cpio.close()
    return out.getvalue()


def bare(machine: qemu.Machine, kernel: lab.Kernel, archive: bytes) -> float:
    """Return the seconds from starting QEMU with the kernel's own image to the init's line."""
    fd = qemu.in_memory([archive])
    assert kernel.tree
    start = qemu.boot(machine, kernel.tree.vmlinuz, kernel.cmdline, fd)
    start[-1] = start[-1].partition(" rdinit=")[0] + " rdinit=/init"
    words = qemu.command(machine, start, 0)
    at = words.index("-device")
    words[at : at + 6] = []  # the way to us
    begin = time.perf_counter()
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[fd]
    ) as process:
        os.close(fd)
        assert process.stdout
        for line in process.stdout:
            if line.strip() == b"bare":
                taken = time.perf_counter() - begin
                process.kill()
                return taken
    raise SystemExit(f"the bare boot of {kernel.version} wrote nothing")


def whole(kernel: lab.Kernel, *options: str) -> float:
    """Return the seconds from the command to its first output."""
    command = ["lab", "run", "--on", kernel.version, *options, "--", "python3", "-c", "print(1)"]
    words = [sys.executable, "-m", "bpfasm", *command]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout
        line = process.stdout.readline()
        first = time.perf_counter() - begin
    if line != b"1\n" or process.returncode:
        raise SystemExit(f"the lab on {kernel.version} wrote {line!r}, status {process.returncode}")
    return first


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    kernels = [lab.fetch(version) for version in sys.argv[2:] or [kernel.version for kernel in lab.kernels()]]
    accel = "kvm" if qemu.Kvm().proven() else "tcg"
    print(f"median of {rounds}, {accel}, {os.cpu_count()} processors ({platform.machine()}), seconds")
    print(f"{'kernel':<28} {'bare':>6} {'fresh':>6} {'ratio':>6} {'lab run':>8} {'ratio':>6} {'slowest':>8}")
    for kernel in kernels:
        machine = qemu.Machine(qemu.find(kernel.arch), accel, arch=kernel.arch)
        archive = busybox(kernel)
        whole(kernel)  # builds what is not cached
        bares, fresh, usual = [], [], []
        for _ in range(rounds):
            bares.append(bare(machine, kernel, archive))
            fresh.append(whole(kernel, "--fresh"))
            usual.append(whole(kernel))
        floor = median(bares)
        print(
            f"{kernel.release:<28} {floor:6.2f} {median(fresh):6.2f} {median(fresh) / floor:6.2f} "
            f"{median(usual):8.2f} {median(usual) / floor:6.2f} {max(fresh + usual):8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
