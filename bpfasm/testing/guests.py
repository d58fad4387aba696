"""Tests in guests, as pytest sees them: their reports come from there, and read as if they had run here.

The guests work from the start, beside pytest's own loop, which first goes through the tests of this kernel.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import deque
from pathlib import Path

import pytest

from bpfasm.lab import parallel
from bpfasm.lab.image.parts import project_root
from bpfasm.testing.plugin import kernel_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Any, Literal

    from bpfasm.lab import Kernel

    Outcome = Literal["passed", "failed", "skipped"]
    Phase = Literal["setup", "call", "teardown"]

#: Options that are about this run, not about how a test runs and how its report reads; and those that go as words.
_OURS = {
    "on", "lab_report", "file_or_dir", "pyargs", "keyword", "markexpr", "deselect", "ignore", "ignore_glob",
    "collectonly", "maxfail", "lf", "failedfirst", "newfirst", "last_failed_no_failures", "cacheclear", "cacheshow",
    "stepwise", "stepwise_skip", "stepwise_reset", "xmlpath", "junitprefix", "usepdb", "usepdb_cls", "trace",
    "traceconfig", "basetemp", "setuponly", "setupshow", "setupplan", "plugins", "version", "help", "debug",
    "inifilename", "rootdir", "log_file", "log_cli_level", "showfixtures", "show_fixtures_per_test", "markers",
    "pastebin", "override_ini", "pythonwarnings", "capture", "importmode", "assertmode",
}  # fmt: skip

#: Plugins named for this run that a worker has, or has not, by itself.
_OWN_PLUGINS = {"bpfasm.testing.plugin", "no:terminal"}

#: Where pytest's loader of modules with rewritten assertions is from.
_REWRITER = "_pytest.assertion.rewrite"


class Guests:
    """The plugin that is there when ``--on`` names a kernel of the lab."""

    def __init__(self, config: pytest.Config, kernels: dict[str, Kernel]) -> None:
        self.config = config
        self.kernels = kernels
        #: Of each kernel: its release once it has booted, the seconds it took, and why it is not here.
        self.facts: dict[str, dict[str, Any]] = {name: {} for name in kernels}
        self.at_a_time = parallel.room()
        self._events: dict[str, deque[dict[str, Any]]] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self._notes = ""

    def kernel_of(self, item: pytest.Item) -> str | None:
        """Return the name of the kernel whose guest runs the test; None when it runs here."""
        name = kernel_of(item)
        return name if name in self.kernels else None

    def pytest_report_header(self) -> str:
        """Say which kernels, and how many at a time."""
        return f"lab: {', '.join(self.kernels)}; {self.at_a_time} at a time"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Start the guests, let pytest go through the tests of this kernel, then take the others in their order.

        So the last test here is the last one that pytest knows of, and takes down every fixture.
        """
        everything, option = session.items, session.config.option
        away = [item for item in everything if self.kernel_of(item)]
        if not away or option.collectonly or (session.testsfailed and not option.continue_on_collection_errors):
            return (yield)
        session.items = [item for item in everything if not self.kernel_of(item)]
        busy = bool(session.items)
        self._start(away, busy=busy)
        try:
            result = yield
            if busy:
                self._tell(b"\n")
            for item, nextitem in zip(away, [*away[1:], None], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
            while any("seconds" not in self.facts[str(self.kernel_of(item))] for item in away):
                self._read()
        finally:
            session.items = everything
            self._end()
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Hand out the reports of a test that ran in a guest, as they come."""
        if not self.kernel_of(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what the lab had to say."""
        if self._notes:
            terminalreporter.section("lab")
            terminalreporter.write(self._notes)

    def _start(self, items: Sequence[pytest.Item], busy: bool) -> None:
        """Start the keeper; while pytest is ``busy`` with tests here, it takes the place of one guest."""
        ids: dict[str, list[str]] = {}
        for item in items:
            ids.setdefault(str(self.kernel_of(item)), []).append(item.nodeid)
        job = {
            "kernels": [{"name": name, "version": self.kernels[name].version, "ids": ids[name]} for name in ids],
            "at_a_time": self.at_a_time - busy,
            "timeout": float(self.config.getini("lab_timeout")),
            "packages": self.config.getini("lab_packages"),
            "copy": [str(path) for path in self._copied()],
            "rewritten": [str(path) for path in self._rewritten()],
            "show": self.config.getoption("capture") == "no",
            "worker": self._for_worker(),
        }
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the keeper
        path = os.pathsep.join(filter(None, (str(project_root()), os.environ.get("PYTHONPATH"))))
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "bpfasm.testing.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C is for pytest, which ends it
            env=os.environ | {"PYTHONPATH": path},
        )
        self._tell(json.dumps(job).encode() + b"\n")

    def _copied(self) -> list[Path]:
        """Return what guests get beside this project, which they always have."""
        named: list[Path] | None = self.config.getini("lab_copy")
        if named:
            return named
        return [] if self.config.rootpath == project_root() else [self.config.rootpath]

    def _rewritten(self) -> list[Path]:
        """Return the sources that pytest has compiled its own way, of those that guests get."""
        specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
        found = [Path(spec.origin) for spec in specs if spec and type(spec.loader).__module__ == _REWRITER]
        return [path for path in found if any(map(path.is_relative_to, (project_root(), *self._copied())))]

    def _for_worker(self) -> dict[str, object]:
        """Return what makes a test run, and read, in a guest as it does here."""
        config, option = self.config, self.config.option
        words = ["-o", "addopts=", f"--import-mode={option.importmode}", f"--assert={option.assertmode}"]
        words += [f"--capture={option.capture}"]
        words += [f"-o{setting}" for setting in option.override_ini or []]
        words += [f"-W{warning}" for warning in option.pythonwarnings or []]
        words += [f"-p{name}" for name in option.plugins if name not in _OWN_PLUGINS]
        if config.inipath:
            words += ["-c", str(config.inipath)]
        here = config.invocation_params.dir
        return {
            "root": str(config.rootpath),
            "cwd": str(here if here.is_relative_to(config.rootpath) else config.rootpath),
            "words": words,
            "options": {name: value for name, value in vars(option).items() if name not in _OURS and _is_json(value)}
            | {"continue_on_collection_errors": True},
        }

    def _tell(self, line: bytes) -> None:
        assert self._keeper and self._keeper.stdin
        self._keeper.stdin.write(line)
        self._keeper.stdin.flush()

    def _end(self) -> None:
        """End the keeper, and with it whatever it has started."""
        keeper = self._keeper
        assert keeper and keeper.stdin and keeper.stdout
        if keeper.poll() is None:
            os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
        keeper.stdin.close()
        keeper.stdout.close()
        self._stderr.seek(0)
        self._notes = self._stderr.read().decode(errors="replace")
        self._stderr.close()

    def _reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Yield the reports of a test in a guest; where it has none of its own, some that say why."""
        seen: list[pytest.TestReport] = []
        while True:
            event = self._event(item)
            if "passed" in event or "report" in event:
                report = _report(item, event["report"]) if "report" in event else _passed(item, event)
                seen.append(report)
                yield report
            elif "done" in event:
                return
            elif "died" in event:
                yield from _ended(item, seen, event["why"])
                return
            else:
                yield from _not_run(item, event["outcome"], event["why"])
                return

    def _event(self, item: pytest.Item) -> dict[str, Any]:
        """Wait for what comes next of a test."""
        kernel = str(self.kernel_of(item))
        events = self._events.setdefault(item.nodeid, deque())
        while not events:
            if "absent" in self.facts[kernel]:
                # Silence would prove nothing where tests are run to prove something.
                outcome = "failed" if os.environ.get("CI") else "skipped"
                return {"outcome": outcome, "why": self.facts[kernel]["absent"]}
            self._read()
        return events.popleft()

    def _read(self) -> None:
        """Take an event from the keeper."""
        assert self._keeper and self._keeper.stdout
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"bpfasm.testing.keeper ended with status {self._keeper.wait()}")
        event = json.loads(line)
        facts = self.facts[event.pop("kernel")]
        if "report" in event:
            self._events.setdefault(event["report"]["nodeid"], deque()).append(event)
        elif "said" in event:
            sys.stdout.write(event["said"])
        elif "warning" in event:
            _warn(self.config, event)
        elif facts.keys() | {"up", "seconds", "absent"} > event.keys():
            facts.update(event)
        else:
            name = next(iter(event.values()))  # passed, done, missing, died
            self._events.setdefault(name, deque()).append(event)


def _passed(item: pytest.Item, event: dict[str, Any]) -> pytest.TestReport:
    """Return the report of a phase that passed in silence; the rest of it is known here."""
    keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)
    when, times = event["when"], event["times"]
    return pytest.TestReport(item.nodeid, item.location, keywords, "passed", None, when, (), *times)


def _report(item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
    """Return a report that came as JSON, which knows no tuples, without the place of its test."""
    if data["outcome"] == "skipped" and isinstance(data["longrepr"], list):
        data["longrepr"] = tuple(data["longrepr"])
    data["location"] = item.location
    data["sections"] = [tuple(section) for section in data["sections"]]
    data["user_properties"] = [tuple(pair) for pair in data["user_properties"]]
    # pytest takes the repr of a subtest's values when it writes them, and again when it reads them.
    for values in (subtest["kwargs"] for name, subtest in data.items() if name == "_subtest.context"):
        values.update({name: _Shown(value) for name, value in values.items()})
    hook = item.config.hook
    report: pytest.TestReport = hook.pytest_report_from_serializable(config=item.config, data=data)
    return report


class _Shown(str):
    """A string that is shown as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _ended(item: pytest.Item, seen: list[pytest.TestReport], why: str) -> Iterator[pytest.TestReport]:
    """Yield the reports of a test, after those that were ``seen``, during which the guest came to an end.

    What passed before is not known where nothing has been seen since: then it is the test itself that failed.
    """
    if not seen:
        yield _made_up(item, "setup", "passed")
    if len(seen) < 2 and all(report.passed for report in seen):
        yield _made_up(item, "call", "failed", why)
        yield _made_up(item, "teardown", "passed")
    else:
        yield _made_up(item, "teardown", "failed", why)


def _not_run(item: pytest.Item, outcome: Outcome, why: str) -> Iterator[pytest.TestReport]:
    """Yield the reports of a test that was not run."""
    yield _made_up(item, "setup", outcome, why)
    yield _made_up(item, "teardown", "passed")


def _made_up(item: pytest.Item, phase: Phase, outcome: Outcome, why: str = "") -> pytest.TestReport:
    """Return a report that no guest sent."""
    longrepr = (__file__, 1, f"Skipped: {why.replace(chr(10), '; ')}") if outcome == "skipped" else why or None
    keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)
    return pytest.TestReport(item.nodeid, item.location, keywords, outcome, longrepr, phase)


def _warn(config: pytest.Config, event: dict[str, Any]) -> None:
    """Record a warning of a guest's; its class is there, and its name is what a warning shows."""
    category = type(event["category"], (Warning,), {})
    message = warnings.WarningMessage(event["warning"], category, event["filename"], event["lineno"])
    location = tuple(event["location"]) if event["location"] else None
    config.hook.pytest_warning_recorded.call_historic(
        kwargs={"warning_message": message, "when": event["when"], "nodeid": event["nodeid"], "location": location}
    )


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
