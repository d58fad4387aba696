"""What the kernel says of a map: its declaration as it can be read back, and how it may be used."""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT, EPERM

from bpfasm.asm.map_types import type_of
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.types import u32
from bpfasm.errors import KernelError, MapError
from bpfasm.isa.where import outside
from bpfasm.kernel.base.privilege import not_permitted
from bpfasm.kernel.base.words import errno_name, map_type
from bpfasm.kernel.maps.create import entries_of
from bpfasm.syscall import bpf, system
from bpfasm.syscall.files import check_files
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Flags that say something of a file descriptor and not of the map.
_OF_THE_FD = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY

#: Types to which the kernel adds BPF_F_RDONLY_PROG by itself.
_READ_ONLY = (uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH, uapi.BPF_MAP_TYPE_INSN_ARRAY)


def map_info(fd: int) -> dict[str, Any]:
    """Return ``struct bpf_map_info`` of a file descriptor. Raises MapError where it is none of a map."""
    try:
        what = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        what = "nothing that is open"
    if what != "anon_inode:bpf-map":
        raise MapError(
            f"file descriptor {fd} is {what}, and no map",
            "give the fd, id or path of a map",
            source=outside(),
            rule="not-a-map",
        )
    from bpfasm.kernel.objects import ids

    return ids.info("map", fd)


def spec_of(fd: int, spec: MapSpec | None = None) -> MapSpec:
    """Return the declaration of an open map: ``spec`` if it fits, else what the kernel says of it.

    The kernel says no types: keys and values are numbers where maps of that type have these, bytes otherwise.
    """
    info = map_info(fd)
    if spec is not None:
        check(spec, info, f"the map with id {info['id']}")
        return spec
    row = type_of(info["type"])
    key: Any = info["key_size"]
    value: Any = info["value_size"]
    if row.keys == "index" and key == u32.size:
        key = u32
    if row.handle:
        from bpfasm.asm.handles import fd32, fd64

        if row.keys == "handle":
            key = fd32
        else:
            value = fd32 if value == fd32.size else fd64
    return MapSpec.as_is(
        name=info["name"].rstrip(b"\0").decode() or f"map_{info['id']}",
        type=info["type"],
        key=key,
        value=value,
        max_entries=info["max_entries"],
        flags=info["map_flags"],
        map_extra=info["map_extra"],
    )


def check(spec: MapSpec, info: dict[str, Any], what: str) -> None:
    """Raise MapError with every attribute in which a map differs from its declaration."""
    differ = [
        f"{name} is {there}, not {declared}" for name, there, declared in _compared(spec, info) if there != declared
    ]
    if differ:
        raise MapError(
            f"{what} is not {spec.name} as it is declared: {'; '.join(differ)}",
            "declare it as it is, or remove it (a pinned one: rm) and let a new one be made",
            source=outside(),
            rule="map-differs",
        )


def _compared(spec: MapSpec, info: dict[str, Any]) -> list[tuple[str, object, object]]:
    """Return what is compared: its name, what the map has, what was declared."""
    ignored = _OF_THE_FD | (uapi.BPF_F_RDONLY_PROG if spec.type in _READ_ONLY else 0)
    entries: object = entries_of(spec)
    if spec.flags & uapi.BPF_F_NO_COMMON_LRU:
        entries = info["max_entries"]  # rounded to a number for each CPU (htab_map_alloc())
    return [
        ("type", map_type(info["type"]), map_type(spec.type)),
        ("key_size", info["key_size"], spec.key_size),
        ("value_size", info["value_size"], spec.value_size),
        ("max_entries", info["max_entries"], entries),
        ("flags", hex(info["map_flags"] & ~ignored), hex(spec.flags & ~ignored)),
        ("map_extra", info["map_extra"], spec.map_extra),
    ]


def open_id(id: int) -> int:
    """Return a file descriptor of the map with an id. Raises KernelError, FeatureMissing."""
    try:
        return bpf.get_fd_by_id("map", id)
    except OSError as error:
        number = error.errno or 0
    check_files(number, f"opening the map with id {id}")
    if number == EPERM:
        raise not_permitted(f"opening the map with id {id}", ("CAP_SYS_ADMIN",))
    what = f"no map has the id {id}" if number in (ENOENT, EINVAL) else f"map {id}: {errno_name(number)}"
    raise KernelError(number, what, "it may be gone: a map lives as long as somebody uses it", rule="map-id")


def frozen(fd: int) -> bool:
    """Tell whether user space cannot write a map any more; its info does not say, its fdinfo does."""
    return _fdinfo(fd).get("frozen") == "1"


def access_of(fd: int) -> int:
    """Return O_RDONLY, O_WRONLY or O_RDWR: how a file descriptor was opened."""
    return int(_fdinfo(fd).get("flags", "2"), 8) & os.O_ACCMODE


def _fdinfo(fd: int) -> dict[str, str]:
    lines = (system.read(f"/proc/self/fdinfo/{fd}") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
