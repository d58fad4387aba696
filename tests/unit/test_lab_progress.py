"""The bar of a download: on terminals of all kinds, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from bpfasm.lab.packages import progress
from bpfasm.lab.packages.progress import Reporter, bar

PROGRAM = """
from bpfasm.lab.packages.progress import shown
with shown(None) as show:
    show("package lists of bookworm, bookworm-security", 50, 100)
    show("6.1", 0, 50_000_000)
    show("6.1", 20_000_000, 50_000_000)
    show("6.1", 50_000_000, 50_000_000)
    show("6.1", 50_000_000, 50_000_000)
    show("7", 1_000_000, 38_000_000)
print("after", file=__import__("sys").stderr)
"""


def on_terminal(columns: int, **environment: str) -> bytes:
    """Return what the program writes to a terminal of so many columns; rewriting is not held back."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        program = f"import bpfasm.lab.packages.progress as p; p._REWRITTEN_S = 0\n{PROGRAM}"
        os.execve(sys.executable, [sys.executable, "-c", program], os.environ | {"TERM": "xterm"} | environment)
    output = b""
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        output += data
    os.close(fd)
    os.waitpid(pid, 0)
    return output.replace(b"\r\n", b"\n")


def states(output: bytes) -> list[str]:
    """Return each state of each line."""
    return [piece for piece in output.decode().replace("\r\x1b[K", "\n").split("\n") if piece]


def test_a_terminal_shows_one_line_for_each_thing():
    output = on_terminal(100, PYTHONIOENCODING="utf-8")
    lists, *kernel, other, after = states(output)
    assert lists == "lab: package lists of bookworm, bookworm-security " + "█" * 15 + "░" * 15 + "   50 %"
    assert kernel == [
        "lab: 6.1 " + "░" * 30 + "    0 %  0.0 of 50.0 MB",
        "lab: 6.1 " + "█" * 12 + "░" * 18 + "   40 %  20.0 of 50.0 MB",
        "lab: 6.1 " + "█" * 30 + "  100 %  50.0 of 50.0 MB",
    ]
    # What was not finished has its line ended, so that an error stands on one of its own.
    assert other.startswith("lab: 7 ") and "3 %" in other
    assert after == "after"
    assert output.count(b"\n") == 4


@pytest.mark.parametrize("columns", [200, 80, 40, 30, 20, 10, 2, 1])
def test_a_line_fits_its_terminal(columns: int):
    seen = states(on_terminal(columns, PYTHONIOENCODING="utf-8"))[:-1]
    assert all(len(line) < max(columns, 2) for line in seen)
    if columns >= 30:
        assert any(line.endswith("20.0 of 50.0 MB") and "40 %" in line for line in seen)


def test_a_terminal_without_such_characters_gets_ascii():
    output = on_terminal(80, PYTHONIOENCODING="ascii")
    assert b"#" * 12 + b"-" * 18 in output
    assert output.isascii()


def test_there_is_no_colour():
    assert on_terminal(80, NO_COLOR="1") == on_terminal(80)
    assert b"\x1b[3" not in on_terminal(80)


def test_a_dumb_terminal_gets_lines():
    output = on_terminal(80, TERM="dumb")
    assert b"\x1b" not in output and b"\r" not in output
    assert b"lab: 6.1: 50.0 of 50.0 MB\n" in output


def test_lines_where_there_is_no_terminal(capsys):
    report = Reporter()
    for done in (0, 1_000_000, 2_000_000, 2_000_000):
        report("linux-image 6.1", done, 2_000_000)
    report("lists", 100, 100)
    report.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "lab: linux-image 6.1: 0.0 of 2.0 MB",
        "lab: linux-image 6.1: 2.0 of 2.0 MB",
        "lab: lists: 100 %",
    ]


def test_a_line_is_not_said_again(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PLAIN_S", 0)
    show = Reporter()
    for done in (0, 10, 930, 931, 939, 1000):
        show("package lists", done // 10, 100)
    assert capsys.readouterr().err.splitlines() == [f"lab: package lists: {percent} %" for percent in (0, 1, 93, 100)]


def test_a_bar_of_nothing():
    assert bar("x", 0, 0, 80, "#-").startswith("lab: x " + "#" * 30)
