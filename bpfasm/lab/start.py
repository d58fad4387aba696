"""Bring a guest up: from nothing, or from a snapshot of one that has just come up.

A snapshot is a folder in the cache: ``ram``, the guest's memory as a file with holes, and ``state``, what QEMU knows
besides. A guest that goes on from it maps ``ram`` privately: nothing is read before it is needed, what it writes is its
own, and the guests of one kernel share the rest.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache, qemu
from bpfasm.lab.qmp import Monitor
from bpfasm.lab.session import Guest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.lab.matrix import Kernel

#: Snapshots that are kept, those used last: about 150 MB each on disk.
_KEEP = 10
_SAVE_TIMEOUT_S = 60.0
_POLL_S = 0.002

#: The memory is a file of ours, and not to be written to the state too.
_MEMORY_APART = [{"capability": "x-ignore-shared", "state": True}]


def cold(
    machine: qemu.Machine,
    kernel: Kernel,
    parts: list[Path | bytes],
    timeout: float,
    memory: qemu.Memory | None = None,
) -> Guest:
    """Boot a kernel and return its guest when it is up; raise LabError when that takes longer than ``timeout`` s."""
    initrd = qemu.initrd(parts)
    try:
        guest = Guest(qemu.spawn(machine, qemu.boot(machine, kernel, initrd), memory, (initrd,)), kernel)
    finally:
        os.close(initrd)
    guest.wait_until_ready(timeout)
    return guest


def snapshot(machine: qemu.Machine, kernel: Kernel, parts: list[Path | bytes], timeout: float) -> Path:
    """Return the folder of the snapshot of this kernel with these parts, taken when there is none. Raise LabError."""
    assert kernel.tree is not None
    image, program = kernel.tree.vmlinuz.stat(), os.stat(machine.program)
    marks = [
        str(machine), str(kernel.tree), image.st_size, image.st_mtime_ns, kernel.cmdline, qemu.CMDLINE,
        program.st_size, program.st_mtime_ns, [str(part) for part in parts],
    ]  # fmt: skip

    def take(place: Path) -> None:
        place.mkdir()
        with open(place / "state", "wb") as state:
            memory = qemu.Memory(place / "ram", kept=True)
            with cold(machine, kernel, parts, timeout, memory) as guest, Monitor(guest.monitor) as monitor:
                monitor.do("migrate-set-capabilities", capabilities=_MEMORY_APART)
                monitor.do("stop")
                monitor.lend(state.fileno(), "state")
                monitor.do("migrate", uri="fd:state")
                status = _until(lambda: monitor.do("query-migrate")["status"], {"setup", "active"})
                if status != "completed":
                    raise LabError(f"QEMU cannot keep the guest with kernel {kernel.release}: {status}", "its version may be too old", rule="lab-guest")

    return cache.made("snapshot", "", marks, take, keep=_KEEP)


def resume(machine: qemu.Machine, kernel: Kernel, taken: Path, timeout: float) -> Guest:
    """Return a guest that goes on from a snapshot. Raise LabError."""
    with open(taken / "state", "rb") as state:
        memory = qemu.Memory(taken / "ram", kept=False)
        guest = Guest(qemu.spawn(machine, qemu.INCOMING, memory), kernel)
        try:
            with Monitor(guest.monitor) as monitor:
                monitor.do("migrate-set-capabilities", capabilities=_MEMORY_APART)
                monitor.lend(state.fileno(), "state")
                monitor.do("migrate-incoming", uri="fd:state")
                _until(lambda: monitor.do("query-status")["status"], {"inmigrate"})
                monitor.do("cont")
            guest.wait_until_ready(timeout)
        except BaseException:
            guest.close()
            raise
    return guest


def _until(ask: Callable[[], str], passing: set[str]) -> str:
    """Ask until the answer is none of those that pass by; return it."""
    while (answer := ask()) in passing:
        time.sleep(_POLL_S)
    return answer
