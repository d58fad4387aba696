"""Whose it is: the tag on what outlives its process, so that ``clean`` can tell the dead's from the living's."""

from __future__ import annotations

import os

from bpfasm.syscall import system
from bpfasm.value import Value

_PREFIX = "bpfasm"

#: The number of the machine's first pid namespace (include/linux/proc_ns.h PROC_PID_INIT_INO).
_FIRST_NAMESPACE = 0xEFFFFFFC

#: So much of the boot's random id is in a tag.
_BOOT_LETTERS = 8


class Owner(Value):
    """A process, for good: pids are given out again, differ between pid namespaces, and begin anew at each boot.

    ``start_time`` is in clock ticks since boot, ``namespace`` the inode of the pid namespace, ``uid`` the user it ran
    for, ``boot`` the beginning of the boot's random id.
    """

    pid: int
    start_time: int
    namespace: int
    uid: int
    boot: str

    def tag(self) -> str:
        """Return a new name that carries the owner: letters, digits and ``_``, fewer than 64.

        ``bpfasm_<pid>_<start time>_<namespace>_<uid>_<boot>_<random>``, all but the pid in hexadecimal.
        """
        numbers = f"{self.pid}_{self.start_time:x}_{self.namespace:x}_{self.uid:x}"
        return f"{_PREFIX}_{numbers}_{self.boot}_{os.urandom(3).hex()}"

    def alive(self) -> bool | None:
        """Return whether the process still runs; None where that cannot be seen from here."""
        if self.boot != boot():
            return False
        here = system.pid_namespace()
        if self.namespace == here:
            return self._alive_here()
        return self._alive_below(here == _FIRST_NAMESPACE)

    @property
    def ours(self) -> bool:
        """Whether it ran for this user; under sudo, whether for who called sudo, too."""
        called = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
        return self.uid in (os.geteuid(), int(called) if called.isdigit() else -1)

    def _alive_here(self) -> bool | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is there, and somebody else's
        # A /proc of another namespace, or one that hides others' processes, does not tell.
        started = system.start_time(self.pid) if system.own_proc() else None
        if started is None:
            return None
        return started == self.start_time and not system.ended(self.pid)

    def _alive_below(self, all_are_below: bool) -> bool | None:
        """Look for it in a namespace below ours; the first one has all others below it."""
        seen, hidden = False, not system.own_proc()
        for pid in system.processes():
            inside = system.pids_inside(pid)
            if len(inside) < 2:
                continue  # of our own namespace
            namespace = system.pid_namespace(pid)
            if namespace is None:
                hidden = hidden or not system.ended(pid)  # we may not look
            elif namespace == self.namespace:
                seen = True
                same = inside[-1] == self.pid and system.start_time(pid) == self.start_time
                if same and not system.ended(pid):
                    return True
        # A namespace that is not below ours may well live, unseen.
        return False if not hidden and (seen or all_are_below) else None


def boot() -> str:
    """Return the beginning of the boot's random id."""
    text = system.read("/proc/sys/kernel/random/boot_id") or ""
    return text.replace("-", "")[:_BOOT_LETTERS] or "0" * _BOOT_LETTERS


def this_process() -> Owner:
    """Return the process that asks."""
    return Owner(os.getpid(), system.start_time() or 0, system.pid_namespace() or 0, os.geteuid(), boot())


def owner_of(tag: str) -> Owner | None:
    """Return the owner that a name carries, None where it is none of ours."""
    prefix, _, rest = tag.partition("_")
    parts = rest.split("_")
    if prefix != _PREFIX or len(parts) != 6 or not parts[0].isdecimal() or len(parts[4]) != _BOOT_LETTERS:
        return None
    if not all(part and set(part) <= _HEX for part in parts[1:]):
        return None
    start_time, namespace, uid = (int(part, 16) for part in parts[1:4])
    return Owner(int(parts[0]), start_time, namespace, uid, parts[4])


_HEX = set("0123456789abcdef")
