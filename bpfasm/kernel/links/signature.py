"""Whose it is, where a program outlives its process: a map that lives with the program says it.

What BPF_PROG_ATTACH and netlink attach has no name of its own. So before a program is attached like that, an array
with one value is bound to it: the owner's tag, and where. It needs no file that could be left behind or be missing
in another container, and goes with the program.
"""

from __future__ import annotations

import os
from struct import pack

from bpfasm.kernel.base.memlock import with_memory
from bpfasm.kernel.objects import ids
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.owner import owner_of, this_process
from bpfasm.uapi.bpf import BPF_MAP_TYPE_ARRAY
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from bpfasm.kernel.programs.program import KernelProgram
    from bpfasm.syscall.owner import Owner

#: What such a map is called, and how much it holds.
NAME = "bpfasm.owner"
SIZE = 512


class Signature(Value):
    """What is known of a program that was attached: the map that says it, whose it is, the ``kind``, and where."""

    map_id: int
    owner: Owner
    kind: str
    where: dict[str, Any]


def netns() -> int:
    """Return the number of this process's network namespace."""
    return os.stat("/proc/self/ns/net").st_ino


def signing(kind: str, **where: Any) -> Callable[[KernelProgram], None]:
    """Return what signs programs that will be attached somewhere."""
    return lambda program: sign(program, kind, **where)


def sign(program: KernelProgram, kind: str, **where: Any) -> None:
    """Say of a program that it will be attached somewhere, by this process. Raises KernelError.

    What was said of it once holds for as long as it lives: it may be attached there again and again.
    """
    import json

    from bpfasm.errors import KernelError
    from bpfasm.kernel.base.words import errno_name

    text = json.dumps({"kind": kind, **where})
    said = program.__dict__.setdefault("_signed", set())
    if (os.getpid(), text) in said:
        return
    value = buffer(json.dumps({"tag": this_process().tag(), "kind": kind, **where}).encode().ljust(SIZE, b"\0"))
    try:
        fd = with_memory(
            lambda: bpf.map_create(
                map_type=BPF_MAP_TYPE_ARRAY, key_size=4, value_size=SIZE, max_entries=1, map_name=NAME.encode()
            )
        )
        try:
            bpf.map_update_elem(map_fd=fd, key=buffer(pack("=I", 0)), value=value)
            bpf.prog_bind_map(program.fd, fd)
        finally:
            os.close(fd)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            number,
            f"{program.name} would outlive its process, and could not be given its name: {errno_name(number)}",
            "it takes a kernel from 5.10 on; links need none of it",
            rule="attach-owner",
        ) from None
    said.add((os.getpid(), text))


def signatures() -> Iterator[Signature]:
    """Yield all that is signed, by whomever. Raises FeatureMissing for who may not list maps."""
    from bpfasm.kernel.objects.select import every

    for opened in every("map"):
        found = _read(opened.fd)
        if found:
            yield found


def _read(fd: int) -> Signature | None:
    import json

    about = ids.info("map", fd)
    if ids.text(about["name"]) != NAME or about["value_size"] != SIZE:
        return None
    value = buffer(SIZE)
    try:
        bpf.map_lookup_elem(map_fd=fd, key=buffer(pack("=I", 0)), value=value)
        said = json.loads(ids.text(value.raw))
        owner, kind = owner_of(said.pop("tag")), said.pop("kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # somebody else's map, of the same name
    return Signature(about["id"], owner, kind, said) if owner else None
