"""Why a map was not created, or an operation on it refused, in words."""

from __future__ import annotations

import os
from errno import E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.privilege import not_permitted
from bpfasm.kernel.words import errno_name, map_type
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.maps import MapSpec

_ARRAYS = (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY)


def not_created(spec: MapSpec, number: int) -> Exception:
    """Say why a map was not created (kernel/bpf/syscall.c map_create() and each type's map_alloc_check())."""
    kind, what = map_type(spec.type), f"the map {spec.name} was not created"
    sizes = f"key {spec.key_size}, value {spec.value_size} bytes, {spec.max_entries} entries, flags {spec.flags:#x}"
    if number == EPERM:
        return not_permitted(f"creating the map {spec.name}", ("CAP_BPF",))
    if number in (EINVAL, ENOTSUPP):
        if has_map_type(spec.type) is False:
            return FeatureMissing(
                f"{what}: this kernel ({system.release()}) has no maps of type {kind}",
                "use a type that it has, or run it on a newer kernel (--on 7)",
                rule="no-map-type",
            )
        return KernelError(
            number,
            f"{what}: {kind} does not take {sizes} ({errno_name(number)})",
            "max_entries is at least 1; the key of an array is a u32; see the type in `bpfasm ref`"
            if spec.max_entries
            else "give it max_entries=1 or more",
            rule="map-create",
        )
    if number == E2BIG:
        return KernelError(
            number, f"{what}: it is too large ({sizes})", "make its values smaller or fewer", rule="map-create"
        )
    if number == ENOMEM:
        return KernelError(
            number, f"{what}: the kernel has no memory for it ({sizes})", "make it smaller", rule="map-create"
        )
    return KernelError(number, f"{what}: {errno_name(number)} for {kind}, {sizes}", rule="map-create")


#: Arguments that some type of map takes: key and value sizes, entries, flags.
_TRIED = (
    (4, 4, 1, 0),
    (4, 8, 1, 0),
    (0, 4, 1, 0),
    (8, 4, 1, uapi.BPF_F_NO_PREALLOC),
    (0, 0, 4096, 0),
    (0, 0, 1, uapi.BPF_F_MMAPABLE),
)

#: Types for which none of those will do: they need BTF, a cgroup, another map.
_UNTRIED = (
    uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
    uapi.BPF_MAP_TYPE_HASH_OF_MAPS,
    uapi.BPF_MAP_TYPE_CGROUP_STORAGE,
    uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
    uapi.BPF_MAP_TYPE_SK_STORAGE,
    uapi.BPF_MAP_TYPE_INODE_STORAGE,
    uapi.BPF_MAP_TYPE_TASK_STORAGE,
    uapi.BPF_MAP_TYPE_CGRP_STORAGE,
    uapi.BPF_MAP_TYPE_STRUCT_OPS,
)


def has_map_type(type: int) -> bool | None:
    """Return whether this kernel has a type of map, by trying to create one; None where that does not tell."""
    for key, value, entries, flags in _TRIED:
        try:
            fd = bpf.map_create(map_type=type, key_size=key, value_size=value, max_entries=entries, map_flags=flags)
        except OSError as error:
            # A type that is not there is EINVAL before anything else is looked at (E2BIG, EBADF ... come later).
            if error.errno == EPERM:
                return None
            if error.errno not in (EINVAL, ENOTSUPP, EOPNOTSUPP):
                return True
        else:
            os.close(fd)
            return True
    return None if type in _UNTRIED else False


def element_refused(spec: MapSpec, number: int, call: str) -> KernelError:
    """Say why an operation on an element was refused."""
    name = spec.name
    what, do = f"{name}: {call} failed with {errno_name(number)}", ""
    if number == E2BIG and spec.type in _ARRAYS:
        what = f"{name} has no such key: an array's keys are 0 to max_entries - 1 = {spec.max_entries - 1}"
        do = "declare it with a larger max_entries, or use a HashMap"
    elif number == E2BIG:
        what = f"{name} is full: it holds max_entries = {spec.max_entries} keys"
        do = "delete one, declare it with a larger max_entries, or use an LRU map"
    elif number == EEXIST:
        what = f"{name} has this key already, and the flag BPF_NOEXIST was given"
    elif number == ENOENT:
        what = f"{name} does not have this key, and the flag BPF_EXIST was given"
    elif number == EINVAL and call == "BPF_MAP_DELETE_ELEM" and spec.type in _ARRAYS:
        what, do = f"{name} is an array: its keys cannot be deleted", "set the value to 0"
    elif number == EPERM:
        what, do = f"{name} does not allow {call} from user space", "it is frozen, or its flags make it read-only"
    elif number == ENOMEM:
        what, do = f"the kernel has no memory for another element of {name}", "delete some"
    return KernelError(number, what, do, rule="map-element")
