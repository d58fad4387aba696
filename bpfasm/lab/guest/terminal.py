"""This process's terminal and signals while a guest has them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import termios
import threading
import tty
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Self

    from bpfasm.lab.guest.errand import Sink

#: What ends the guest, whatever it does: Ctrl-].
ESCAPE = b"\x1d"

#: What a program that was ended did not undo: a hidden cursor, reports of mouse and pasting, another mode of keys,
#: colours (xterm's ctlseqs).
_UNDO = b"\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[m\r\n"

#: To and from the screen of full-screen programs, but for the last letter. Going back moves the cursor, so that it is
#: only done where it has to be.
_SECOND_SCREEN = b"\x1b[?1049"

#: Where descriptions of terminals are, below each a folder by the name's first letter (terminfo(5)).
_TERMINFO = ("~/.terminfo", "/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")


class Noted:
    """Turn signals into a readable file for as long as the block lasts, so that no frame is cut in two by one.

    Outside the main thread, or for a Ctrl-C that is ignored, the file just never has anything. A second Ctrl-C
    while nobody looks at the file is KeyboardInterrupt.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers if threading.current_thread() is threading.main_thread() else ()
        self._previous: dict[int, Any] = {}
        self._interrupted = False

    def __enter__(self) -> Self:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in self._numbers:
            previous = signal.getsignal(number)
            if previous not in {signal.SIG_IGN, None}:
                self._previous[number] = previous
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        os.close(self.fd)
        os.close(self._write)

    def take(self) -> set[int]:
        """Return the signals that have come since the last time."""
        self._interrupted = False
        try:
            return set(os.read(self.fd, 1 << 12))
        except BlockingIOError:
            return set()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt  # nobody is looking at the file: some write takes for ever
            self._interrupted = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, bytes([number]))


class Terminal:
    """The terminal of standard input, every key of which goes to the guest for as long as the block lasts.

    ``out`` takes what the command writes. Afterwards the terminal is as it was, however the block ends, SIGTERM and
    SIGHUP included. A block that is left before ``over`` is true leaves a program in the middle: what that had
    switched on is switched off.
    """

    def __init__(self, out: Sink, fd: int = 0) -> None:
        self.fd = fd
        self._out = out
        self.over = False
        self._was: Any = None
        self._second_screen = False
        self._tail = b""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._was = termios.tcgetattr(self.fd)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                self._handlers[number] = signal.signal(number, self._die)
        # What was typed while the guest booted is kept.
        tty.setraw(self.fd, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def write(self, data: bytes) -> None:
        """Note which screen this leads to, and write it."""
        text = self._tail + data
        _, switch, after = text.rpartition(_SECOND_SCREEN)
        if switch and after:
            self._second_screen = after.startswith(b"h")
        self._tail = text[-len(_SECOND_SCREEN) :]
        self._out.write(data)

    def size(self) -> tuple[int, int]:
        """Return its rows and columns; 24 and 80 where it does not know."""
        answer = fcntl.ioctl(self.fd, termios.TIOCGWINSZ, bytes(8))
        rows, columns = (int.from_bytes(answer[i : i + 2], sys.byteorder) for i in (0, 2))
        return rows or 24, columns or 80

    def _restore(self) -> None:
        # From the background, setting a terminal would stop us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with contextlib.suppress(OSError, termios.error):  # it may be gone
            termios.tcsetattr(self.fd, termios.TCSANOW, self._was)
            if not self.over and os.environ.get("TERM", "dumb") != "dumb" and os.isatty(1):
                os.write(1, (_SECOND_SCREEN + b"l") * self._second_screen + _UNDO)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _die(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def say(what: str) -> None:
    """Print a line of the lab's own on stderr, which may be a terminal that is raw."""
    if sys.stderr:
        raw = sys.stderr.isatty() and not termios.tcgetattr(sys.stderr)[1] & termios.OPOST
        print(f"lab: {what}", end="\r\n" if raw else "\n", file=sys.stderr, flush=True)


def description() -> list[Path]:
    """Return the file that describes this terminal to curses and readline, if this machine has it."""
    name = os.environ.get("TERM", "")
    if not name or "/" in name:
        return []
    folders = [Path(place).expanduser() for place in (os.environ.get("TERMINFO", ""), *_TERMINFO) if place]
    found = (folder / first / name for folder in folders for first in (name[0], f"{ord(name[0]):x}"))
    return [path for path in found if path.is_file()][:1]


def shell(release: str) -> list[str]:
    """Return the command that is an interactive shell in a guest: busybox's, whose lines can be edited, or sh."""
    version = release.partition("-")[0].partition("+")[0]
    colour = "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
    prompt = f"\\[\\e[1;32m\\]{version}\\[\\e[m\\] \\w # " if colour else f"{version} \\w # "
    program = 'export PS1="$1"; command -v busybox >/dev/null && exec busybox ash; export PS1="$2"; exec sh'
    return ["sh", "-c", program, "lab", prompt, f"{version} # "]
