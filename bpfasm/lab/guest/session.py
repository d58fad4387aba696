"""A running guest, seen from the host: its frames, its console, and how it ends."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import socket
import sys
import time

from bpfasm.errors import LabError
from bpfasm.lab.guest import wire
from bpfasm.lab.guest.errand import Errand, sink
from bpfasm.lab.guest.shares import Shares
from bpfasm.lab.guest.terminal import Noted, Terminal, shell
from bpfasm.lab.image.parts import project_root
from bpfasm.lab.machine import qemu
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Self

    from bpfasm.lab.guest.errand import Sink
    from bpfasm.lab.matrix import Kernel

#: Variables that a guest's command gets from here without being named.
_PASSED_ON = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LANG", "TZ")

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CHUNK = 1 << 18
_CONSOLE_BYTES = 64 << 10
_CONSOLE_LINES = 25

_HEADLINE = re.compile(r"(BUG: .*|Oops: .*|general protection fault.*|Kernel panic - not syncing: .*)")


class Result(Value):
    """What a command did: its exit status, and the bytes it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


class Guest:
    """A guest that runs. Commands run one after the other; leaving the ``with`` ends it.

    The guest is tied to the thread that started it: when that thread ends, the kernel ends QEMU.
    """

    def __init__(self, running: qemu.Running, kernel: Kernel) -> None:
        self.kernel = kernel
        self.machine = running.machine
        self.release = ""
        self._console = b""
        self._frames = wire.Frames()
        self._process, self._port = running.process, running.port
        self.monitor = running.monitor
        assert self._process.stdout and self._process.stderr
        self._serial, self._complaints = self._process.stdout, self._process.stderr
        self._said = b""
        self._over = False
        os.set_blocking(self._serial.fileno(), False)
        os.set_blocking(self._complaints.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of QEMU."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended: closed, timed out, or broken down."""
        return self._over

    def close(self) -> None:
        """End the guest. Its file systems live in memory: there is nothing to save."""
        self._over = True
        self._process.kill()
        self._process.wait()
        for file in (self._port, self.monitor, self._serial, self._complaints):
            file.close()

    def kill(self) -> None:
        """End the guest from another thread than its own, where what it runs then fails with LabError."""
        self._process.kill()

    def console(self) -> str:
        """Return the last of what the kernel wrote on its console."""
        return self._console.decode(errors="replace").replace("\r", "")

    def wait_until_ready(self, timeout: float, archive: bytes = b"") -> None:
        """Wait for the guest's first process; raise LabError when it does not come up in ``timeout`` seconds.

        ``archive`` has files that the guest is to have besides (cpio, as the parts of its image).
        """
        deadline = time.monotonic() + timeout
        self.release = ""
        try:
            for piece in wire.archive(archive):
                self.send(piece)
            self.send(wire.hello(time.time_ns(), os.urandom(32)))
            with Noted(signal.SIGINT) as noted:
                while not self.release:
                    frames, ready = self.wait(deadline, [noted.fd])
                    if ready:
                        raise KeyboardInterrupt
                    if not frames and time.monotonic() >= deadline:
                        raise self.failure(f"did not come up within {timeout:g} s")
                    for kind, data in frames:
                        if kind == b"N":
                            raise self.failure(f"could not take its files: {data.decode(errors='replace')}")
                        if kind == b"R":
                            self.release = data.partition(b" ")[0].decode(errors="replace")
        except BaseException:
            self.close()
            raise

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: int | None = None,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
        rw: Iterable[str | os.PathLike[str]] = (),
    ) -> int:
        """Run one command and return its status; see ``bpfasm.lab.run``. After 124 and a panic the guest is gone."""
        with Shares(rw) as shares, Noted(signal.SIGINT) as noted:
            job = self._job(argv, cwd, _environment(env), shares)
            sinks = {b"O": sink(stdout, sys.stdout), b"E": sink(stderr, sys.stderr)}
            return Errand(self, sinks, stdin, noted, shares).run(job, timeout)

    def capture(self, argv: Sequence[str | bytes], **options: Any) -> Result:
        """Run one command and return its status with all that it wrote; options as in ``run``."""
        out, err = io.BytesIO(), io.BytesIO()
        status = self.run(argv, stdout=out, stderr=err, **options)
        return Result(status, out.getvalue(), err.getvalue())

    def shell(
        self,
        argv: Sequence[str | bytes] = (),
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        rw: Iterable[str | os.PathLike[str]] = (),
    ) -> int:
        """Run one command, by default a shell, in a terminal that is this process's own, and return its status.

        Every key goes to the command, Ctrl-C too; only Ctrl-] ends the guest, with the status 130. Standard input has
        to be a terminal. Options as in ``run``.
        """
        variables = _environment(env)
        for name in ("COLUMNS", "LINES"):  # the terminal itself knows, also when it changes
            variables.pop(name, None)
        signals = signal.SIGINT, signal.SIGWINCH
        terminal = Terminal(sink(None, sys.stdout))
        with Shares(rw) as shares, Noted(*signals) as noted:
            job = self._job(argv or shell(self.release), cwd, variables, shares, terminal.size())
            return Errand(self, {b"O": terminal}, terminal.fd, noted, shares, terminal).run(job, timeout)

    def send(self, data: bytes) -> None:
        """Send frames; raise LabError when the guest is gone."""
        rest = memoryview(data)
        while rest:
            self._listen(None, self._port.fileno(), select.POLLOUT, ())
            try:
                rest = rest[self._port.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self.failure("ended before its command") from None

    def wait(self, deadline: float | None, also: Sequence[int]) -> tuple[list[tuple[bytes, bytes]], set[int]]:
        """Wait until something comes; return the frames that are whole and which of the files ``also`` can be read.

        Both are empty when only the console spoke, or the deadline came.
        """
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1
        port = self._port.fileno()
        ready = self._listen(left, port, select.POLLIN, also)
        frames = []
        if port in ready:
            try:
                data = self._port.recv(_CHUNK)
            except ConnectionResetError:
                data = b""  # it has ended without reading all that we sent
            if not data:
                raise self.failure("ended before its command")
            try:
                frames = list(self._frames.feed(data))
            except ValueError as error:
                raise self.failure(f"sent what no guest of ours does: {error}") from None
        elif ready >= {self._serial.fileno(), self._complaints.fileno()} and self._process.poll() is not None:
            raise self.failure("ended before its command")
        return frames, ready.intersection(also)

    def _listen(self, left: float | None, port: int, event: int, also: Sequence[int]) -> set[int]:
        """Wait for the port, the files ``also``, console or QEMU's words, at most ``left`` ms; return what is ready.

        What the last two say is read at any time: nobody who writes there is to wait.
        """
        poll = select.poll()
        serial, complaints = self._serial.fileno(), self._complaints.fileno()
        poll.register(port, event)
        for fd in (serial, complaints, *also):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(left)}
        if serial in ready:
            self._console = (self._console + _read(serial))[-_CONSOLE_BYTES:]
        if complaints in ready:
            self._said = (self._said + _read(complaints))[-_CONSOLE_BYTES:]
        return ready

    def _job(
        self,
        argv: Sequence[str | bytes],
        cwd: str | os.PathLike[str] | None,
        variables: Mapping[str, str],
        shares: Shares,
        terminal: tuple[int, int] | None = None,
    ) -> bytes:
        """Return the frame that starts a command; raise LabError when this guest takes no more."""
        if self._over:
            raise LabError(
                f"the guest with kernel {self.kernel.release} is over",
                "boot another for the next command",
                rule="lab-over",
            )
        place = _folder(shares.places) if cwd is None else os.fspath(cwd)
        return wire.job(argv, place, variables, terminal, len(shares.places))

    def failure(self, what: str) -> LabError:
        """Return the error that says how this guest failed, with what its console showed last; the guest is over."""
        if not self._over:
            self._process.kill()
            self._process.wait()
            self._console += _read(self._serial.fileno())
            self._said += _read(self._complaints.fileno())
            self.close()
        name = f"the guest with kernel {self.kernel.release}"
        lines = [line.rstrip() for line in self.console().splitlines() if line.strip()]
        words = [line for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        if not lines:
            return LabError(
                f"{name} {what}",
                f"QEMU said: {words[-1]}" if words else "its console shows nothing",
                rule="lab-guest",
            )
        # A report of a crash is longer than a screen, and its first lines say most.
        start = max(0, len(lines) - _CONSOLE_LINES)
        for i, line in enumerate(lines):
            found = _HEADLINE.search(line)
            if found:
                what, start = f"broke down: {found[0].strip()}", i
                break
        shown = "\n".join("  | " + line for line in lines[start : start + _CONSOLE_LINES])
        return LabError(f"{name} {what}", f"the console's last lines:\n{shown}", rule="lab-guest")


def _read(fd: int) -> bytes:
    """Return what a file that does not block has now."""
    chunks = []
    try:
        while data := os.read(fd, _CHUNK):
            chunks.append(data)
    except BlockingIOError:
        pass
    return b"".join(chunks)


def _folder(shared: Sequence[str]) -> str:
    """Return the folder a command starts in: this one when the guest has it, else the project's."""
    top = str(project_root())
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return top
    return here if any(here == folder or here.startswith(folder + "/") for folder in (top, *shared)) else top


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    """Return the variables of a guest's command: its own, what is always passed on, and what the caller adds."""
    own = {
        "PATH": os.pathsep.join((os.path.dirname(sys.executable), "/lab/bin", _SYSTEM_PATH)),
        "HOME": "/root",
        "USER": "root",
        "PYTHONPATH": str(project_root()),
    }
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ours = {name: value for name, value in os.environ.items() if name.startswith("BPFASM_") and name != "BPFASM_ON"}
    return own | passed | ours | dict(added or {})
