"""How long the lab takes from the command to the first output, beside a bare boot of the same kernel.

    python3 bench/lab_boot.py [ROUNDS [VERSION...]]

Bare: QEMU with the same machine, the kernel's bzImage, and an init that writes one line. Lab: what a user types, in
a process of its own, until the line of `python3 -c 'print(1)'` in the guest is on our side, and until that process
has ended. They take turns, so that a busy moment of the machine meets both; medians are printed.
"""

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
from bpfasm.lab import qemu  # noqa: E402
from bpfasm.lab.cpio import CpioWriter  # noqa: E402


def smallest_init() -> bytes:
    """Return an ELF program of one segment: the header, the code, and the line it writes."""
    code = assemble()
    size = 64 + 56 + len(code)
    base = 0x400000
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + b"".join(
        number.to_bytes(width, "little")
        for number, width in (
            (2, 2), (62, 2), (1, 4), (base + 120, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2),
            (0, 2), (0, 2), (0, 2),
        )
    )  # fmt: skip
    segment = b"".join(
        number.to_bytes(width, "little")
        for number, width in ((1, 4), (5, 4), (0, 8), (base, 8), (base, 8), (size, 8), (size, 8), (0x1000, 8))
    )
    return head + segment + code


def assemble() -> bytes:
    """Return the code of the init, and the text after it: write(1, text, 5), then pause()."""
    pause = b"\xb8" + (34).to_bytes(4, "little") + b"\x0f\x05"
    # mov eax, write; mov edi, 1; lea rsi, [rip + what follows]; mov edx, 5; syscall
    after_lea = b"\xba" + (5).to_bytes(4, "little") + b"\x0f\x05" + pause
    write = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35" + len(after_lea).to_bytes(4, "little") + after_lea
    return write + b"bare\n"


def bare(machine: qemu.Machine, kernel: lab.Kernel, archive: bytes) -> float:
    """Return the seconds from starting QEMU to the line of the smallest init."""
    fd = qemu.in_memory([archive])
    assert kernel.tree
    words = qemu.command(machine, kernel.tree.vmlinuz, kernel.cmdline, fd, 0)
    words = words[: words.index("-device")]
    at = words.index("-append") + 1
    words[at] = words[at].partition(" rdinit=")[0] + " rdinit=/init"
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


def whole(kernel: lab.Kernel) -> tuple[float, float]:
    """Return the seconds from the command to its first output, and to its end."""
    words = [sys.executable, "-m", "bpfasm", "lab", "run", "--on", kernel.version, "--", "python3", "-c", "print(1)"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout
        line = process.stdout.readline()
        first = time.perf_counter() - begin
    if line != b"1\n" or process.returncode:
        raise SystemExit(f"the lab on {kernel.version} wrote {line!r}, status {process.returncode}")
    return first, time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    kernels = [lab.fetch(version) for version in sys.argv[2:] or [kernel.version for kernel in lab.kernels()]]
    accel = "kvm" if qemu.Kvm().proven() else "tcg"
    machine = qemu.Machine(qemu.find(), accel)
    archive = _Archive()
    cpio = CpioWriter(archive)
    cpio.device("/dev/console", 5, 1)
    cpio.file("/init", smallest_init(), 0o755)
    cpio.close()
    print(f"median of {rounds}, {accel}, {os.cpu_count()} processors ({platform.machine()}), seconds")
    print(f"{'kernel':<28} {'bare':>6} {'first output':>13} {'end':>6} {'ratio':>6} {'slowest':>8}")
    for kernel in kernels:
        whole(kernel)  # builds what is not cached
        bares, firsts, ends = [], [], []
        for _ in range(rounds):
            bares.append(bare(machine, kernel, archive.data))
            first, end = whole(kernel)
            firsts.append(first)
            ends.append(end)
        ratio = median(firsts) / median(bares)
        print(
            f"{kernel.release:<28} {median(bares):6.2f} {median(firsts):13.2f} {median(ends):6.2f} "
            f"{ratio:6.2f} {max(firsts):8.2f}",
            flush=True,
        )


class _Archive:
    data = b""

    def write(self, data: bytes) -> None:
        self.data += data


if __name__ == "__main__":
    main()
