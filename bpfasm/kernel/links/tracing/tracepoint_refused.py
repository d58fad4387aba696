"""Why a tracepoint was not attached to, in words."""

from __future__ import annotations

from errno import EACCES, ENODEV, ENOENT, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import event_not_permitted
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.syscall import system, tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.errors import BpfasmError


def no_tracefs() -> FeatureMissing:
    """Tracefs is not mounted, or the kernel has none."""
    if "tracefs" not in (system.read("/proc/filesystems") or "tracefs"):
        return FeatureMissing("this kernel is built without tracefs (CONFIG_TRACING)", IN_THE_LAB, rule="no-tracefs")
    return FeatureMissing(
        "tracefs is not mounted here, and the numbers of tracepoints are in it",
        f"mount -t tracefs nodev /sys/kernel/tracing (as root), take raw_tracepoint(), or {IN_THE_LAB}",
        rule="no-tracefs",
    )


def not_readable(root: str, number: int) -> FeatureMissing:
    """Tracefs is root's."""
    return event_not_permitted(f"reading {root}/events", errno_name(number))


def no_tracepoint(name: str, group: str = "") -> FeatureMissing:
    """There is no such tracepoint; name those that come near."""
    from difflib import get_close_matches

    events = tracefs.tracepoints(tracefs.find() or "")
    named = f"{group}:{name}" if group else name
    do = "see those it has: ls /sys/kernel/tracing/events/*"
    if not group:
        do += "; they are named without the group"
    elsewhere = [each for each, names in events.items() if name in names]
    if group and elsewhere:
        do = f'did you mean tracepoint("{elsewhere[0]}", "{name}")?'
    elif events:
        among = events.get(group) if group in events else [each for names in events.values() for each in names]
        close = get_close_matches(name, among or [], n=3)
        close = close or ([] if group in events else get_close_matches(group, events, n=3))
        do = f"did you mean {' or '.join(close)}?" if close else do
    return FeatureMissing(
        f"this kernel ({system.release()}) has no tracepoint {named}",
        do,
        rule="no-tracepoint",
    )


def refusal(named: str, number: int) -> BpfasmError:
    """Say why the event of a tracepoint was not opened."""
    if number in (EPERM, EACCES):
        return event_not_permitted(f"attaching at tracepoint {named}", errno_name(number))
    if number in (ENOENT, ENODEV):
        do = "this event cannot be opened by perf; take raw_tracepoint()"
    else:
        do = "dmesg may tell more"
    return KernelError(number, f"tracepoint {named} was not opened: {errno_name(number)}", do, rule="attach-refused")
