"""Pins: names of objects in a bpf file system, where they outlive the process that made them."""

from __future__ import annotations

import os
from errno import EACCES, EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EROFS

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import not_permitted
from bpfasm.kernel.base.words import errno_name
from bpfasm.syscall import bpf, system
from bpfasm.syscall.files import check_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.maps import MapSpec

#: Where bpf file systems are mounted, and our directory in it.
BPFFS = "/sys/fs/bpf"
ROOT = f"{BPFFS}/bpfasm"


def path_of(spec: MapSpec) -> str:
    """Return where a map is pinned whose declaration says so; a name there has no dots."""
    return f"{ROOT}/{spec.name.replace('.', '_')}" if spec.pinned is True else str(spec.pinned)


def pin(fd: int, name: str, path: str | None = None) -> str:
    """Pin an object; return the path. Raises KernelError, FeatureMissing."""
    path = os.path.abspath(path or f"{ROOT}/{name.replace('.', '_')}")
    _check_text(path)
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        raise KernelError(
            EEXIST, f"{name} was not pinned: {path} is a directory", f"take a name in it: {path}/{name}", rule="pin"
        )
    _check_place(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        bpf.obj_pin(fd, path)
    except OSError as error:
        raise _not_pinned(name, path, error.errno or 0) from None
    return path


def unpin(path: str) -> None:
    """Remove a pin; the object stays while somebody uses it. Raises KernelError."""
    _check_text(path)
    try:
        os.unlink(path)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            number,
            f"{path} was not unpinned: {errno_name(number)}",
            "somebody may have removed it" if number == ENOENT else "see who owns it with ls -l",
            rule="pin",
        ) from None


def open_pin(path: str, flags: int = 0) -> int:
    """Return a file descriptor of what is pinned at a path. Raises KernelError, FeatureMissing."""
    _check_text(path)
    try:
        return bpf.obj_get(path, flags)
    except OSError as error:
        number = error.errno or 0
    check_files(number, f"opening {path}")
    if number in (ENOENT, ENOTDIR):
        _check_place(path)
        what, do = f"nothing is pinned at {path}", f"see what is: ls {os.path.dirname(path) or '.'}"
    elif os.path.isdir(path):
        what, do = f"{path} is a directory, and no pin", f"see what is in it: ls {path}"
    elif number == ENAMETOOLONG:
        what, do = f"nothing is pinned at {path}", _SHORT
    elif number in (EACCES, EPERM) and not _in_bpffs(path):
        what, do = f"{path} is no pin: it is not in a bpf file system", f"pins are below {BPFFS}"
    elif number in (EACCES, EPERM):
        what, do = f"{path} may not be opened ({errno_name(number)})", "see who owns it with ls -l; run it with sudo"
    else:
        what, do = f"{path} was not opened: {errno_name(number)}", "dmesg may tell more"
    raise KernelError(number, what, do, rule="pin")


def reuse(spec: MapSpec) -> int | None:
    """Return a file descriptor of the map that is pinned where ``spec`` says, None where there is none yet.

    Raises MapError where it is not as declared.
    """
    from bpfasm.kernel.maps.info import check, map_info

    path = path_of(spec)
    _check_text(path)
    if not os.path.lexists(path):
        return None
    fd = open_pin(path)
    try:
        check(spec, map_info(fd), f"the map pinned at {path}")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_text(path: str) -> None:
    """Refuse a path with a zero in it: the kernel would take what is before that for all of it."""
    if "\0" in os.fsdecode(path):
        raise KernelError(EINVAL, f"{path!r} is no path: there is a zero in it", "leave it out", rule="pin")


def _check_place(path: str) -> None:
    """Refuse a path that is in no bpf file system, before a directory is made in another one."""
    if _in_bpffs(path):
        return
    if path.startswith(f"{BPFFS}/"):
        raise FeatureMissing(
            f"no bpf file system is mounted at {BPFFS}, so nothing can be pinned there",
            f"mount it, as root: mount -t bpf bpf {BPFFS}",
            rule="no-bpffs",
        )
    raise KernelError(
        EPERM,
        f"{path} is not in a bpf file system, and objects are pinned nowhere else",
        f"take a path below {BPFFS}, or mount one: mount -t bpf bpf DIRECTORY",
        rule="pin",
    )


def _in_bpffs(path: str) -> bool:
    directory = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return system.file_system(directory) == "bpf"


#: What Linux's file systems have in common.
_SHORT = "a name in a directory has 255 characters at most, a path 4095"


def _not_pinned(name: str, path: str, number: int) -> Exception:
    what, do = f"{name} was not pinned at {path}: {errno_name(number)}", ""
    if number == EEXIST and os.path.lexists(path):
        what = f"{name} was not pinned: {path} is there already"
        do = "take another path, or remove it with rm; a map with pinned= uses what is there"
    elif number == EPERM and "." in os.path.basename(path):
        what, do = f"{name} was not pinned at {path}: names there have no dots", "take a name without"
    elif number in (EPERM, EACCES):
        return not_permitted(f"pinning {name} at {path}", ("CAP_BPF",), errno_name(number))
    elif number == ENAMETOOLONG:
        do = _SHORT
    elif number == EROFS:
        do = "the file system is mounted read-only"
    elif number in (EEXIST, ENOTDIR):
        do = f"{os.path.dirname(path)} is no directory"
    return KernelError(number, what, do, rule="pin")
