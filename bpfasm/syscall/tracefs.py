"""tracefs: finding it, and making and removing kprobe events in it."""

from __future__ import annotations

import os

from bpfasm.syscall.system import listed, mounts, read


def find(mountinfo: str | None = None) -> str | None:
    """Return the directory that tracefs is mounted at, None where it is not.

    ``mountinfo`` is the text of /proc/self/mountinfo. A mount of a subdirectory (in some containers) does not count.
    """
    for point in mounts("tracefs", mountinfo)[:1]:
        return point
    debugfs = next(iter(mounts("debugfs", mountinfo)[-1:]), None)
    # The kernel mounts it there itself, but only when somebody looks.
    if debugfs and os.path.isdir(f"{debugfs}/tracing/events"):
        return f"{debugfs}/tracing"
    return None


def add_event(path: str, definition: str) -> None:
    """Make an event by kprobe_events or uprobe_events: ``p:GROUP/EVENT PLACE`` or ``r:GROUP/EVENT PLACE``.

    A place is ``SYMBOL+OFFSET``, or ``FILE:OFFSET`` in a program. Raises OSError.
    """
    _append(path, definition)


def remove_kprobe_event(tracefs: str, group: str, event: str) -> None:
    """Remove an event. Raises EBUSY while somebody has it open, ENOENT where there is none."""
    remove_event(f"{tracefs}/kprobe_events", f"{group}/{event}")


def remove_event(path: str, event: str) -> None:
    """Remove an event, ``GROUP/EVENT``, by the file that it was made with. Raises as ``remove_kprobe_event``."""
    _append(path, f"-:{event}")


def missed(tracefs: str, kind: str, event: str) -> int | None:
    """Return how often an event of kprobe_events was passed over, None where that is not said."""
    # "  EVENT   hits   missed"; the group is not in it. uprobe_profile has no last column.
    for line in (read(f"{tracefs}/{kind}_profile") or "").splitlines() if kind == "kprobe" else ():
        name, *numbers = line.split()
        if name == event and len(numbers) == 2:
            return int(numbers[1])
    return None


def events_of(path: str) -> list[tuple[str, str]]:
    """Return the group and name of each event that a file lists; none where it cannot be read."""
    found = []
    for line in (read(path) or "").splitlines():
        # p:GROUP/EVENT or r8:GROUP/EVENT, then where it is
        group, _, event = line.partition(" ")[0].partition(":")[2].partition("/")
        if event:
            found.append((group, event))
    return found


def tracepoints(tracefs: str) -> dict[str, list[str]]:
    """Return the names of all events by their groups; nothing where they cannot be read."""
    root = f"{tracefs}/events"
    groups: dict[str, list[str]] = {}
    try:
        for group in sorted(os.listdir(root)):
            if os.path.isdir(f"{root}/{group}"):
                names = sorted(os.listdir(f"{root}/{group}"))
                groups[group] = [name for name in names if os.path.isdir(f"{root}/{group}/{name}")]
    except OSError:
        return {}
    return groups


def format_of(tracefs: str, group: str, event: str) -> str:
    """Return what the kernel says of the record of an event. Raises OSError."""
    with open(f"{tracefs}/events/{group}/{event}/format", encoding="utf-8", errors="replace") as file:
        return file.read()


def event_id(tracefs: str, group: str, event: str) -> int:
    """Return an event's number for perf_event_attr.config. Raises OSError."""
    with open(f"{tracefs}/events/{group}/{event}/id", encoding="ascii") as file:
        return int(file.read())


def error_of(tracefs: str, group: str) -> str:
    """Return what the kernel found wrong with a definition of this group, and at which of its words.

    Empty where it does not say. The log (5.2) is everybody's: errors that are not of this group are others'.
    """
    said = ""
    lines = (read(f"{tracefs}/error_log") or "").splitlines()
    for error, command, caret in zip(lines, lines[1:], lines[2:], strict=False):
        _, found, words = error.partition(": error: ")
        if found and group in command:
            at = command[caret.find("^") :].split() if "^" in caret else []
            said = f"{words.strip()}: {at[0]}" if at else words.strip()
    return said


def _append(path: str, line: str) -> None:
    # One write(2), since the file takes a command a write. O_APPEND: opening it to truncate would remove all events.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def probed_functions(tracefs: str) -> frozenset[str]:
    """Return the functions that ftrace can reach; empty where the kernel does not list them."""
    # "name [module]" in a module
    path = f"{tracefs}/available_filter_functions"
    return listed(path, lambda text: (line.partition(" ")[0] for line in text.splitlines()))
