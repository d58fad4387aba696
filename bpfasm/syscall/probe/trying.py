"""Trying: the calls that probes are made of. Whatever they make is closed before they return."""

from __future__ import annotations

import os
import sys
from errno import EAGAIN

from bpfasm.isa.insn import encode
from bpfasm.syscall import bpf
from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.files import check_files
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.probe.answer import Tried
from bpfasm.uapi import bpf as uapi, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from bpfasm.isa.insn import Insn

#: The commands of bpf(2) by number.
COMMANDS = names(uapi, "bpf_cmd")

#: A field that holds this names no file descriptor.
NO_FD = 0xFFFFFFFF

#: Room for what the verifier says of the few instructions of a probe.
LOG_BYTES = 64 << 10


class Fd:
    """A file descriptor that is closed at the end of a ``with``."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def attempt(call: str, make: Callable[[], object]) -> Tried:
    """Make a call and say what came of it. What it returns is dropped: ``make`` closes what it opens."""
    try:
        make()
    except OSError as error:
        check_files(error.errno, call)
        return Tried(call, error.errno or 0)
    return Tried(call, 0)


def command(number: int, fields: dict[str, Any], note: str = "") -> Tried:
    """Make a bpf(2) call that opens nothing when it is done."""
    name = COMMANDS[number]
    return attempt(f"{name}{f' ({note})' if note else ''}", lambda: Attr(fields).call(number))


def opening(number: int, fields: dict[str, Any], note: str = "") -> Tried:
    """Make a bpf(2) call that returns a file descriptor, and close that."""
    name = COMMANDS[number]
    return attempt(f"{name}{f' ({note})' if note else ''}", lambda: os.close(Attr(fields).open(number)))


def program(insns: Iterable[Insn], type: int, /, **fields: Any) -> Fd:
    """Load a program. Raises OSError."""
    return Fd(bpf.prog_load(**_fields(insns, type, fields))[0])


def load(insns: Iterable[Insn], type: int, note: str = "", /, **fields: Any) -> Tried:
    """Load a program and drop it. Where it is refused, once more with a log, since a log takes its time."""
    given = _fields(insns, type, fields)
    call = f"BPF_PROG_LOAD{f' ({note})' if note else ''}"
    tried = attempt(call, lambda: os.close(bpf.prog_load(**given)[0]))
    if not tried.errno or tried.errno == EAGAIN:
        return tried
    log = buffer(LOG_BYTES)
    given |= {"log_level": 1, "log_size": LOG_BYTES, "log_buf": log}
    again = attempt(call, lambda: os.close(bpf.prog_load(**given)[0]))
    return tried.replace(log=log.value.decode(errors="replace")) if again.errno else again


def _fields(insns: Iterable[Insn], type: int, more: dict[str, Any]) -> dict[str, Any]:
    code = encode(insns, sys.byteorder)
    given = {"prog_type": type, "insn_cnt": len(code) // 8, "insns": buffer(code), "license": buffer(b"GPL\0")}
    return given | more


def create(type: int, note: str = "", /, **fields: Any) -> Tried:
    """Create a map and drop it."""
    call = f"BPF_MAP_CREATE{f' ({note})' if note else ''}"
    return attempt(call, lambda: os.close(bpf.map_create(map_type=type, **fields)))


def map_of(type: int, /, **fields: Any) -> Fd:
    """Create a map. Raises OSError."""
    return Fd(bpf.map_create(map_type=type, **fields))
