"""Start QEMU: which program, which accelerator, which machine, and a child process that cannot outlive this one."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.child import DieWithParent
from bpfasm.lab.vmlinux import directly
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.lab.matrix import Kernel

_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_KVM_API_VERSION = 12

#: The package with qemu-system-x86_64, by the tool that installs packages.
PACKAGES = {
    "apt": "apt install qemu-system-x86",
    "dnf": "dnf install qemu-system-x86-core",
    "pacman": "pacman -S qemu-system-x86",
    "zypper": "zypper install qemu-x86",
    "brew": "brew install qemu",
}

#: What every guest gets on its command line: a panic ends the machine at once (with -no-reboot), and an oops is a
#: panic, so that nothing goes on half-broken. The rest saves waiting for what is not there or does not matter.
CMDLINE = "console=ttyS0 quiet panic=-1 oops=panic 8250.nr_uarts=1 i8042.noaux i8042.nokbd cryptomgr.notests"

#: The accelerator's option, the processor, and more of the command line.
#:
#: Threads: with one thread for each processor, QEMU's TCG loses when a kernel rewrites its own code (each kprobe and
#: tracepoint does) while another processor runs it: oopses at boot and within seconds of tracing. One thread in
#: all is the cure; both processors are there all the same. The processor has to be able to run this machine's
#: Python, which may be built for a newer x86-64 than QEMU's default. lpj is what the first processor finds, and
#: saves the second the search.
ACCELERATORS = {
    "kvm": ("kvm", "host", ""),
    "tcg": ("tcg,thread=single", "max", "lpj=10000000"),
}


class Machine(Value):
    """A virtual machine: QEMU's program, "kvm" or "tcg", memory in MiB, and processors."""

    program: str
    accel: str
    memory_mib: int = 1024
    cpus: int = 2


def find() -> str:
    """Return the path of QEMU; raise LabError with the package that has it."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        here = [line for tool, line in PACKAGES.items() if shutil.which(tool)]
        raise LabError(
            "the lab boots kernels with QEMU, and qemu-system-x86_64 is not on this machine",
            "install it: " + " | ".join(here or PACKAGES.values()),
            rule="lab-qemu",
        )
    return program


def check_host(arch: str) -> None:
    """Raise LabError where this machine's Python cannot be the guest's: another system, or another processor."""
    if not sys.platform.startswith("linux"):
        raise LabError(
            "the lab takes this machine's Python into its guests, and this is not Linux",
            "use a Linux machine, real or virtual; asm, disasm and lint work here",
            rule="lab-host",
        )
    here = os.uname().machine
    if here != arch:
        raise LabError(
            f"the lab takes this machine's Python into its guests: it is built for {here}, the kernel for {arch}",
            f"use a machine with {arch}",
            rule="lab-host",
        )


class Kvm:
    """What is known of this machine's KVM.

    A /dev/kvm that makes a VM may still not run one (a host that is itself a guest of a certain kind): only a
    guest that has booted proves it. The verdict is kept until the host boots again.
    """

    def __init__(self) -> None:
        self.file = cache.root() / "kvm"

    def worth_trying(self) -> bool:
        """Whether the device answers, and no boot has shown that it does not work."""
        return self._verdict() != "no" and self._answers()

    def proven(self) -> bool:
        """Whether a guest has booted with it since this host started."""
        return self._verdict() == "yes"

    def note(self, works: bool) -> None:
        """Keep what a boot has shown."""
        cache.directory(".")
        with cache.writing(self.file):
            self.file.write_text(f"{_boot_id()} {'yes' if works else 'no'}\n")

    def _verdict(self) -> str:
        try:
            boot, verdict = self.file.read_text().split()
        except (OSError, ValueError):
            return ""
        return verdict if boot == _boot_id() else ""

    @staticmethod
    def _answers() -> bool:
        try:
            device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if fcntl.ioctl(device, _KVM_GET_API_VERSION) != _KVM_API_VERSION:
                return False
            os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
        except OSError:
            return False
        finally:
            os.close(device)
        return True


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def command(machine: Machine, image: Path, cmdline: str, initrd_fd: int, port_fd: int) -> list[str]:
    """Return QEMU's command line for a kernel's image, with what this kernel needs on its own command line.

    The guest's files and the way to it come as open files: there is nothing to clean up.
    """
    accel, cpu, more = ACCELERATORS[machine.accel]
    return [
        machine.program, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", "pc,usb=off,vmport=off", "-accel", accel, "-cpu", cpu,
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-kernel", str(image), "-initrd", f"/proc/self/fd/{initrd_fd}",
        "-append", f"{CMDLINE} {more} {cmdline} rdinit=/lab/python -- -ISEB /lab/init.pyc",
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-device", "virtio-serial-pci,max_ports=2",
        "-chardev", f"socket,id=port,fd={port_fd}", "-device", "virtserialport,chardev=port,nr=1,name=bpfasm",
    ]  # fmt: skip


def initrd(parts: Iterable[Path | bytes]) -> int:
    """Return a file in memory that holds the parts one after the other; the caller closes it."""
    fd = os.memfd_create("bpfasm-initrd", os.MFD_CLOEXEC)
    try:
        for part in parts:
            if isinstance(part, bytes):
                with os.fdopen(os.dup(fd), "wb") as out:
                    out.write(part)
                continue
            with part.open("rb") as file:
                left = os.fstat(file.fileno()).st_size
                while left:
                    left -= os.sendfile(fd, file.fileno(), None, left)
    except BaseException:
        os.close(fd)
        raise
    return fd


def spawn(
    machine: Machine, kernel: Kernel, parts: Iterable[Path | bytes]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start QEMU and return its process (stdout: the console, stderr: QEMU's own words) and our end of the port."""
    assert kernel.tree is not None
    vmlinux = directly(kernel.tree.vmlinuz)
    image = initrd(parts)
    ours, theirs = socket.socketpair()
    try:
        return (
            subprocess.Popen(
                command(machine, vmlinux, kernel.cmdline, image, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[image, theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us, who pass it on
                preexec_fn=DieWithParent(),  # noqa: PLW1509 - two system calls and nothing else
            ),
            ours,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(image)
