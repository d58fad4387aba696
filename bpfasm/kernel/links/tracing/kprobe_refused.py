"""Why a kprobe was not attached, in words."""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, EEXIST, EILSEQ, EINVAL, ENODEV, ENOENT, ENOSYS, EPERM, ERANGE

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import event_not_permitted
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.syscall import system, tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import Kprobe
    from bpfasm.errors import BpfasmError


#: KRETPROBE_MAXACTIVE_MAX of the kernel's trace_probe code.
_MOST_ACTIVE = 4096


def no_kprobes() -> FeatureMissing:
    """This kernel has no kprobes."""
    return FeatureMissing("this kernel is built without kprobes (CONFIG_KPROBES)", IN_THE_LAB, rule="no-kprobes")


def no_pmu() -> FeatureMissing:
    """There is no kprobe PMU."""
    if os.path.isdir(system.PMUS):
        return no_kprobes()
    return FeatureMissing(
        f"there is no {system.PMUS}/kprobe here: sysfs is not mounted",
        'mount -t sysfs sysfs /sys (as root), or attach with mode="tracefs"',
        rule="no-sysfs",
    )


def no_tracefs(root: str | None) -> FeatureMissing:
    """There is no PMU either, or tracefs was asked for: and there is no kprobe_events."""
    if root is not None or (os.path.isdir(system.PMUS) and system.pmu_type("kprobe") is None):
        return no_kprobes()
    return FeatureMissing(
        "tracefs is not mounted here, and a kprobe event is made in it",
        f"mount -t tracefs nodev /sys/kernel/tracing (as root), or {IN_THE_LAB}",
        rule="no-tracefs",
    )


def refusal(probe: Kprobe, number: int, said: str = "") -> BpfasmError:
    """Say why the kernel refused a probe; ``said`` is what tracefs wrote about it."""
    if number in (EPERM, EACCES):
        return event_not_permitted(f"attaching {probe}", errno_name(number))
    # Past the kernel's end an offset is ENOENT too, with a symbol that is there.
    if (number == ENOENT and not probe.offset) or (number in (ENOENT, EINVAL) and not _known(probe)):
        return no_symbol(probe, number)
    if number == EINVAL and probe.maxactive > _MOST_ACTIVE:
        return KernelError(
            number,
            f"{probe} was not attached: its maxactive is {probe.maxactive}",
            f"the kernel takes up to {_MOST_ACTIVE}",
            rule="kprobe-maxactive",
        )
    what, words = f"{probe} was not attached", f"; tracefs says: {said}" if said else ""
    if number in (EILSEQ, ERANGE) or (number in (ENOENT, EINVAL) and probe.offset):
        return KernelError(
            number,
            f"{what}: +{probe.offset:#x} is not where an instruction starts, or lies behind the function{words}",
            "take the offset from the function's disassembly: gdb or objdump on vmlinux",
            rule="kprobe-offset",
        )
    if number == EINVAL and " name " in said:
        return KernelError(
            number,
            f"{what}: tracefs takes no event or group of that name{words}",
            "both are letters, digits and _, and a group has 63 of them at most",
            rule="tracefs-name",
        )
    if number == EINVAL:
        return KernelError(
            number,
            f"{what}: the kernel does not allow a probe there{words}",
            "it is on the list of functions that must not be probed (/sys/kernel/debug/kprobes/blacklist); take its "
            "caller, or a tracepoint",
            rule="kprobe-blacklist",
        )
    sentences = {
        EBUSY: ("the function is being patched or probed in a way that excludes this", "see /sys/kernel/livepatch"),
        EEXIST: ("an event of this name is there already", "remove it: `bpfasm clean`"),
        ENODEV: ("CPU 0 is offline, and probes are opened on it", "bring it online"),
        ENOSYS: ("this kernel is built without perf events (CONFIG_PERF_EVENTS)", IN_THE_LAB),
    }
    text, do = sentences.get(number, (errno_name(number), "dmesg may tell more"))
    return KernelError(number, f"{what}: {text}{words}", do, rule="kprobe-attach")


def no_maxactive(probe: Kprobe, mode: str) -> FeatureMissing:
    """The mechanism takes no number of calls under way."""
    return FeatureMissing(
        f"{probe} has a maxactive, which mode={mode!r} does not take",
        'leave it out, or attach with mode="tracefs" or "auto"',
        rule="kprobe-maxactive",
    )


def _known(probe: Kprobe) -> bool:
    """Return whether the kernel has the symbol of a probe; True where it does not show its symbols."""
    from bpfasm.kernel.links.tracing.kprobe import symbols_of

    known = system.kernel_symbols()
    return not known or not known.isdisjoint(symbols_of(probe))


def no_symbol(probe: Kprobe, number: int) -> KernelError:
    """Name the functions that come near: what can be probed, or else all that there are."""
    from difflib import get_close_matches

    from bpfasm.kernel.links.tracing.kprobe import symbols_of

    root = tracefs.find()
    there = tracefs.probed_functions(root) if root else frozenset()
    there = there or system.kernel_symbols()
    wanted = symbols_of(probe)[0]
    if probe.syscall:
        prefix = wanted.removesuffix(probe.syscall)
        calls = [name.removeprefix(prefix) for name in there if name.startswith(prefix)]
        what = f"this kernel has no system call {probe.syscall} (no function {wanted})"
        close = get_close_matches(probe.syscall, calls, n=3)
    else:
        what = f"this kernel has no function {probe.symbol} to probe"
        # Comparing with all 60,000 takes seconds; few slips are in the first two letters.
        near = [name for name in there if name.startswith(probe.symbol[:2])]
        # A compiler's copies come first: vfs_read.isra.0, vfs_read.constprop.0
        copies = sorted(name for name in near if name.startswith(f"{probe.symbol}."))
        close = copies[:3] or get_close_matches(probe.symbol, near, n=3)
    do = f"did you mean {' or '.join(close)}?" if close else "the compiler may have inlined it: take its caller"
    return KernelError(number, what, do, rule="no-symbol")
