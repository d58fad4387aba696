"""Every object in the kernel has an id: all of a kind, one by id, tag, name or path."""

from __future__ import annotations

import os
from errno import E2BIG, ENOENT, EPERM

from bpfasm.errors import FeatureMissing, InputError, KernelError
from bpfasm.kernel.base.words import errno_name
from bpfasm.syscall import bpf
from bpfasm.syscall.files import check_files
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: The struct that tells of each kind, and its size.
_INFO = {
    "prog": (uapi.struct_bpf_prog_info, uapi.sizeof_struct_bpf_prog_info),
    "map": (uapi.struct_bpf_map_info, uapi.sizeof_struct_bpf_map_info),
    "link": (uapi.struct_bpf_link_info, uapi.sizeof_struct_bpf_link_info),
    "btf": (uapi.struct_bpf_btf_info, uapi.sizeof_struct_bpf_btf_info),
}

#: What each kind is called in a sentence.
WORDS = {"prog": "program", "map": "map", "link": "link", "btf": "BTF object"}


def ids(kind: str) -> Iterator[int]:
    """Go over the ids of all programs, maps, links or BTF objects (``prog``, ``map``, ``link``, ``btf``).

    Raises FeatureMissing for who may not: it takes CAP_SYS_ADMIN.
    """
    id = 0
    while True:
        try:
            id = bpf.get_next_id(kind, id)
        except OSError as error:
            if error.errno == ENOENT:
                return
            raise _refused(error.errno or 0, f"listing {WORDS[kind]}s") from None
        yield id


def open_id(kind: str, id: int) -> int | None:
    """Return an fd of an object by its id, None where there is no such object. Raises FeatureMissing."""
    try:
        return bpf.get_fd_by_id(kind, id)
    except OSError as error:
        if error.errno == ENOENT:
            return None
        # A map that programs alone may write is opened for reading.
        if kind == "map" and error.errno == EPERM:
            try:
                return bpf.get_fd_by_id(kind, id, uapi.BPF_F_RDONLY)
            except OSError:
                pass
        raise _refused(error.errno or 0, f"opening the {WORDS[kind]} {id}") from None


def open_path(kind: str, path: str) -> int:
    """Return an fd of a pinned object. Raises InputError, FeatureMissing."""
    from bpfasm.kernel.objects.pins import open_pin

    try:
        fd = open_pin(path)
    except KernelError as error:
        try:
            fd = open_pin(path, uapi.BPF_F_RDONLY)  # that may be all that its file allows
        except KernelError:
            raise InputError(error.what, error.do, rule="pin") from None
    found = kind_of(fd)
    if found != kind:
        os.close(fd)
        raise InputError(
            f"{path} is no {WORDS[kind]} but a {WORDS.get(found, found)}",
            f"bpfasm {found} show pinned {path} shows it",
            rule="object-unknown",
        )
    return fd


def kind_of(fd: int) -> str:
    """Return which kind of object an fd is: prog, map, link, btf; empty for something else."""
    link = os.readlink(f"/proc/self/fd/{fd}")
    return {
        "anon_inode:bpf-prog": "prog",
        "anon_inode:bpf-map": "map",
        "anon_inode:bpf_link": "link",
        "anon_inode:bpf-link": "link",  # opened again: by its id, or its pin
        "anon_inode:btf": "btf",
    }.get(link, "")


def info(kind: str, fd: int, **given: Any) -> dict[str, Any]:
    """Return what the kernel tells of an object, by the names of its struct's fields. Raises KernelError."""
    layout, size = _INFO[kind]
    try:
        return bpf.obj_get_info_by_fd(fd, layout, size, **given)
    except OSError as error:
        from bpfasm.kernel.base.privilege import barred

        number, doing = error.errno or 0, f"asking what a {WORDS[kind]} is"
        raise barred(doing, number) or _refused(number, doing) from None


def text(field: bytes) -> str:
    """Return a name, which ends at its first zero."""
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def btf_name(fd: int) -> str:
    """Return the name of a BTF object: vmlinux, a module's, or nothing; kernels before 5.11 have no names."""
    room = buffer(64)
    try:
        bpf.obj_get_info_by_fd(fd, *_INFO["btf"], name=room, name_len=len(room))
    except OSError as error:
        if error.errno != E2BIG:
            raise _refused(error.errno or 0, "asking what a BTF object is") from None
    return text(room.raw)


def _refused(number: int, doing: str) -> FeatureMissing | KernelError:
    check_files(number, doing)
    from bpfasm.kernel.base.privilege import barred, not_permitted

    if number == EPERM:
        return not_permitted(
            doing, ("CAP_SYS_ADMIN",), otherwise="name what is pinned: its file's permission is enough"
        )
    return barred(doing, number) or KernelError(number, f"{doing} failed: {errno_name(number)}", rule="object-info")
