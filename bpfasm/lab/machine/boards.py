"""The machines that QEMU makes for guests, one for each architecture that the lab has kernels for."""

from __future__ import annotations

from bpfasm.value import Value


class Board(Value):
    """A machine: QEMU's program, board and emulated processor, and what its kernels are told.

    ``told`` is on each command line, ``told_emulated`` on those of guests without KVM; ``packages`` have the program,
    by the tool that installs packages.
    """

    program: str
    machine: str
    processor: str
    told: str
    told_emulated: str
    packages: dict[str, str]


#: The emulated processor has to be able to run the guest's Python, which may be built for a newer one than QEMU's
#: default; pauth=off leaves out the signing of return addresses, which takes most of an emulated boot.
#:
#: lpj is what the first processor finds, and saves the second the search; an aarch64 timer states its speed. QEMU
#: keeps what it has translated by address, so that with programs at random places (norandmaps) it translates each
#: anew: half of what it takes to start a Python. A string instruction (erms, fsrm) goes byte by byte, where the
#: kernel's other ways to fill and copy pages take eight. The host's instructions for `python3 -c pass` on 7.3: 3.0
#: billion without either, 2.7 with erms and fsrm off, 1.4 with norandmaps too (`perf stat -e instructions -p` QEMU's
#: pid, QEMU 7.2).
BOARDS = {
    "x86_64": Board(
        program="qemu-system-x86_64",
        machine="q35,usb=off,vmport=off,sata=off,smbus=off",
        processor="max,erms=off,fsrm=off",
        told="console=ttyS0 8250.nr_uarts=1 i8042.noaux i8042.nokbd",
        told_emulated="lpj=10000000 norandmaps",
        packages={
            "apt": "apt install qemu-system-x86",
            "dnf": "dnf install qemu-system-x86-core",
            "pacman": "pacman -S qemu-system-x86",
            "zypper": "zypper install qemu-x86",
            "brew": "brew install qemu",
        },
    ),
    "aarch64": Board(
        program="qemu-system-aarch64",
        machine="virt",
        processor="max,pauth=off",
        told="console=ttyAMA0",
        told_emulated="norandmaps",
        packages={
            "apt": "apt install qemu-system-arm",
            "dnf": "dnf install qemu-system-aarch64-core",
            "pacman": "pacman -S qemu-system-aarch64",
            "zypper": "zypper install qemu-arm",
            "brew": "brew install qemu",
        },
    ),
}
