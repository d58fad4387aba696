"""Events that are made in tracefs, for kprobes and uprobes: they outlive their process, so they carry its name."""

from __future__ import annotations

from errno import EBUSY, ENOENT

from bpfasm.errors import KernelError
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.links.tracing.tracepoint import open_number
from bpfasm.syscall import tracefs
from bpfasm.syscall.owner import this_process

#: How long an event may stay busy after its file descriptor was closed: a worker of the kernel finishes the close.
_BUSY_S = 5.0


class TracefsEvent:
    """An event in kprobe_events or uprobe_events (``kind``), in a group that carries its owner.

    The kernel keeps it until it is removed. Its name is its own, since the kernel counts misses by name alone.
    """

    def __init__(self, root: str, kind: str, called: str) -> None:
        self.root = root
        self.kind = kind
        self.group = this_process().tag()
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in called)[:50]
        self.event = f"{plain}_{self.group.rpartition('_')[2]}"
        self.busy_until = 0.0

    def open(self, kind: str, where: str, **whose: int) -> int:
        """Make the event at a place, and open it; return its fd. ``kind`` is p, r, or r with a maxactive.

        ``whose`` are the pid and CPU of perf_event_open(2), else all processes'.
        """
        tracefs.add_event(f"{self.root}/{self.kind}_events", f"{kind}:{self.group}/{self.event} {where}")
        return open_number(tracefs.event_id(self.root, self.group, self.event), **whose)

    def missed(self) -> int | None:
        """Return how often it was passed over; None for uprobes, where nobody counts."""
        return tracefs.missed(self.root, self.kind, self.event)

    def remove(self) -> None:
        """Remove the event; nothing where it was never made. Waits while the kernel still lets go of it."""
        from time import monotonic, sleep

        self.busy_until = self.busy_until or monotonic() + _BUSY_S
        file = f"{self.root}/{self.kind}_events"
        while True:
            try:
                return tracefs.remove_event(file, f"{self.group}/{self.event}")
            except OSError as error:
                if error.errno == ENOENT:
                    return None
                if error.errno != EBUSY or monotonic() > self.busy_until:
                    raise KernelError(
                        error.errno or 0,
                        f"the event {self.group}/{self.event} stays in {file}: {errno_name(error.errno or 0)}",
                        f"remove it (as root): echo -:{self.group}/{self.event} >> {file}",
                        rule="tracefs-left",
                    ) from None
            sleep(0.001)
