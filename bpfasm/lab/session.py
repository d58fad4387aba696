"""A running guest, seen from the host: its frames, its console, and how it ends."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import sys
import threading
import time

from bpfasm.errors import LabError
from bpfasm.lab import qemu, wire
from bpfasm.lab.image import project_root
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import Any, Protocol, Self

    from bpfasm.lab.matrix import Kernel

    class Sink(Protocol):
        """Where output goes: anything with a ``write`` for bytes."""

        def write(self, data: bytes, /) -> Any:
            """Take some bytes."""


#: Statuses that are the lab's own, as in the contract with users.
TIMED_OUT, FAILED, INTERRUPTED = 124, 125, 130

#: Variables that a guest's command gets from here without being named.
_PASSED_ON = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LANG", "TZ")

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CHUNK = 1 << 18
_STDIN_CHUNK = 1 << 16
_CONSOLE_BYTES = 64 << 10
_CONSOLE_LINES = 25

#: How long a command may take to end after Ctrl-C before its guest is ended.
GRACE_S = 10.0

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

    def console(self) -> str:
        """Return the last of what the kernel wrote on its console."""
        return self._console.decode(errors="replace").replace("\r", "")

    def wait_until_ready(self, timeout: float) -> None:
        """Wait for the guest's first process; raise LabError when it does not come up in ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        self.release = ""
        try:
            self._send(wire.hello(time.time_ns(), os.urandom(32)))
            with _Interrupts() as interrupts:
                while not self.release:
                    frames, ready = self._wait(deadline, [interrupts.fd])
                    if ready:
                        raise KeyboardInterrupt
                    if not frames and time.monotonic() >= deadline:
                        raise self._failure(f"did not come up within {timeout:g} s")
                    for kind, data in frames:
                        if kind == b"R":
                            self.release = data.split()[0].decode()
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
    ) -> int:
        """Run one command and return its status; see ``bpfasm.lab.run``. After 124 and a panic the guest is gone."""
        if self._over:
            raise LabError(
                f"the guest with kernel {self.kernel.release} is over",
                "boot another for the next command",
                rule="lab-over",
            )
        sinks = {b"O": stdout or sys.stdout.buffer, b"E": stderr or sys.stderr.buffer}
        self._send(wire.job(argv, _folder() if cwd is None else os.fspath(cwd), _environment(env)))
        if stdin is None:
            self._send(wire.frame(b"I"))
        deadline = None if timeout is None else time.monotonic() + timeout
        may_send, interrupted = True, False
        with _Interrupts() as interrupts:
            while True:
                also = [interrupts.fd] if stdin is None or not may_send else [interrupts.fd, stdin]
                frames, ready = self._wait(deadline, also)
                for kind, data in frames:
                    if kind in sinks:
                        sinks[kind].write(data)
                        flush = getattr(sinks[kind], "flush", None)
                        if flush:
                            flush()
                    elif kind == b"A":
                        may_send = True
                    elif kind == b"X":
                        return int(data)
                if interrupts.fd in ready:
                    interrupts.clear()
                    if interrupted:
                        self.close()
                        return INTERRUPTED
                    interrupted = True
                    print("lab: stopping the command; Ctrl-C again ends the guest", file=sys.stderr, flush=True)
                    self._send(wire.frame(b"S", b"%d" % signal.SIGINT))
                    deadline = time.monotonic() + GRACE_S
                elif stdin in ready:
                    assert stdin is not None
                    data = os.read(stdin, _STDIN_CHUNK)
                    self._send(wire.frame(b"I", data))
                    may_send = False
                    if not data:
                        stdin = None
                if deadline is not None and time.monotonic() >= deadline:
                    self.close()
                    return INTERRUPTED if interrupted else TIMED_OUT

    def capture(self, argv: Sequence[str | bytes], **options: Any) -> Result:
        """Run one command and return its status with all that it wrote; options as in ``run``."""
        out, err = io.BytesIO(), io.BytesIO()
        status = self.run(argv, stdout=out, stderr=err, **options)
        return Result(status, out.getvalue(), err.getvalue())

    def _send(self, data: bytes) -> None:
        try:
            self._port.sendall(data)
        except OSError:
            raise self._failure("ended before its command") from None

    def _wait(self, deadline: float | None, also: Sequence[int]) -> tuple[list[tuple[bytes, bytes]], set[int]]:
        """Wait until something comes; return the frames that are whole and which of the files ``also`` can be read.

        Both are empty when only the console spoke, or the deadline came.
        """
        poll = select.poll()
        port, serial, complaints = self._port.fileno(), self._serial.fileno(), self._complaints.fileno()
        for fd in (port, serial, complaints, *also):
            poll.register(fd, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1
        ready = {fd for fd, _ in poll.poll(left)}
        if serial in ready:
            self._console = (self._console + _read(serial))[-_CONSOLE_BYTES:]
        if complaints in ready:
            self._said = (self._said + _read(complaints))[-_CONSOLE_BYTES:]
        frames = []
        if port in ready:
            data = self._port.recv(_CHUNK)
            if not data:
                raise self._failure("ended before its command")
            frames = list(self._frames.feed(data))
        elif ready >= {serial, complaints} and self._process.poll() is not None:
            raise self._failure("ended before its command")
        return frames, ready.intersection(also)

    def _failure(self, what: str) -> LabError:
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


class _Interrupts:
    """Turn Ctrl-C into a readable file for as long as the block lasts, so that no frame is cut in two by it.

    Outside the main thread, or where Ctrl-C is ignored, the file just never has anything.
    """

    def __enter__(self) -> Self:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._noted = False
        self._previous: Any = signal.SIG_IGN
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
        if self._previous not in {signal.SIG_IGN, None}:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous not in {signal.SIG_IGN, None}:
            signal.signal(signal.SIGINT, self._previous)
        os.close(self.fd)
        os.close(self._write)

    def clear(self) -> None:
        """Take what is there."""
        _read(self.fd)
        self._noted = False

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._noted:
            raise KeyboardInterrupt  # nobody is looking at the file: some write takes for ever
        self._noted = True
        os.write(self._write, b"!")


def _read(fd: int) -> bytes:
    """Return what a file that does not block has now."""
    chunks = []
    try:
        while data := os.read(fd, _CHUNK):
            chunks.append(data)
    except BlockingIOError:
        pass
    return b"".join(chunks)


def _folder() -> str:
    """Return the folder a command starts in: this one when it is part of the project, else the project's."""
    here, top = os.getcwd(), str(project_root())
    return here if here == top or here.startswith(top + "/") else top


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
