"""This process's terminal and signals: what a guest is given of them, and that they are given back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

import pytest

from bpfasm.lab.guest import terminal
from bpfasm.lab.guest.terminal import Noted, Terminal


@pytest.fixture
def tty():
    """Return both ends of a terminal: the one in front of which somebody sits, and the program's."""
    ends = pty.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


class Nowhere:
    def write(self, data: bytes) -> None:
        pass


def test_a_signal_is_noted_once_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGWINCH)
    with Noted(signal.SIGINT, signal.SIGWINCH) as noted:
        assert noted.take() == set()
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGWINCH)
        assert noted.take() == {signal.SIGINT, signal.SIGWINCH}
        assert noted.take() == set()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGWINCH)) == before


def test_a_second_ctrl_c_that_nobody_looks_at_is_an_exception():
    with Noted(signal.SIGINT) as noted, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    with Noted(signal.SIGINT) as noted:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            assert noted.take() == {signal.SIGINT}


def test_an_ignored_ctrl_c_stays_ignored():
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Noted(signal.SIGINT) as noted:
            os.kill(os.getpid(), signal.SIGINT)
            assert noted.take() == set()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


def test_another_thread_takes_no_signals():
    seen = []

    def work() -> None:
        with Noted(signal.SIGINT) as noted:
            seen.append(noted.take())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [set()]


def test_more_signals_than_a_pipe_holds():
    with Noted(signal.SIGWINCH) as noted:
        for _ in range(1 << 17):
            os.kill(os.getpid(), signal.SIGWINCH)
        assert noted.take() == {signal.SIGWINCH}


def test_a_terminal_is_raw_in_the_block_alone(tty):
    before = termios.tcgetattr(tty[1])
    with Terminal(Nowhere(), tty[1]):
        raw = termios.tcgetattr(tty[1])
        assert not raw[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert not raw[1] & termios.OPOST
    assert termios.tcgetattr(tty[1]) == before
    with contextlib.suppress(ZeroDivisionError), Terminal(Nowhere(), tty[1]):
        raise ZeroDivisionError
    assert termios.tcgetattr(tty[1]) == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_size_of_a_terminal(tty):
    fcntl.ioctl(tty[1], termios.TIOCSWINSZ, struct.pack("HHHH", 5, 300, 0, 0))
    assert Terminal(Nowhere(), tty[1]).size() == (5, 300)
    fcntl.ioctl(tty[1], termios.TIOCSWINSZ, bytes(8))
    assert Terminal(Nowhere(), tty[1]).size() == (24, 80)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("written", "back"),
    [
        (b"plain", False),
        (b"\x1b[?1049h vi", True),
        (b"\x1b[?1049h vi \x1b[?1049l", False),
        (b"\x1b[?1049l\x1b[?1049h\x1b[m", True),
        (b"\x1b[?1049", False),
    ],
)
def test_the_first_screen_is_gone_back_to_when_it_was_left(tty, monkeypatch, size: int, written: bytes, back: bool):
    """However the output is cut."""
    monkeypatch.setenv("TERM", "xterm")
    out: list[bytes] = []
    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setattr(terminal.os, "write", lambda _, data: out.append(data))
    with Terminal(Nowhere(), tty[1]) as one:
        for i in range(0, len(written), size):
            one.write(written[i : i + size])
    assert out[0].startswith(b"\x1b[?1049l") == back
    with Terminal(Nowhere(), tty[1]) as one:
        one.over = True
    assert len(out) == 1  # a program that has ended leaves a screen as it wants


def test_the_description_of_the_terminal_is_found(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/xterm-own").write_bytes(b"")
    (tmp_path / "79").mkdir()
    (tmp_path / "79/yterm").write_bytes(b"")
    monkeypatch.setenv("TERMINFO", str(tmp_path))
    for name, found in (("xterm-own", "x/xterm-own"), ("yterm", "79/yterm")):
        monkeypatch.setenv("TERM", name)
        assert terminal.description() == [tmp_path / found]
    for name in ("", "none-such", "../x/xterm-own"):
        monkeypatch.setenv("TERM", name)
        assert terminal.description() == []


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_the_prompt_of_the_shell(monkeypatch, no_color: str, coloured: bool):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    words = terminal.shell("6.12.117+deb13-cloud-amd64")
    assert words[-1] == "6.12.117 # "
    assert ("\\e[" in words[-2]) == coloured
    monkeypatch.setenv("TERM", "dumb")
    assert "\\e[" not in terminal.shell("6.1")[-2]


def test_the_shell_is_sh_where_there_is_no_busybox(tmp_path):
    """The shell itself, from a folder of programs that is all the guest has."""
    (tmp_path / "sh").symlink_to("/bin/sh")
    words = terminal.shell("6.1.0-56-cloud-amd64")
    done = subprocess.run(
        ["/bin/sh", *words[1:]], env={"PATH": str(tmp_path)}, input=b'echo "$PS1"; exit 5', capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, b"6.1.0 # \n")
    (tmp_path / "busybox").write_text('#!/bin/sh\necho "$@" "$PS1"\n')
    (tmp_path / "busybox").chmod(0o755)
    done = subprocess.run(["/bin/sh", *words[1:]], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.stdout.startswith(b"ash ")
    assert b"6.1.0" in done.stdout
