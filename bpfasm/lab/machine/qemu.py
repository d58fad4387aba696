"""Start QEMU: which program, which accelerator, which machine, and a child process that cannot outlive this one."""

from __future__ import annotations

import contextlib
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
from bpfasm.lab.machine.boards import BOARDS
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_KVM_API_VERSION = 12

#: What every guest gets on its command line: a panic ends the machine at once (with -no-reboot), and an oops is a
#: panic, so that nothing goes on half-broken. The rest saves waiting for what does not matter here: who attaches or
#: closes a link waits for a grace period, which comes at once when it is expedited (emulated 7.3, both together: 120
#: ms before, 38 after at a tracepoint, 235 and 90 for a uprobe, 135 and 80 for a kprobe).
CMDLINE = "quiet panic=-1 oops=panic cryptomgr.notests rcupdate.rcu_expedited=1"

#: With one thread for each processor, QEMU's TCG loses when a kernel rewrites its own code (each kprobe and
#: tracepoint does) while another processor runs it: oopses at boot and within seconds of tracing. One thread in
#: all is the cure; both processors are there all the same.
ACCELERATORS = {"kvm": "kvm", "tcg": "tcg,thread=single"}


class Machine(Value):
    """A virtual machine: QEMU's program, "kvm" or "tcg", memory in MiB, processors, and the image of its disk."""

    program: str
    accel: str
    memory_mib: int = 1024
    cpus: int = 2
    arch: str = "x86_64"
    disk: Path | None = None


def find(arch: str = "x86_64") -> str:
    """Return the path of QEMU for guests of this architecture; raise LabError with the package that has it."""
    board = BOARDS[arch]
    program = shutil.which(board.program)
    if program is None:
        here = [line for tool, line in board.packages.items() if shutil.which(tool)]
        raise LabError(
            f"the lab boots kernels with QEMU, and {board.program} is not on this machine",
            "install it: " + " | ".join(here or board.packages.values()),
            rule="lab-qemu",
        )
    return program


def check_host() -> None:
    """Raise LabError where the lab does not work: guests run this machine's programs, and start as its files."""
    if not sys.platform.startswith("linux"):
        raise LabError(
            "the lab takes this machine's Python into its guests, and this is not Linux",
            "use a Linux machine, real or virtual; asm, disasm and lint work here",
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


def command(
    machine: Machine,
    start: list[str],
    port_fd: int,
    *,
    monitor_fd: int | None = None,
    disk_fd: int | None = None,
    memory: Memory | None = None,
) -> list[str]:
    """Return QEMU's command line. ``start`` is how the guest starts: ``boot()``, or ``INCOMING``.

    The guest's files, its disk and the ways to it come as open files: there is nothing to clean up.
    """
    board = BOARDS[machine.arch]
    words = [
        machine.program, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", board.machine + (",memory-backend=ram" if memory else ""), "-accel", ACCELERATORS[machine.accel],
        "-cpu", board.processor if machine.accel == "tcg" else "host",
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-device", "virtio-serial-pci,max_ports=2",
        "-chardev", f"socket,id=port,fd={port_fd}", "-device", "virtserialport,chardev=port,nr=1,name=bpfasm",
        *start,
    ]  # fmt: skip
    if monitor_fd is not None:
        words += ["-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"]
    if disk_fd is not None:
        file = f"file.driver=file,file.filename=/proc/self/fd/{disk_fd},file.locking=off"
        words += ["-blockdev", f"driver=raw,node-name=disk,{file}", "-device", "virtio-blk-pci,drive=disk"]
    if memory:
        place, share = str(memory.file).replace(",", ",,"), "on" if memory.kept else "off"
        words += ["-object", f"memory-backend-file,id=ram,size={machine.memory_mib}M,mem-path={place},share={share}"]
    return words


#: Start from a state that the monitor is to be told of.
INCOMING = ["-incoming", "defer"]


def boot(machine: Machine, image: Path, cmdline: str, initrd_fd: int) -> list[str]:
    """Return the words that start a kernel's image, with what this kernel needs on its own command line."""
    board, emulated = BOARDS[machine.arch], machine.accel == "tcg"
    told = [CMDLINE, board.told, board.told_emulated if emulated else "", cmdline, "rdinit=/lab/python"]
    init = ["-ISEB", "/lab/init", *(["disk"] if machine.disk else [])]
    return [
        "-kernel", str(image), "-initrd", f"/proc/self/fd/{initrd_fd}",
        "-append", " ".join([*filter(None, told), "--", *init]),
    ]  # fmt: skip


def in_memory(parts: Iterable[Path | bytes]) -> int:
    """Return a file in memory that holds the parts one after the other, holes kept; the caller closes it."""
    fd = os.memfd_create("bpfasm", os.MFD_CLOEXEC)
    try:
        end = 0
        for part in parts:
            if isinstance(part, bytes):
                end += os.pwrite(fd, part, end)
                continue
            with part.open("rb") as file:
                end += append(file.fileno(), fd, end)
        os.ftruncate(fd, end)
    except BaseException:
        os.close(fd)
        raise
    return fd


def append(source: int, into: int, at: int) -> int:
    """Copy a file's data to the offset ``at`` of another, and return the file's size."""
    size, start = os.fstat(source).st_size, 0
    while start < size:
        try:
            start = os.lseek(source, start, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole to its end
            break
        stop = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(into, at + start, os.SEEK_SET)
        while start < stop:
            start += os.sendfile(into, source, start, stop - start)
    return size


class Running(Value):
    """A QEMU that runs: its process (stdout: the console, stderr: its own words), our ends of port and monitor."""

    machine: Machine
    process: subprocess.Popen[bytes]
    port: socket.socket
    monitor: socket.socket


def spawn(
    machine: Machine,
    start: list[str],
    *,
    initrd_fd: int | None = None,
    disk_fd: int | None = None,
    memory: Memory | None = None,
) -> Running:
    """Start QEMU; arguments as in ``command``, and the descriptor that ``start`` names. It dies with this thread."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        ends = []
        for _ in range(2):
            mine, its = socket.socketpair()
            ends.append(ours.enter_context(mine))
            theirs.enter_context(its)
            ends.append(its)
        port, its_port, monitor, its_monitor = ends
        given = [initrd_fd, disk_fd, its_port.fileno(), its_monitor.fileno()]
        process = subprocess.Popen(
            command(
                machine, start, its_port.fileno(), monitor_fd=its_monitor.fileno(), disk_fd=disk_fd, memory=memory
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[fd for fd in given if fd is not None],
            start_new_session=True,  # Ctrl-C is for us, who pass it on
            preexec_fn=DieWithParent(),  # noqa: PLW1509 - two system calls and nothing else
        )
        ours.pop_all()
    return Running(machine, process, port, monitor)
