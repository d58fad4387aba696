"""Files of code as uprobes name them: programs and libraries, of this process's view or of another's."""

from __future__ import annotations

import os

from bpfasm.elf.read import Elf
from bpfasm.errors import InputError
from bpfasm.syscall import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.elf.probes import Mark

#: Where libraries are, besides what the loader's cache says.
_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
_CACHE = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"


def find_file(name: str, *, pid: int | None = None, inside: int = 0) -> str:
    """Return the path of a program or library, by which this process reaches it.

    A ``name`` without a slash is that of a library (``libc``, ``libc.so.6``), which a process ``pid`` has loaded or
    the loader knows, or of a program on the PATH. With ``inside`` the path is that process's: in its root and its
    mounts. Raises InputError.
    """
    root = f"/proc/{inside}/root" if inside else ""
    if "/" in name:
        path = root + os.path.abspath(name)
        if os.path.isfile(path):
            return path
        raise _no_file(name, inside)
    for path in _known(name, inside or pid, root):
        if os.path.isfile(root + path):
            return root + path
    raise _no_file(name, inside)


def code_of(path: str) -> Elf:
    """Return the file at a path. Raises InputError, DecodeError."""
    data = system.read_bytes(path)
    if data is None:
        raise InputError(f"{path} cannot be read", "see who may with ls -l", rule="uprobe-file")
    return Elf(data, path)


def marks(name: str, *, pid: int | None = None, inside: int = 0) -> tuple[Mark, ...]:
    """Return the marks (USDT) of a program or library, by the words of ``usdt()``. Raises InputError, DecodeError."""
    from bpfasm.elf.probes import marks as marks_in

    return marks_in(code_of(find_file(name, pid=pid, inside=inside)))


def _known(name: str, pid: int | None, root: str) -> Iterator[str]:
    """Go over the paths that a name may stand for, the likeliest first."""
    for path in _mapped(pid if pid else "self"):
        if _is(name, os.path.basename(path)):
            yield path
    yield from (path for path in _cached(f"{root}{_CACHE}") if _is(name, os.path.basename(path)))
    for folder in _FOLDERS:
        for place in (folder, f"{folder}/{os.uname().machine}-linux-gnu"):
            try:
                there = sorted(os.listdir(root + place))
            except OSError:
                continue
            yield from (f"{place}/{each}" for each in there if _is(name, each))
    for folder in os.environ.get("PATH", os.defpath).split(":"):
        yield f"{folder}/{name}"


def _is(name: str, file: str) -> bool:
    """Tell whether a library's file is meant by a name: libc.so.6 and libc-2.31.so by libc, and by themselves."""
    return file == name or (file.startswith((f"{name}.so", f"{name}-")) and ".so" in file)


def _mapped(pid: int | str) -> list[str]:
    """Return the files whose code a process has loaded."""
    lines = (system.read(f"/proc/{pid}/maps") or "").splitlines()
    found = (each for line in lines if len(each := line.split(None, 5)) == 6 and "x" in each[1])
    return list(dict.fromkeys(each[5] for each in found if each[5].startswith("/")))


def _cached(path: str) -> Iterator[str]:
    """Go over the libraries of the loader's cache; nothing where it is not as expected. (glibc elf/cache.c)"""
    from struct import iter_unpack, unpack_from

    data = system.read_bytes(path) or b""
    start = data.find(_MAGIC)  # an older cache may stand before it
    if start < 0 or len(data) < start + 48:
        return
    (count,) = unpack_from("=I", data, start + 20)
    entries = data[start + 48 : start + 48 + 24 * count]
    for _, _, value, _, _ in iter_unpack("=iIIIQ", entries[: len(entries) // 24 * 24]):
        yield data[start + value : data.find(b"\0", start + value)].decode("utf-8", "replace")


def _no_file(name: str, inside: int) -> InputError:
    where = f" for process {inside}" if inside else ""
    if "/" in name:
        what, do = f"there is no file {name}{where}", "name the program or library by its path"
        if inside and not os.path.exists(f"/proc/{inside}/root"):
            do = f"there is no process {inside}, or its files may not be looked at"
    else:
        what, do = f"there is no library or program {name}{where}", "give its path: ldd PROGRAM shows libraries'"
    return InputError(what, do, rule="uprobe-file")
