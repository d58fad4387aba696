"""The names of a busybox's commands, read from the file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bpfasm.lab.image.busybox import applets

NAMES = ["[", "[[", "ar", "ash", "busybox", "cat", "chmod", "i2cget", "run-parts", "zcat"]


def table(names: list[str]) -> bytes:
    return b"".join(name.encode() + b"\0" for name in names) + b"\0"


@pytest.mark.oracle
def test_they_are_those_that_busybox_lists():
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert applets(Path(program).read_bytes()) == [name for name in listed if name != "busybox"]


@pytest.mark.parametrize("before", [b"\0", b"\xc0\xae ", b"text\0", b"\xffzz\0"])
@pytest.mark.parametrize("names", [NAMES, NAMES[2:], NAMES[3:]])
def test_the_table_is_found_whatever_comes_before_it(before: bytes, names: list[str]):
    found = applets(b"\x7fELF cat" + before + table(names) + b"after\0it\0")
    assert found == [name for name in names if name != "busybox"]


@pytest.mark.parametrize("before", [b"0", b"x", b"\0x", b"cat"])
def test_a_bracket_is_a_name_of_its_own(before: bytes):
    assert applets(before + table(NAMES))[:3] == ["[", "[[", "ar"]


def test_the_longest_run_is_the_table():
    assert applets(b"\0cat\0dog\0" + table(NAMES) + b"\0a\0cat\0") == [name for name in NAMES if name != "busybox"]


@pytest.mark.parametrize("data", [b"", b"cat", b"\0cat", b"\0" * 100, b"no table here\0"])
def test_what_is_no_busybox_has_none(data: bytes):
    assert applets(data) == []
