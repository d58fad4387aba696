"""Bring a guest up: from nothing, or from a snapshot of one that had just come up.

A snapshot is a folder in the cache: ``ram``, the guest's memory as a file with holes; ``state``, what QEMU knows
besides; ``disk``, where the machine has one; ``project``, the part with the project that it holds. A guest that goes
on from it maps ``ram`` privately: nothing is read before it is needed, what it writes is its own, and the guests of
one kernel share the rest. What it lacks, changed files of the project and copies, it is given when it is there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.guest.session import Guest
from bpfasm.lab.image.cpio import difference
from bpfasm.lab.kernel.vmlinux import directly
from bpfasm.lab.machine import qemu
from bpfasm.lab.machine.boards import BOARDS
from bpfasm.lab.machine.qmp import Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpfasm.lab.image.parts import Parts
    from bpfasm.lab.matrix import Kernel

#: Snapshots that are kept, those used last: some 200 MB each on disk.
_KEEP = 8

#: A snapshot is renewed when this much of the project has changed since, and one is not worth it for larger copies.
_RENEWED_AT = 1 << 20
_LARGEST = 32 << 20

_POLL_S = 0.002

#: The memory is a file of ours, and not to be written to the state too.
_MEMORY_APART = [{"capability": "x-ignore-shared", "state": True}]

#: In the folder of a snapshot that could not be taken: why.
_REFUSED = "refused"


def cold(machine: qemu.Machine, kernel: Kernel, parts: Parts, timeout: float) -> Guest:
    """Boot a kernel and return its guest when it is up; raise LabError when that takes longer than ``timeout`` s."""
    with _copy_of(machine.disk) as disk:
        return _boot(machine, kernel, parts.all(), timeout, disk)


def warm(machine: qemu.Machine, kernel: Kernel, parts: Parts, timeout: float) -> Guest:
    """Return a guest that goes on from a snapshot, taken where there is none; raise LabError as ``cold`` does."""
    if len(parts.copies) > _LARGEST:
        return cold(machine, kernel, parts, timeout)
    taken = _snapshot(machine, kernel, parts, timeout)
    changed = _changed(taken, parts.project)
    if changed is None:
        taken, changed = _snapshot(machine, kernel, parts, timeout, renew=True), b""
    # QEMU opens the memory for writing, although it writes to its own copies of the pages.
    if (taken / _REFUSED).exists() or not os.access(taken / "ram", os.W_OK):
        return cold(machine, kernel, parts, timeout)
    return _resume(machine, kernel, taken, changed + parts.copies, timeout)


def _boot(
    machine: qemu.Machine,
    kernel: Kernel,
    parts: list[Path | bytes],
    timeout: float,
    disk: int | None,
    memory: qemu.Memory | None = None,
) -> Guest:
    assert kernel.tree is not None
    initrd = qemu.in_memory(parts)
    try:
        start = qemu.boot(machine, directly(kernel.tree.vmlinuz), kernel.cmdline, initrd)
        guest = Guest(qemu.spawn(machine, start, initrd_fd=initrd, disk_fd=disk, memory=memory), kernel)
    finally:
        os.close(initrd)
    guest.wait_until_ready(timeout)
    return guest


@contextlib.contextmanager
def _copy_of(disk: Path | None) -> Iterator[int | None]:
    """Give a descriptor of a copy of a disk's image in memory; None where there is none."""
    fd = qemu.in_memory([disk]) if disk else None
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _snapshot(machine: qemu.Machine, kernel: Kernel, parts: Parts, timeout: float, *, renew: bool = False) -> Path:
    """Return the folder of the snapshot of this machine with this kernel and these parts, the project aside."""
    assert kernel.tree is not None
    image, program = kernel.tree.vmlinuz.stat(), os.stat(machine.program)
    marks: list[object] = [
        str(machine), str(BOARDS[machine.arch]), str(kernel.tree), kernel.cmdline, image.st_size,
        image.st_mtime_ns, program.st_size, program.st_mtime_ns, *map(str, parts.common), qemu.CMDLINE,
        Path(__file__).with_name("init.py").read_bytes(),
    ]  # fmt: skip

    def take(place: Path) -> None:
        place.mkdir()
        try:
            _take(machine, kernel, parts, timeout, place)
        except LabError as error:
            if error.rule != "lab-monitor":
                raise
            print(f"lab: {error.what}: every guest will start from nothing", file=sys.stderr, flush=True)
            shutil.rmtree(place)
            place.mkdir()
            (place / _REFUSED).write_text(error.what)

    return cache.made("snapshot", "", marks, take, keep=_KEEP, of=f"-{kernel.release}", renew=renew)


def _take(machine: qemu.Machine, kernel: Kernel, parts: Parts, timeout: float, place: Path) -> None:
    memory = qemu.Memory(place / "ram", kept=True)
    wanted: list[Path | bytes] = [*parts.common, parts.project]
    with (
        _copy_of(machine.disk) as disk,
        _boot(machine, kernel, wanted, timeout, disk, memory) as guest,
        Monitor(guest.monitor) as monitor,
    ):
        monitor.do("migrate-set-capabilities", capabilities=_MEMORY_APART)
        monitor.do("stop")
        with open(place / "state", "wb") as state:
            monitor.lend(state.fileno(), "state")
        monitor.do("migrate", uri="fd:state")
        ended = _until(lambda: str(monitor.do("query-migrate")["status"]), {"setup", "active"})
        if ended != "completed":
            monitor.refuse("migrate", ended)
        if disk is not None:
            with open(place / "disk", "wb") as copy:
                copy.truncate(qemu.append(disk, copy.fileno(), 0))
    shutil.copyfile(parts.project, place / "project")


def _changed(taken: Path, project: Path) -> bytes | None:
    """Return the archive of what is another in the project than in a snapshot's; None when that is too much."""
    if (taken / _REFUSED).exists():
        return b""
    old, new = (taken / "project").read_bytes(), project.read_bytes()
    changed = difference(old, new) if old != new else b""
    return changed if changed is not None and len(changed) <= _RENEWED_AT else None


def _resume(machine: qemu.Machine, kernel: Kernel, taken: Path, archive: bytes, timeout: float) -> Guest:
    memory = qemu.Memory(taken / "ram", kept=False)
    with _copy_of(taken / "disk" if machine.disk else None) as disk:
        guest = Guest(qemu.spawn(machine, qemu.INCOMING, disk_fd=disk, memory=memory), kernel)
    try:
        with Monitor(guest.monitor) as monitor:
            monitor.do("migrate-set-capabilities", capabilities=_MEMORY_APART)
            with open(taken / "state", "rb") as state:
                monitor.lend(state.fileno(), "state")
            monitor.do("migrate-incoming", uri="fd:state")
            _until(lambda: str(monitor.do("query-status")["status"]), {"inmigrate"})
            monitor.do("cont")
    except BaseException:
        guest.close()
        raise
    guest.wait_until_ready(timeout, archive)
    return guest


def _until(ask: Callable[[], str], passing: set[str]) -> str:
    """Ask until the answer is none of those that pass by, and return it."""
    while (answer := ask()) in passing:
        time.sleep(_POLL_S)
    return answer
