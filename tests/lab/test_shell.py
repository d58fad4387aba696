"""``bpfasm lab shell``, typed at through a terminal of the test's own: what goes in and out, and every way to end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import struct
import termios
import time

import pytest
from support.processes import gone, lab_process, machines_of, until

from bpfasm import lab
from bpfasm.lab.image.parts import project_root

pytestmark = pytest.mark.boots

#: The kernel's version, coloured, and the folder; then what is typed.
PROMPT = rb"\x1b\[1;32m[0-9.]+\x1b\[m [^\n]* # (\x1b\[6n)?$"


class Typist:
    """Somebody at a terminal in which ``bpfasm lab shell`` runs."""

    def __init__(self, *words: str, rows: int = 24, columns: int = 80, **variables: str) -> None:
        self.fd, self.side = pty.openpty()
        self.seen = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.side)
        environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | variables
        environment["PYTHONPATH"] = str(project_root())
        environment.pop("NO_COLOR", None)
        self.process = lab_process(
            *words,
            verb="shell",
            stdin=self.side,
            stdout=self.side,
            stderr=self.side,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=environment,
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str | bytes) -> None:
        """Type all of it, reading meanwhile what is shown, as a terminal does."""
        rest = text if isinstance(text, bytes) else text.encode()
        deadline = time.monotonic() + 60
        os.set_blocking(self.fd, False)
        while rest:
            assert time.monotonic() < deadline, "it takes no more"
            readable, writable, _ = select.select([self.fd], [self.fd], [], 1)
            if readable:
                self.seen += os.read(self.fd, 1 << 16)
            if writable:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self.fd, rest) :]

    def see(self, pattern: bytes, seconds: float = 60) -> re.Match[bytes]:
        """Wait until this is shown, and return it; what was shown up to its end is done with."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen, re.M)):
            assert time.monotonic() < deadline, self.seen[-2000:]
            self._look(deadline)
        self.seen = self.seen[found.end() :]
        return found

    def run(self, command: str, pattern: bytes) -> re.Match[bytes]:
        """Type a command and wait for what it shows, and for the prompt after that."""
        self.type(command + "\r")
        found = self.see(pattern)
        self.see(PROMPT)
        return found

    def start_cat(self, words: str = "") -> None:
        """Have cat run: what is typed sooner is the shell's."""
        self.type(f"sh -c 'echo on; exec busybox cat {words}'\r")
        self.see(rb"^on\r\n")

    def end(self, seconds: float = 60) -> int:
        """Return the status, when it has ended by itself."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self._look(time.monotonic() + 0.05)
        while select.select([self.fd], [], [], 0)[0]:
            self.seen += os.read(self.fd, 1 << 16)
        return self.process.returncode

    def _look(self, deadline: float) -> None:
        if select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            self.seen += os.read(self.fd, 1 << 16)

    def restored(self) -> bool:
        """Whether the terminal is set as it was at first."""
        return termios.tcgetattr(self.side) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert file is None
        for fd in (self.fd, self.side):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def typist():
    """Return what starts a shell."""
    started = []

    def start(*words: str, **options) -> Typist:
        started.append(Typist(*words, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def _started():
    if not shutil.which("busybox"):
        pytest.skip("busybox, the shell whose lines can be edited, is not on this machine")
    started = [_at_a_prompt()]
    yield started
    started[0].close()


@pytest.fixture
def shell(_started):
    """Return a shell at its prompt, one for all the tests that end nothing; another after a test that failed."""
    if _started[0].seen not in {b"", b"\x1b[6n"}:  # the shell asks where the cursor is
        _started[0].close()
        _started[0] = _at_a_prompt()
    _started[0].resize(30, 100)
    return _started[0]


def _at_a_prompt() -> Typist:
    running = Typist(rows=30, columns=100)
    running.see(PROMPT)
    return running


def test_the_terminal_has_the_size_of_ours_also_when_that_changes(shell):
    assert shell.run("stty size", rb"^(\d+ \d+)\r").group(1) == b"30 100"
    shell.resize(50, 132)
    assert shell.run("stty size", rb"^(\d+ \d+)\r").group(1) == b"50 132"


def test_a_program_is_told_of_a_new_size(shell):
    shell.type("""python3 -c '
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: print(os.get_terminal_size(), flush=True))
print("re" + "ady", flush=True)
while 1: signal.pause()'\r""")
    shell.see(rb"ready\r\n")
    shell.resize(11, 22)
    shell.see(rb"columns=22, lines=11")
    shell.type("\x03")
    shell.see(PROMPT)


def test_what_the_terminal_is_is_passed_on(shell):
    found = shell.run("tty; echo =$TERM=$LANG=$COLUMNS=", rb"^(/dev/[^\r]*)\r\n=([^\r]*)\r")
    assert found.group(1) == b"/dev/pts/0"
    assert found.group(2) == b"xterm-256color=C.UTF-8=="  # of a width that may change the terminal alone knows


def test_ctrl_c_ends_the_job_in_the_foreground_alone(shell):
    shell.run("sleep 1000 & echo", rb"\r\n")
    shell.type("sh -c 'echo on; exec busybox sleep 1000'\r")
    shell.see(rb"^on\r\n")
    shell.type("\x03")
    shell.see(PROMPT)
    shell.run("echo =$?=", rb"=130=")
    shell.run("jobs", rb"Running +sleep 1000")
    shell.run("kill %1; wait; echo wai'ted'", rb"^waited")


def test_jobs_can_be_stopped_and_go_on(shell):
    shell.start_cat()
    shell.type("first\r")
    shell.see(rb"first\r\nfirst\r\n")
    shell.type("\x1a")
    shell.see(PROMPT)
    shell.run("jobs", rb"Stopped +sh -c")
    shell.type("fg\r")
    shell.see(rb"^sh -c")
    shell.see(rb"\r\n")
    shell.type("second\r")
    shell.see(rb"second\r\nsecond\r\n")
    shell.type("\x04")
    shell.see(PROMPT)


def test_lines_are_edited_and_remembered(shell):
    shell.run("echo ac\x1b[Db", rb"^abc\r\n")
    shell.run("\x1b[A", rb"^abc\r\n")
    shell.run("echo n\u00e4\u00f6\x7f\x7f\u00fcx", "^n\u00fcx\r\n".encode())
    # What no shell reads is edited by the terminal: one character is erased, not one byte.
    shell.start_cat()
    shell.type("b\u00e4\u00e4\x7fd\r\x04")
    shell.see("^b\u00e4d\r\n".encode())
    shell.see(PROMPT)


def test_a_large_paste_arrives_whole(shell):
    lines = b"".join(b"%05d %s\n" % (i, hashlib.sha256(b"%d" % i).hexdigest().encode()) for i in range(1000))
    assert len(lines) > 64 << 10
    shell.start_cat("> /tmp/paste")
    shell.type(lines + b"\x04")
    shell.see(lines[-20:-1] + rb"\r\n")
    shell.see(PROMPT)
    shell.run("sha256sum < /tmp/paste", hashlib.sha256(lines).hexdigest().encode())


def test_a_large_paste_for_a_program_that_is_not_listening_yet(shell):
    """Nothing is lost while it is busy, and Ctrl-C is behind the paste, as on any terminal."""
    data = bytes(32 + i % 90 for i in range(200 << 10))
    shell.type("""python3 -c '
import hashlib, os, sys, time, tty
tty.setraw(0)
print("re" + "ady", end="\\r\\n", flush=True)
time.sleep(2)
data = b""
while not data.endswith(b"\\3"): data += os.read(0, 65536)
print(hashlib.sha256(data).hexdigest(), end="\\r\\n")'; stty sane\r""")
    shell.see(rb"ready\r\n")
    shell.type(data + b"\x03")
    shell.see(hashlib.sha256(data + b"\x03").hexdigest().encode())
    shell.see(PROMPT)


def test_much_output_flows(shell):
    shell.type("yes | head -100000; echo do'ne'\r")
    shell.see(rb"\r\n")
    assert shell.see(rb"^done\r\n").string.startswith(b"y\r\n" * 100000 + b"done\r\n")
    shell.see(PROMPT)


def test_a_full_screen_program_has_the_whole_screen(shell):
    shell.type("printf '%s\\n' one two three > /tmp/f; vi /tmp/f\r")
    shell.see(rb"\x1b\[\?1049h")
    shell.see(rb"three[^/]*\x1b\[30;1H.*/tmp/f 1/3")  # the last line of 30
    shell.type("ddZZ")
    shell.see(rb"\x1b\[\?1049l")
    shell.see(PROMPT)
    shell.run("cat /tmp/f", rb"^two\r\nthree\r\n")


def test_it_says_which_kernel_this_is_and_passes_the_status_on(typist):
    shell = typist("--on", "6.12")
    first = shell.see(rb"^lab: Linux (6\.12\.[^;]*); nothing is kept; to leave: exit, or Ctrl-\]\r\n")
    assert first.group(1).decode() == lab.find("6.12").release
    shell.see(PROMPT)
    (machine,) = machines_of(shell.process.pid)
    shell.type("exit 7\r")
    assert shell.end() == 7
    assert shell.restored()
    assert gone(machine)
    assert b"\x1b[?" not in shell.seen  # nothing to undo


def test_a_command_has_the_terminal(typist):
    shell = typist("--", "python3", TERM="dumb")
    shell.see(rb"to leave: end the command, or Ctrl-\]\r\n")
    shell.see(rb">>> $")
    shell.type("import os, sys; print(sys.stdin.isatty(), os.get_terminal_size())\r")
    shell.see(rb"True os.terminal_size\(columns=80, lines=24\)")
    shell.type("while True: pass\r\r")
    shell.see(rb"\.\.\. \r\n")
    shell.type("\x03")
    shell.see(rb"KeyboardInterrupt\r\n>>> $")
    shell.type("\x1a")  # nobody could continue it: it is not stopped
    shell.type("raise SystemExit(9)\r")
    assert shell.end() == 9


def test_what_is_shared_comes_back(typist, tmp_path):
    shell = typist(
        "--rw", str(tmp_path), "--", "sh", "-c", f"cd '{tmp_path}'; busybox stty size > size; read x; exit 4"
    )
    shell.see(f"only {tmp_path} is kept".encode())
    shell.type("\r")
    assert shell.end() == 4
    assert (tmp_path / "size").read_text() == "24 80\n"


def test_ctrl_bracket_brings_back_what_is_shared(typist, tmp_path):
    shell = typist("--rw", str(tmp_path), "--", "sh", "-c", f"echo 1 > {tmp_path}/made; echo o'n'; cat")
    shell.see(rb"^on\r\n")
    shell.type("typed\x1d")
    assert shell.end() == 130
    assert shell.restored()
    assert b"lab: the command is ended, and its files are coming back; Ctrl-] again leaves the rest\r\n" in shell.seen
    assert b"^]" not in shell.seen  # the command has not had the key
    assert shell.seen.endswith(b"\r\n")
    assert (tmp_path / "made").read_text() == "1\n"


#: A full-screen program that listens to nothing any more.
HANGS = """if 1:
    import signal, tty
    tty.setraw(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    print("\x1b[?1049hon")
    while 1: pass
"""


def test_ctrl_bracket_ends_the_guest_whatever_it_does(typist):
    shell = typist("--", "python3", "-uc", HANGS)
    shell.see(rb"on\r?\n")
    assert not shell.restored()
    (machine,) = machines_of(shell.process.pid)
    shell.type(b"x" * 300_000)  # more than the guest takes
    shell.type("\x1d")
    assert shell.end() == 130
    assert shell.restored()
    assert b"\x1b[?1049l" in shell.seen  # no program is left to go back to the first screen
    assert gone(machine)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_the_lab_is_ended(typist, number):
    shell = typist("--", "python3", "-uc", HANGS)
    shell.see(rb"on\r?\n")
    (machine,) = machines_of(shell.process.pid)
    shell.process.send_signal(number)
    assert shell.end() == -number
    assert shell.restored()
    assert b"\x1b[?1049l" in shell.seen
    until(lambda: gone(machine))


def test_a_terminal_that_is_closed_ends_the_guest(typist):
    shell = typist("--", "busybox", "sleep", "1000")
    shell.see(rb"Ctrl-\]\r\n")
    (machine,) = until(lambda: machines_of(shell.process.pid))
    os.close(shell.side)
    os.close(shell.fd)
    shell.process.wait(20)
    until(lambda: gone(machine))


def test_a_panic_is_told_on_a_terminal_that_is_restored(typist):
    shell = typist("--", "sh", "-c", "echo on; read x; echo c > /proc/sysrq-trigger")
    shell.see(rb"on\r\n")
    shell.type("\r")
    assert shell.end() == 125
    assert shell.restored()
    shell.see(rb"error: the guest with kernel [^\r]* broke down: Kernel panic - not syncing: sysrq triggered crash")


def test_the_timeout_ends_it(typist):
    shell = typist("--timeout", "1", "--", "busybox", "sleep", "1000")
    assert shell.end() == 124
    assert shell.restored()
