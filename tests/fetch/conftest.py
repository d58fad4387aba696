"""An archive of Debian's shape for the tests of the lab's fetching, and bpfasm made to trust its key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.archive import NO_PINS, TOOLS, Archive, Key, fill, trust

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def archive_key():
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    key = Key()
    yield key
    key.close()


@pytest.fixture(scope="session")
def _archive(archive_key, tmp_path_factory) -> Archive:
    archive = fill(Archive(tmp_path_factory.mktemp("archive"), archive_key))
    archive.publish()
    return archive


@pytest.fixture
def archive(_archive, tmp_path, monkeypatch) -> Archive:
    """An archive of the test's own, named by BPFASM_MIRROR; the cache and apt's configuration are the test's too."""
    archive = _archive.copy(tmp_path / "archive")
    trust(archive, tmp_path, monkeypatch)
    return archive


@pytest.fixture
def command(archive):
    """Return how to start ``bpfasm WORDS`` as a process of its own, with the test's archive."""
    started = []

    def start(*words: str, before: tuple[str, ...] = (), facts: dict | None = None, **options) -> subprocess.Popen:
        facts = {"keyring": str(archive.key.keyring), "pins": NO_PINS} | (facts or {})
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tools'}"}
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "support.lab_child", json.dumps(facts), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
