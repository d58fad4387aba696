"""The process that owns the guests of a pytest run: ``python3 -m bpfasm.testing.keeper``, beside pytest.

A process of its own, because tests are at home in pytest's: they look at its open files, fork it, wait for its
children, change its limits and send it signals. It ends, and every guest with it, when its standard input does.

On standard input it is given a job, a line of JSON, and then a line for each guest that may run beside the first.
On standard output it gives an event a line, each with ``kernel`` (a name of the job) and one of these keys:

``up``                    the release of the kernel that has booted
``passed``, ``report``, ``warning``  what the worker in the guest sent
``done``                  the id of a test that has had all its reports
``missing``               the id of a test that is not run: ``outcome``, ``why``
``died``                  the id of a test during which the guest, or the worker in it, came to an end: ``why``
``absent``                why there is no such guest on this machine
``said``                  what was written past pytest's capturing
``seconds``               how long all of this took; the last event of a kernel
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab.parallel import Pool
from bpfasm.testing import rewritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: How long after its own deadline a worker that is silent is taken for dead, in seconds.
GRACE_S = 10.0

#: How long it may take beyond that to begin: pytest is imported, and tests are collected.
START_S = 120.0

_TAIL_BYTES = 64 << 10
_CONSOLE_LINES = 25

#: Frames of a traceback that say nothing of a test.
_OF_PYTEST = ("/_pytest/", "/pluggy/", "/bpfasm/testing/", "<frozen runpy>")


def main() -> NoReturn:
    """Do the job on standard input."""
    job = json.loads(sys.stdin.readline())
    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    runs = [Run(job, kernel, events) for kernel in job["kernels"]]
    pool = Pool([run.all for run in longest_first(runs)])
    pool.add(job["at_a_time"])
    threading.Thread(target=_listen, args=(pool,), daemon=True).start()
    threading.Thread(target=_watch, args=(runs,), daemon=True).start()
    while True:
        event = events.get()
        sys.stdout.buffer.write(json.dumps(event).encode() + b"\n")
        sys.stdout.buffer.flush()


def longest_first(runs: list[Run]) -> list[Run]:
    """Return the runs in the order in which they begin.

    The one with the most to do would have no company if it began when the others are through. Of those with as many
    tests it is the last, as a rule the newest kernel, on which the fewest are skipped.
    """
    return sorted(runs, key=lambda run: len(run.left))[::-1]


def _listen(pool: Pool) -> None:
    """Take what pytest sends; when it is gone, end at once with everything that was started here."""
    while sys.stdin.readline():
        pool.add()
    os.killpg(0, signal.SIGKILL)


def _watch(runs: list[Run]) -> None:
    """End the guests that have been silent for too long."""
    pause = threading.Event()
    while not pause.wait(1):
        for run in runs:
            run.check()


class Run:
    """The tests of one kernel, in one guest, or in several where tests bring it down."""

    def __init__(
        self, job: dict[str, Any], kernel: dict[str, Any], events: queue.SimpleQueue[dict[str, Any]]
    ) -> None:
        self.job = job
        self.name: str = kernel["name"]
        self.version: str = kernel["version"]
        self.left: dict[str, None] = dict.fromkeys(kernel["ids"])
        self.events = events
        self.worker: Worker | None = None

    def all(self, pool: Pool) -> None:
        """Run the tests. One that ends its guest has failed; those after it go on in another."""
        started = time.monotonic()
        try:
            while self.left:
                before = len(self.left)
                why = self._some(pool)
                if len(self.left) == before:  # another boot would end where this did
                    self._fail(why)
        except Exception:
            self._fail(traceback.format_exc())
        self.post(seconds=time.monotonic() - started)

    def check(self) -> None:
        """End a guest that has been silent for longer than a test may take: not even Python is alive in it."""
        worker = self.worker
        if not worker:
            return
        patience = self.job["timeout"] + GRACE_S + (0 if worker.current else START_S)
        if time.monotonic() - worker.heard > patience:
            worker.silent = True
            worker.guest.kill()

    def post(self, **event: object) -> None:
        """Send an event to pytest."""
        self.events.put({"kernel": self.name, **event})

    def _some(self, pool: Pool) -> str:
        """Boot a guest and run in it what is left; return why that ended early, if it did."""
        booted = False
        try:
            with pool.boot(
                lab.find(self.version),
                progress=_silent,
                packages=("pytest", *self.job["packages"]),
                copy=[Path(path) for path in self.job["copy"]],
                made=partial(rewritten.files, [Path(path) for path in self.job["rewritten"]]),
            ) as guest:
                booted = True
                self.post(up=guest.release)
                self.worker = Worker(self, guest)
                return self.worker.run()
        except LabError as error:
            if booted or error.rule == "lab-guest":
                return str(error)
            self.post(absent=str(error))
            self.left.clear()
            return ""
        finally:
            self.worker = None

    def _fail(self, why: str) -> None:
        """Let all that is left fail; the first says at length why."""
        for name in self.left:
            self.post(missing=name, outcome="failed", why=why)
            why = why.partition("\n")[0]
        self.left.clear()


class Worker:
    """A worker in a guest: what it was told, what it has said, and how it ended."""

    def __init__(self, run: Run, guest: lab.Guest) -> None:
        self.of = run
        self.guest = guest
        self.current = ""
        self.finished = False
        self.begun = self.heard = time.monotonic()
        self.silent = False
        self.end: int | None = None
        self.held = b""
        self.tail = b""

    def run(self) -> str:
        """Run what is left; return why it ended early, if it did."""
        job = self.of.job["worker"] | {
            "name": self.of.name,
            "ids": list(self.of.left),
            "timeout": self.of.job["timeout"],
        }
        fd = os.memfd_create("bpfasm-job")
        try:
            os.write(fd, json.dumps(job).encode())
            os.lseek(fd, 0, os.SEEK_SET)
            status = self.guest.run(
                ["python3", "-m", "bpfasm.testing.worker"],
                stdin=fd,
                stdout=_Sink(self._events),
                stderr=_Sink(self._stderr),
            )
            why = self._why(status)
        except LabError as error:
            why = f"not a word from it for {time.monotonic() - self.heard:.0f} s: " if self.silent else ""
            why += str(error)
        finally:
            os.close(fd)
        if self.current and (why or not self.finished):
            self.of.post(died=self.current, why=why)
        else:
            self._settle()
        return why

    def _why(self, status: int) -> str:
        """Say why the worker ended, where that was not at its end."""
        if self.end in {0, 1} and (self.finished or not self.current):
            return ""
        if self.end is not None:
            what = f"pytest in the guest ended with status {self.end}"
        elif self.current and time.monotonic() - self.begun >= self.of.job["timeout"]:
            what = f"it did not end within {self.of.job['timeout']:g} s"
        else:
            what = f"its process in the guest ended with status {status}"
        console = self.guest.console().splitlines()[-_CONSOLE_LINES:]
        said = self.tail.decode(errors="replace").splitlines()
        words = [what, *(line for line in said if not any(part in line for part in _OF_PYTEST))]
        if console:
            words += ["the console's last lines:", *(f"  | {line}" for line in console)]
        return "\n".join(words)

    def _settle(self) -> None:
        """Say of the test that was the current one that it has had all its reports.

        That is known when the next begins: what a test leaves behind may end the guest when it is over.
        """
        if self.current:
            self.of.post(done=self.current)
        self.current, self.finished = "", False

    def _events(self, data: bytes) -> None:
        """Take the worker's standard output."""
        self.heard = time.monotonic()
        *lines, self.held = (self.held + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "start" in event:
                self._settle()
                self.current, self.begun = event["start"], self.heard
                del self.of.left[self.current]
            elif "finish" in event:
                self.finished = True
            elif "end" in event:
                self.end = event["end"]
            else:
                if "missing" in event:
                    del self.of.left[event["missing"]]
                self.of.post(**event)

    def _stderr(self, data: bytes) -> None:
        """Take the worker's standard error, and what tests wrote where pytest does not look."""
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        if self.of.job["show"]:
            self.of.post(said=data.decode(errors="replace"))


class _Sink:
    """A function as a place to write to."""

    def __init__(self, write: Any) -> None:
        self.write = write


def _silent(_what: str, _done: int, _total: int) -> None:
    """Show no progress: the terminal is pytest's."""


if __name__ == "__main__":
    main()
