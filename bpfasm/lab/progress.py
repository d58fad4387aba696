"""Show how far a download is: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time


class Reporter:
    """Show progress on stderr: one line that is rewritten on a terminal, a line at most each 2 s elsewhere."""

    def __init__(self) -> None:
        self.what = ""
        self.shown = 0.0
        self.done = False

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` bytes of ``total`` are here; 100 in all is a percentage."""
        terminal = sys.stderr.isatty()
        finished = done >= total > 0
        now = time.monotonic()
        if what == self.what and (self.done or (not finished and now - self.shown < (0.1 if terminal else 2))):
            return
        self.what, self.shown, self.done = what, now, finished
        amount = f"{done} %" if total == 100 else f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
        if terminal:
            print(f"\r\033[Klab: {what}: {amount}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            print(f"lab: {what}: {amount}", file=sys.stderr, flush=True)
