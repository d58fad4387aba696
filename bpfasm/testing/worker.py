"""Run tests in a guest: ``python3 -m bpfasm.testing.worker`` with the job on standard input, in JSON.

Standard output carries an event a line, each an object with one of these keys:

``start``, ``finish``   the id of a test that begins, and has ended
``passed``              the id of a test of which a phase passed in silence: ``when``, and its ``times``: how long it
                        took, when it began, and when it ended
``report``              any other report of pytest's
``warning``             a warning, as pytest's hook has it
``missing``             the id of a test that is not here; ``outcome`` and ``why`` say how that came about
``end``                 the exit status of pytest
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import itertools
import json
import os
import sys
import time

import pytest

from bpfasm.testing import plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator, Iterator
    from typing import Any

#: Plugins of pytest's that are about the host's run, and would have something to do here at each fixture or report.
_NOT_HERE = ("setuponly", "setupplan", "stepwise")

#: Where a test is, which the host knows too, and puts into the reports: to find it out takes a tenth of a small test.
_KNOWN_THERE = ("", None, "")

#: What a test's report holds when there is nothing to say.
_PLAIN = vars(pytest.TestReport("", _KNOWN_THERE, {}, "passed", None, "call")).keys()

#: A test is ended that much later than said, at most: to set the alarm costs as much as a small test.
_LATE_S = 5.0


def main() -> int:
    """Do the job on standard input."""
    gc.disable()  # what is imported and collected lives to the end
    job = json.load(sys.stdin)
    sys.dont_write_bytecode = True  # it would go with the guest
    # What tests print where pytest does not look must not get among the events.
    events = os.dup(1)
    os.dup2(2, 1)
    os.makedirs(job["cwd"], exist_ok=True)
    os.chdir(job["cwd"])
    worker = Worker(job, events)
    worker.send(end=int(pytest.main(words(job), plugins=[plugin, worker])))
    return 0


def words(job: dict[str, Any]) -> list[str]:
    """Return pytest's command line: whole files; the ids choose among their tests."""
    files = dict.fromkeys(name.split("::")[0] for name in job["ids"])
    return [
        f"--rootdir={job['root']}",
        *job["words"],
        *(f"-pno:{name}" for name in _NOT_HERE),
        *(os.path.join(job["root"], file) for file in files),
    ]


class Worker:
    """A plugin of the guest's pytest: it names the kernel, chooses and orders the tests, and sends the reports."""

    def __init__(self, job: dict[str, Any], events: int) -> None:
        self.job = job
        self.events = events
        self.stderr = os.dup(2)
        self.collected: dict[str, tuple[str, str]] = {}
        self.wanted = {part for name in job["ids"] for part in _parts(name)}
        self.held = b""
        self.alarm = 0.0

    def send(self, **event: object) -> None:
        """Send an event, past every buffer: a test may end this process at any moment."""
        self.hold(**event)
        left = memoryview(self.held)
        self.held = b""
        while left:
            left = left[os.write(self.events, left) :]

    def hold(self, **event: object) -> None:
        """Have an event go along with the next: each that is sent wakes processes here and on the host.

        So a test that passes is sent when the next begins. What it leaves behind may end this process before that,
        and then it has failed.
        """
        self.held += json.dumps(event, default=str).encode() + b"\n"

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Take over the host's options: those that say how a test runs and how its report reads."""
        vars(config.option).update(self.job["options"])

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Give the tests the name of this kernel, for the host's ids, and be all that reports."""
        self.config = config
        config.stash[plugin.NAMES] = [self.job["name"]]
        config.pluginmanager.unregister(name="terminalreporter")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what of the files could not be collected, or said that it is to be skipped."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.collected[report.nodeid] = "skipped", report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            self.collected[report.nodeid] = "failed", report.longreprtext

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
        """Make no tests of functions and classes that have none of those that the host asks for."""
        return None if f"{collector.nodeid}::{name}" in self.wanted else []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that the host asks for, in its order."""
        here = {item.nodeid: item for item in items}
        items[:] = [here[name] for name in self.job["ids"] if name in here]
        for item in items:
            vars(item)["location"] = _KNOWN_THERE
        for name in self.job["ids"]:
            if name not in here:
                outcome, why = self.collected.get(
                    name.split("::")[0], ("failed", "it is not collected in the guest, as it was here")
                )
                self.send(missing=name, outcome=outcome, why=why)

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_directory(self) -> Generator[None, pytest.Collector | None, pytest.Collector | None]:
        """Have each folder looked through once, not once for each file in it that is named."""
        folder = yield
        if folder:
            collect = folder.collect
            folder.collect = functools.cache(lambda: list(collect()))  # type: ignore[method-assign]
        return folder

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Collect garbage from here on, among what comes; and ask once for a file which plugins look at its tests."""
        gc.freeze()
        gc.enable()
        session.gethookproxy = functools.cache(session.gethookproxy)  # type: ignore[assignment]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which test begins; one that takes too long is shown where it is, and ends the process."""
        self.send(start=nodeid)
        now, timeout = time.monotonic(), self.job["timeout"]
        late = min(timeout / 10, _LATE_S)
        if now + timeout > self.alarm:
            self.alarm = now + timeout + late
            faulthandler.dump_traceback_later(timeout + late, exit=True, file=self.stderr)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say that a test has ended."""
        self.hold(finish=nodeid)

    def pytest_sessionfinish(self) -> None:
        """Let nothing be late any more, and say what is left to say."""
        faulthandler.cancel_dump_traceback_later()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send a report, when pytest is through with it: one that holds failed subtests fails on being shown."""
        if report.when == "call" or not report.passed:
            self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        if _is_plain(report):
            self.hold(passed=report.nodeid, when=report.when, times=(report.duration, report.start, report.stop))
        else:
            self.send(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Send a warning."""
        self.send(
            warning=str(warning_message.message),
            category=warning_message.category.__name__,
            filename=warning_message.filename,
            lineno=warning_message.lineno,
            when=when,
            nodeid=nodeid,
            location=location,
        )


def _parts(name: str) -> Iterator[str]:
    """Yield the id of a test without its parameters, and those of the classes that it is in."""
    return itertools.accumulate(name.partition("[")[0].split("::"), "{}::{}".format)


def _is_plain(report: pytest.TestReport) -> bool:
    """Whether a report says no more than that a phase passed, and when."""
    return (
        type(report) is pytest.TestReport
        and report.passed
        and vars(report).keys() == _PLAIN
        and not (report.longrepr or report.sections or report.user_properties)
    )


if __name__ == "__main__":
    sys.exit(main())
