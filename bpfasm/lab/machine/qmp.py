"""Speak with QEMU's monitor: one command, one answer (QEMU Machine Protocol, docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket

from bpfasm.errors import LabError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn, Self

#: Seconds for one answer; QEMU answers at once, and takes longer only on a machine that has stopped moving.
_PATIENCE_S = 60.0


class Monitor:
    """The monitor behind a connected socket; a context manager that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE_S)
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._next("QMP")
        self.do("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._connection.close()

    def do(self, command: str, **arguments: object) -> Any:
        """Give a command and return its answer; raise LabError with QEMU's words for one that it refuses."""
        return self._ask(command, arguments)

    def refuse(self, command: str, words: str) -> NoReturn:
        """Raise the LabError of a command that was taken, and failed later."""
        raise _failed(command, words)

    def lend(self, fd: int, name: str) -> None:
        """Give QEMU a copy of an open file, to be called ``fd:NAME``; it is closed when a command has used it."""
        self._ask("getfd", {"fdname": name}, [fd])

    def _ask(self, command: str, arguments: dict[str, object], fds: Sequence[int] = ()) -> Any:
        request = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._connection, [request], fds)
            self._connection.sendall(request[sent:])
        except OSError as error:
            raise _failed(command, str(error)) from None
        return self._next("return", command)

    def _next(self, wanted: str, command: str = "its greeting") -> Any:
        """Return what the next message with this key says; events are passed over."""
        while True:
            try:
                line = self._stream.readline()
                message = json.loads(line)
            except (OSError, ValueError) as error:
                raise _failed(command, str(error)) from None
            if "error" in message:
                raise _failed(command, message["error"].get("desc", ""))
            if wanted in message:
                return message[wanted]


def _failed(command: str, words: str) -> LabError:
    return LabError(
        f"QEMU's monitor failed at {command}: {words or 'no answer'}",
        "is QEMU older than 4.0? --fresh does without its monitor",
        rule="lab-monitor",
    )
