"""The file of ``--lab-report``: what the tests of each kernel came to, file by file."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from bpfasm.testing.plugin import NAMES, kernel_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Results:
    """The plugin that counts."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.kernels: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, dict[str, Counter[str]]] = {}
        self.reasons: dict[str, dict[str, Counter[str]]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which kernel each test is for."""
        self.kernels = {item.nodeid: name for item in session.items if (name := kernel_of(item))}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a report under what pytest calls it: passed, failed, error, skipped, xfailed ..."""
        kernel = self.kernels.get(report.nodeid)
        if kernel is None:
            return
        self.seconds[kernel] = self.seconds.get(kernel, 0) + report.duration
        category: str = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
        if not category:
            return
        area = report.nodeid.split("::")[0]
        self.counts.setdefault(kernel, {}).setdefault(area, Counter())[category] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            self.reasons.setdefault(kernel, {}).setdefault(area, Counter())[reason] += 1

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        guests = self.config.pluginmanager.get_plugin("bpfasm_lab_guests")
        kernels = [
            self._kernel(name, guests.facts.get(name) if guests else None)
            for name in self.config.stash[NAMES]
            if name in self.kernels.values()
        ]
        Path(self.config.getoption("--lab-report")).write_text(json.dumps({"kernels": kernels}, indent=2) + "\n")

    def _kernel(self, name: str, facts: dict[str, Any] | None) -> dict[str, Any]:
        """Return what is known of a kernel; ``facts`` are of one in the lab."""
        if facts is None:
            facts = {"up": os.uname().release, "seconds": self.seconds.get(name, 0)}
        return {
            "kernel": name,
            "release": facts.get("up"),
            "seconds": round(facts["seconds"], 1) if "seconds" in facts else None,
            "absent": facts.get("absent"),
            "areas": [
                {"area": area, "counts": dict(counts), "reasons": dict(self.reasons.get(name, {}).get(area, {}))}
                for area, counts in self.counts.get(name, {}).items()
            ],
        }
