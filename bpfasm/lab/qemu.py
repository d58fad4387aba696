"""Start QEMU: which program, which accelerator, which machine, and a child process that cannot outlive this one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.vmlinux import directly
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.lab.matrix import Kernel

_PR_SET_PDEATHSIG = 1
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


class Memory(Value):
    """A file that is the guest's memory. ``kept``: what the guest writes stays in it, else it is the guest's own."""

    file: Path
    kept: bool


def command(machine: Machine, start: list[str], memory: Memory | None, port_fd: int, monitor_fd: int) -> list[str]:
    """Return QEMU's command line. ``start`` is how the guest starts: ``boot()``, or ``INCOMING``.

    The guest's files and the ways to it come as open files: there is nothing to clean up.
    """
    accel, cpu, _ = ACCELERATORS[machine.accel]
    board, backend = "pc,usb=off,vmport=off", []
    if memory:
        board += ",memory-backend=ram"
        share = "on" if memory.kept else "off"
        place = str(memory.file).replace(",", ",,")
        backend = ["-object", f"memory-backend-file,id=ram,size={machine.memory_mib}M,mem-path={place},share={share}"]
    return [
        machine.program, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", board, *backend, "-accel", accel, "-cpu", cpu,
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-device", "virtio-serial-pci,max_ports=2",
        "-chardev", f"socket,id=port,fd={port_fd}", "-device", "virtserialport,chardev=port,nr=1,name=bpfasm",
        "-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control",
        *start,
    ]  # fmt: skip


#: Start with a state that the monitor is to be told of.
INCOMING = ["-incoming", "defer"]


def boot(machine: Machine, kernel: Kernel, initrd_fd: int) -> list[str]:
    """Return the words that start a kernel with what it needs on its own command line."""
    assert kernel.tree is not None
    return [
        "-kernel", str(directly(kernel.tree.vmlinuz)), "-initrd", f"/proc/self/fd/{initrd_fd}",
        "-append",
        f"{CMDLINE} {ACCELERATORS[machine.accel][2]} {kernel.cmdline} rdinit=/lab/python -- -ISEB /lab/init.pyc",
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


class Running(Value):
    """A QEMU that runs: its process (stdout: the console, stderr: its own words), our ends of port and monitor."""

    machine: Machine
    process: subprocess.Popen[bytes]
    port: socket.socket
    monitor: socket.socket


def spawn(machine: Machine, start: list[str], memory: Memory | None = None, files: Iterable[int] = ()) -> Running:
    """Start QEMU; ``files`` are what ``start`` names and QEMU is to find open. It dies with the thread that calls."""
    port, its_port = socket.socketpair()
    monitor, its_monitor = socket.socketpair()
    try:
        process = subprocess.Popen(
            command(machine, start, memory, its_port.fileno(), its_monitor.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[its_port.fileno(), its_monitor.fileno(), *files],
            start_new_session=True,  # Ctrl-C is for us, who pass it on
            preexec_fn=_DieWithParent(),  # noqa: PLW1509 - two system calls and nothing else
        )
    except BaseException:
        port.close()
        monitor.close()
        raise
    finally:
        its_port.close()
        its_monitor.close()
    return Running(machine, process, port, monitor)


class _DieWithParent:
    """In the child: have the kernel kill it when its parent is gone, however it went."""

    def __init__(self) -> None:
        # Found before the fork, where finding a library is safe.
        self.prctl = ctypes.CDLL(None).prctl
        self.parent = os.getpid()

    def __call__(self) -> None:
        self.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a QEMU that aborts leaves no file behind
        if os.getppid() != self.parent:
            os._exit(1)
