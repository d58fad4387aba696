"""One command in a guest, seen from here: what it is given, what comes back, and who ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from bpfasm.errors import LabError
from bpfasm.lab.guest import wire
from bpfasm.lab.guest.terminal import ESCAPE, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TextIO

    from bpfasm.lab.guest.session import Guest
    from bpfasm.lab.guest.shares import Shares
    from bpfasm.lab.guest.terminal import Noted, Terminal

    class Sink(Protocol):
        """Where output goes: anything with a ``write`` for bytes."""

        def write(self, data: bytes, /) -> Any:
            """Take some bytes."""


#: Statuses that are the lab's own, as in the contract with users.
TIMED_OUT, FAILED, INTERRUPTED = 124, 125, 130

#: How long a command may take to end after Ctrl-C before it is ended.
GRACE_S = 10.0

#: How long its folders may take to come back, where something bounds that.
RETURN_S = 60.0

_STDIN_CHUNK = 1 << 16


class Errand:
    """One command, from its start to its status.

    ``source`` is the descriptor its input is read from, None for none. With a ``terminal``, which is the guest's from
    when the command starts, that is its keys. They are listened to all the time: Ctrl-] has to work when the guest
    does not.
    """

    def __init__(
        self,
        guest: Guest,
        sinks: dict[bytes, Sink],
        source: int | None,
        noted: Noted,
        shares: Shares,
        terminal: Terminal | None = None,
    ) -> None:
        self._guest, self._sinks, self._source = guest, sinks, source
        self._noted, self._shares, self._terminal = noted, shares, terminal
        self._status: int | None = None
        self._deadline: float | None = None
        self._given = bytearray()
        self._ended = source is None
        self._may_send = True
        self._interrupted = False
        self._forced: int | None = None  # what the status is because the command was killed
        self._over = False
        self._broken: Exception | None = None  # why output cannot be written

    def run(self, job: bytes, timeout: float | None) -> int:
        """Start the command of the frame ``job``, carry its bytes until it is over, and return its status."""
        try:
            self._share()
            with self._terminal or contextlib.nullcontext():
                self._guest.send(job)
                self._shares.gone()
                self._deadline = None if timeout is None else time.monotonic() + timeout
                while self._status is None:
                    self._feed()
                    self._turn()
        except BaseException:
            self._guest.close()
            self._shares.abandon()
            raise
        if self._broken:
            raise self._broken
        return self._status

    def _share(self) -> None:
        """Give the guest the folders that it shares with this machine, each when it has said how much it can hold."""
        memory_mib = self._guest.machine.memory_mib
        for offer, folder in self._shares.offers():
            self._guest.send(offer)
            for data in self._shares.contents(folder, self._answer(), memory_mib):
                self._guest.send(data)
                self._stop_if_asked()

    def _answer(self) -> int:
        while True:
            frames, _ = self._guest.wait(None, [self._noted.fd])
            self._stop_if_asked()
            for kind, data in frames:
                if kind == b"D":
                    return int(data)

    def _stop_if_asked(self) -> None:
        if signal.SIGINT in self._noted.take():
            raise KeyboardInterrupt

    def _turn(self) -> None:
        """Wait for whatever comes next, and deal with it."""
        listening = [self._noted.fd]
        if self._source is not None and (self._may_send or self._terminal):
            listening.append(self._source)
        frames, ready = self._guest.wait(self._deadline, listening)
        for kind, data in frames:
            try:
                self._take(kind, data)
            except ValueError as error:
                raise self._guest.failure(f"sent what no guest of ours does: {error}") from None
            if self._status is not None:
                return
        if self._noted.fd in ready:
            self._heed(self._noted.take())
        if self._source in ready:
            self._read()
        if self._status is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self._too_late()

    def _take(self, kind: bytes, data: bytes) -> None:
        """Do what a frame of the guest says."""
        if kind in self._sinks:
            self._give(kind, data)
        elif kind == b"A":
            self._may_send = True
        elif kind in {b"F", b"B", b"U"}:
            self._shares.take(kind, data)
        elif kind == b"Z":
            self._over = True
            if self._deadline is not None:
                self._deadline = max(self._deadline, time.monotonic() + RETURN_S)
        elif kind == b"N":
            raise self._shares.refused(data.decode(errors="replace"), self._guest.machine.memory_mib)
        elif kind == b"X":
            self._status = int(data) if self._forced is None else self._forced
            if self._terminal:
                self._terminal.over = self._forced is None
            if self._forced is not None:
                self._guest.close()
            self._shares.done()

    def _give(self, kind: bytes, data: bytes) -> None:
        """Write what the command has written."""
        started = time.monotonic()
        try:
            self._sinks[kind].write(data)
        except Exception as error:  # whatever it is, it waits until the folders are back
            self._sinks[kind] = _Nowhere()
            self._broken = error
            if not self._over and self._forced is None:
                self._end(INTERRUPTED)
        if self._deadline is not None:
            self._deadline += time.monotonic() - started  # a slow reader takes nothing of the command's time

    def _heed(self, numbers: set[int]) -> None:
        """Do what signals to this process ask for."""
        if signal.SIGWINCH in numbers and self._terminal:
            self._guest.send(wire.frame(b"W", b"%d %d" % self._terminal.size()))
        if signal.SIGINT not in numbers:
            return
        if self._interrupted:
            self._leave("Ctrl-C")
            return
        self._interrupted = True
        if self._over:
            say("the command is over, and its files are coming back; Ctrl-C again leaves the rest")
            return
        say(f"stopping the command; Ctrl-C again {'kills it' if self._shares.places else 'ends the guest'}")
        self._guest.send(wire.frame(b"S", b"%d" % signal.SIGINT))
        self._deadline = time.monotonic() + GRACE_S

    def _leave(self, key: str) -> None:
        """End the guest because somebody wants it to end."""
        self._end(INTERRUPTED)
        if self._status is None:
            say(f"the command is ended, and its files are coming back; {key} again leaves the rest")

    def _too_late(self) -> None:
        if self._over or self._forced is not None:
            raise self._shares.late(RETURN_S)
        self._end(INTERRUPTED if self._interrupted else TIMED_OUT)

    def _end(self, status: int) -> None:
        """End the guest; before that, where folders are shared, the command alone, and once."""
        if self._shares.places and not self._over and self._forced is None:
            self._guest.send(wire.frame(b"S", b"%d" % signal.SIGKILL))
            self._forced = status
            self._deadline = time.monotonic() + RETURN_S
            return
        self._guest.close()
        self._status = status
        self._shares.abandon()

    def _read(self) -> None:
        """Read what there is for the command."""
        assert self._source is not None
        try:
            data = os.read(self._source, _STDIN_CHUNK)
        except OSError as error:
            data = b""
            if not self._terminal:
                say(f"standard input cannot be read: {error.strerror}")
        if self._terminal and (not data or ESCAPE in data):
            self._leave("Ctrl-]")
            if not data:
                self._source = None
            return
        self._given += data
        if not data:
            self._ended, self._source = True, None

    def _feed(self) -> None:
        """Send the command what was read, or that there is no more, one piece until it was taken."""
        if not self._may_send or not (self._given or self._ended):
            return
        piece = bytes(self._given[:_STDIN_CHUNK])
        del self._given[:_STDIN_CHUNK]
        self._guest.send(wire.frame(b"I", piece))
        self._may_send = False
        if not piece:
            self._ended = False


class _Own:
    """A stream of this process by its descriptor: what is written is written at once, and whole."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # whoever else has this file has made it so
                room = select.poll()
                room.register(self._fd, select.POLLOUT)
                room.poll()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise LabError(
                    f"what the command writes cannot be written here: {error.strerror}",
                    "make room, or send it elsewhere",
                    rule="lab-output",
                ) from None


class _Flushed:
    """A sink that is flushed after each piece, so that output comes as it is written."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        self._sink.flush()


class _Nowhere:
    """Where output goes when this process was started with that stream closed."""

    def write(self, data: bytes) -> None:
        pass


def sink(given: Sink | None, stream: TextIO | None) -> Sink:
    """Return what takes a command's bytes: ``given``, or else this process's own ``stream``."""
    if given is not None:
        return _Flushed(given) if hasattr(given, "flush") else given
    if stream is None:
        return _Nowhere()
    stream.flush()
    try:
        return _Own(stream.fileno())
    except OSError:  # it is no file: somebody reads what this process prints
        return _Flushed(stream.buffer)
