"""The running kernel's own types, and those of its modules: names to numbers."""

from __future__ import annotations

import os

from bpfasm.btf.read import Btf
from bpfasm.errors import DecodeError, FeatureMissing, KernelError
from bpfasm.kernel.base.words import IN_THE_LAB
from bpfasm.syscall import bpf, system
from bpfasm.syscall.files import check_files
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.btf.read import Blob

#: Where the kernel shows its types, a file for itself and one for each module.
FILES = "/sys/kernel/btf"

_vmlinux: list[Btf] = []

#: What a kind is called in a message.
_WORDS = {
    uapi.BTF_KIND_FUNC: "function",
    uapi.BTF_KIND_TYPEDEF: "tracepoint",
    uapi.BTF_KIND_STRUCT: "struct",
    uapi.BTF_KIND_VAR: "variable",
}


def vmlinux() -> Btf:
    """Return the kernel's types; read once a process. Raises FeatureMissing where it does not show them."""
    if not _vmlinux:
        try:
            _vmlinux.append(Btf(contents(f"{FILES}/vmlinux"), unique=True))
        except OSError as error:
            check_files(error.errno, "reading the kernel's types")
            raise FeatureMissing(
                f"this kernel ({system.release()}) has no BTF: it is built without CONFIG_DEBUG_INFO_BTF, "
                f"or {FILES} is hidden",
                IN_THE_LAB,
                rule="no-btf",
            ) from None
    return _vmlinux[0]


def contents(path: str) -> Blob:
    """Return the bytes of a file of types. Raises OSError.

    Each read(2) of such a file gives 4096 bytes. From 6.16 on it can be mapped: what is not looked at is not read.
    """
    from bpfasm.syscall.libc import private_copy

    with open(path, "rb") as file:
        try:
            return private_copy(file.fileno(), os.fstat(file.fileno()).st_size)
        except (OSError, ValueError):
            return file.read()


def module(name: str) -> Btf:
    """Return the types of a module that is loaded, on top of the kernel's. Raises OSError where there is none."""
    return Btf(contents(f"{FILES}/{name}"), vmlinux(), unique=True)


def modules() -> list[str]:
    """Return the modules that have types."""
    return sorted(name for name in os.listdir(FILES) if name != "vmlinux")


class Modules:
    """The types of each module that is loaded, read when they are looked at."""

    def __iter__(self) -> Iterator[Btf]:
        for name in modules():
            try:
                yield module(name)
            except (OSError, DecodeError):
                continue  # unloaded meanwhile; one that is broken has nothing to find


def find(name: str, kind: int, where: str = "") -> tuple[str, int]:
    """Return the module that has a type, empty for the kernel itself, and the type's id.

    Looked for in ``where`` alone if that is given (``vmlinux`` or a module), else in the kernel and then in each
    module. Raises KernelError where there is none, or more than one.
    """
    for place in _places(where):
        try:
            types = module(place) if place else vmlinux()
        except OSError:
            continue  # the module was unloaded meanwhile, or is not there
        ids = [id for id in types.find(name, kind) if id >= types.first_id or not place]
        if len(ids) > 1:
            raise KernelError(
                0,
                f"this kernel has {len(ids)} types of kind {_WORDS[kind]} called {name}",
                f"give the one that is meant by its id: {', '.join(map(str, ids))}",
                rule="btf-name",
            )
        if ids:
            return place, ids[0]
    raise _unknown(name, kind, where)


def _places(where: str) -> Iterator[str]:
    if where:
        yield "" if where == "vmlinux" else where
        return
    yield ""
    yield from modules()


def _unknown(name: str, kind: int, where: str) -> KernelError:
    from difflib import get_close_matches
    from errno import ENOENT

    types = vmlinux()
    near = get_close_matches(name, types.beginning(name[: max(3, len(name) // 2)]), n=20)
    close = next((each for each in near if types.find(each, kind)), "")
    do = f"did you mean {close}?" if close else "names differ between kernels; a module has to be loaded first"
    if name == close:
        do = "the kernel itself has it: leave the module out"
    what = f"this kernel ({system.release()}) has no {_WORDS[kind]} {name} in its BTF"
    return KernelError(ENOENT, f"{what}{f' of {where}' if where else ''}", do, rule="btf-name")


def module_fd(name: str) -> int:
    """Return an fd of a module's types, for the kernel to know which are meant. Raises OSError."""
    from bpfasm.kernel.objects.ids import btf_name, ids

    for id in ids("btf"):
        try:
            fd = bpf.get_fd_by_id("btf", id)
        except FileNotFoundError:
            continue
        if btf_name(fd) == name:
            return fd
        os.close(fd)
    raise FileNotFoundError(name)
