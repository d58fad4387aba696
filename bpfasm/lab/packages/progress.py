"""Show how far a download is: a bar that is rewritten on a terminal, plain lines elsewhere. Without colours."""

from __future__ import annotations

import contextlib
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.lab.packages.pool import Progress

#: Seconds between two lines, where lines are rewritten and where they are not.
_REWRITTEN_S, _PLAIN_S = 0.1, 2.0

#: Columns of a bar: no bar is shorter, since it would say nothing.
_SHORTEST, _LONGEST = 8, 30


@contextlib.contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """Give ``progress``, or where there is none what shows it on stderr for the block."""
    if progress is not None:
        yield progress
        return
    reporter = Reporter()
    try:
        yield reporter
    finally:
        reporter.close()


class Reporter:
    """Show progress on stderr."""

    def __init__(self) -> None:
        self.what = self.line = ""
        self.shown = 0.0
        self.done = True
        self.rewrites = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` bytes of ``total`` are here; a total of 100 is a percentage."""
        finished = done >= total
        now = time.monotonic()
        if what == self.what:
            soon = now - self.shown < (_REWRITTEN_S if self.rewrites else _PLAIN_S)
            if self.done or (soon and not finished):
                return
        else:
            self.close()
        self.what, self.shown, self.done = what, now, finished
        if self.rewrites:
            end = "\n" if finished else ""
            print(f"\r\033[K{bar(what, done, total, *_terminal())}", end=end, file=sys.stderr, flush=True)
            return
        line = f"lab: {what}: {_amount(done, total)}"
        if line != self.line:
            print(line, file=sys.stderr, flush=True)
        self.line = line

    def close(self) -> None:
        """End the line of what was not finished."""
        if self.rewrites and not self.done:
            print(file=sys.stderr, flush=True)
        self.done = True


def bar(what: str, done: int, total: int, columns: int, blocks: str) -> str:
    """Return one line of fewer than ``columns``: what, a bar of the two ``blocks`` if there is room, and how much."""
    share = done / total if total else 1.0
    tail = f"{100 * share:3.0f} %" + ("" if total == 100 else f"  {_amount(done, total)}")
    head = f"lab: {what}"
    room = min(columns - 1 - len(head) - len(tail) - 3, _LONGEST)
    if room >= _SHORTEST:
        full = int(room * share)
        return f"{head} {blocks[0] * full}{blocks[1] * (room - full)}  {tail}"
    # The name gives way first: how far it is stands at the end.
    return f"{head[: max(columns - 2 - len(tail), 0)]} {tail}"[: max(columns - 1, 0)]


def _amount(done: int, total: int) -> str:
    return f"{done} %" if total == 100 else f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"


def _terminal() -> tuple[int, str]:
    """Return the terminal's columns, and what a bar is made of there."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        columns = 80
    try:
        "█░".encode(sys.stderr.encoding)
    except (UnicodeEncodeError, LookupError):
        return columns, "#-"
    return columns, "█░"
