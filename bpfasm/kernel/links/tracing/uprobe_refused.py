"""Why a uprobe was not attached, in words."""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, EIO, ENOENT, EOPNOTSUPP, EPERM, ESRCH

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import event_not_permitted
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.syscall import system
from bpfasm.syscall.libc import ENOTSUPP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.uprobe import Uprobe
    from bpfasm.errors import BpfasmError


def _no_uprobes() -> FeatureMissing:
    return FeatureMissing(
        "this kernel is built without uprobes (CONFIG_UPROBE_EVENTS)", IN_THE_LAB, rule="no-uprobes"
    )


def no_pmu() -> FeatureMissing:
    """There is no uprobe PMU."""
    if os.path.isdir(system.PMUS):
        return _no_uprobes()
    return FeatureMissing(
        f"there is no {system.PMUS}/uprobe here: sysfs is not mounted",
        'mount -t sysfs sysfs /sys (as root), or attach with mode="tracefs"',
        rule="no-sysfs",
    )


def no_tracefs(root: str | None) -> FeatureMissing:
    """There is no uprobe_events."""
    if root is not None or (os.path.isdir(system.PMUS) and system.pmu_type("uprobe") is None):
        return _no_uprobes()
    return FeatureMissing(
        "tracefs is not mounted here, and a uprobe event is made in it",
        f"mount -t tracefs nodev /sys/kernel/tracing (as root), or {IN_THE_LAB}",
        rule="no-tracefs",
    )


def no_such_path_in_tracefs(path: str) -> FeatureMissing:
    """A line of uprobe_events has no quotes."""
    return FeatureMissing(
        f"tracefs takes no path with a space or a colon: {path}",
        'attach with mode="link" or "perf", or make a link to the file: ln -s',
        rule="uprobe-path",
    )


def semaphore_too_far(where: Uprobe) -> KernelError:
    """The event has 32 bits for it."""
    return KernelError(
        EINVAL,
        f"the semaphore of {where} is at {where.semaphore:#x} of the file, and the event has 32 bits for that",
        'attach with mode="tracefs"',
        rule="uprobe-offset",
    )


def refusal(where: Uprobe, path: str, offset: int, number: int, said: str = "") -> BpfasmError:
    """Say why the kernel refused; ``said`` is what tracefs wrote about it."""
    if number in (EPERM, EACCES):
        return event_not_permitted(f"attaching {where}", errno_name(number))
    what, words = f"{where} was not attached", f"; tracefs says: {said}" if said else ""
    if number == ESRCH and where.pid is not None:
        what = f"{what}: there is no process {where.pid}"
        return KernelError(number, what, "it ended meanwhile", rule="uprobe-attach")
    if number in (EINVAL, EIO) and offset >= os.path.getsize(path):
        return KernelError(
            number,
            f"{what}: {offset:#x} is behind the end of {path}",
            "an offset is one in the file, not an address in memory: give the symbol",
            rule="uprobe-offset",
        )
    sentences = {
        ENOENT: (f"the kernel finds no file {path}", "a file on overlayfs or in a container: give inside=PID"),
        EINVAL: (
            "the kernel takes no probe there",
            "the offset must be that of code, where an instruction starts, in a file system that keeps pages",
        ),
        ENOTSUPP: ("the kernel cannot step over that instruction", "take another offset, or the function's entry"),
        EOPNOTSUPP: ("the kernel cannot step over that instruction", "take another offset, or the function's entry"),
    }
    text, do = sentences.get(number, (errno_name(number), "dmesg may tell more"))
    return KernelError(number, f"{what}: {text}{words}", do, rule="uprobe-attach")
