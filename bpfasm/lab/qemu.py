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
from bpfasm.lab.boards import BOARDS
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

#: What every guest gets on its command line: a panic ends the machine at once (with -no-reboot), and an oops is a
#: panic, so that nothing goes on half-broken. The rest saves waiting for what does not matter here.
CMDLINE = "quiet panic=-1 oops=panic cryptomgr.notests"

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


def command(
    machine: Machine, image: Path, cmdline: str, initrd_fd: int, port_fd: int, disk_fd: int | None = None
) -> list[str]:
    """Return QEMU's command line for a kernel's image, with what this kernel needs on its own command line.

    The guest's files, its disk and the way to it come as open files: there is nothing to clean up.
    """
    board, emulated = BOARDS[machine.arch], machine.accel == "tcg"
    told = [CMDLINE, board.told, board.told_emulated if emulated else "", cmdline, "rdinit=/lab/python"]
    init = ["-ISEB", "/lab/init", *([] if disk_fd is None else ["disk"])]
    words = [
        machine.program, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", board.machine, "-accel", ACCELERATORS[machine.accel],
        "-cpu", board.processor if emulated else "host",
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-kernel", str(image), "-initrd", f"/proc/self/fd/{initrd_fd}",
        "-append", " ".join([*filter(None, told), "--", *init]),
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-device", "virtio-serial-pci,max_ports=2",
        "-chardev", f"socket,id=port,fd={port_fd}", "-device", "virtserialport,chardev=port,nr=1,name=bpfasm",
    ]  # fmt: skip
    if disk_fd is not None:
        file = f"file.driver=file,file.filename=/proc/self/fd/{disk_fd},file.locking=off"
        words += ["-blockdev", f"driver=raw,node-name=disk,{file}", "-device", "virtio-blk-pci,drive=disk"]
    return words


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
                end += _append(file.fileno(), fd, end)
        os.ftruncate(fd, end)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _append(source: int, into: int, at: int) -> int:
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


def spawn(
    machine: Machine, kernel: Kernel, parts: Iterable[Path | bytes]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start QEMU and return its process (stdout: the console, stderr: QEMU's own words) and our end of the port."""
    assert kernel.tree is not None
    vmlinux = directly(kernel.tree.vmlinuz)
    with contextlib.ExitStack() as stack:
        image = in_memory(parts)
        stack.callback(os.close, image)
        disk = None
        if machine.disk:
            disk = in_memory([machine.disk])
            stack.callback(os.close, disk)
        ours, theirs = socket.socketpair()
        stack.enter_context(theirs)
        given = [fd for fd in (image, theirs.fileno(), disk) if fd is not None]
        try:
            process = subprocess.Popen(
                command(machine, vmlinux, kernel.cmdline, image, theirs.fileno(), disk),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=given,
                start_new_session=True,  # Ctrl-C is for us, who pass it on
                preexec_fn=DieWithParent(),  # noqa: PLW1509 - two system calls and nothing else
            )
        except BaseException:
            ours.close()
            raise
    return process, ours
