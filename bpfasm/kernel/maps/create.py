"""Creating a map in the kernel, with BTF of its key and value where the kernel takes it."""

from __future__ import annotations

import os

from bpfasm.asm.opaque import has_opaque
from bpfasm.asm.variables import Section
from bpfasm.kernel.base.memlock import with_memory
from bpfasm.kernel.base.words import object_name
from bpfasm.syscall import bpf, system
from bpfasm.syscall.files import check_files
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.maps import MapSpec
    from bpfasm.kernel.btf.opened import OpenTypes


def create(spec: MapSpec, opened: OpenTypes | None = None) -> int:
    """Create a map; return its fd. Raises KernelError, FeatureMissing.

    ``opened`` has the types of object files that the kernel has already.
    """
    fields = create_fields(spec)
    if spec.inner is not None:
        # The kernel looks at it and forgets it.
        inner = create(spec.inner, opened)
        try:
            return _create(spec, fields | {"inner_map_fd": inner}, opened)
        finally:
            os.close(inner)
    return _create(spec, fields, opened)


def create_fields(spec: MapSpec) -> dict[str, Any]:
    """Return the fields of BPF_MAP_CREATE for a declaration, but for other objects."""
    return {
        "map_type": spec.type,
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": entries_of(spec),
        "map_flags": spec.flags,
        "numa_node": spec.numa_node or 0,
        "map_name": object_name(spec.name),
        "map_extra": spec.map_extra,
    }


def entries_of(spec: MapSpec) -> int:
    """Return max_entries; an array of perf events whose declaration leaves it open has one for each CPU."""
    if not spec.max_entries and spec.type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
        return system.cpu_numbers()
    return spec.max_entries


def _create(spec: MapSpec, fields: dict[str, Any], opened: OpenTypes | None) -> int:
    try:
        return with_memory(lambda: create_with_types(spec, fields, opened))
    except OSError as error:
        number = error.errno or 0
    check_files(number, f"the map {spec.name} was not created")
    from bpfasm.kernel.maps.refused import not_created

    raise not_created(spec, number, fields)


def create_with_types(spec: MapSpec, fields: dict[str, Any], opened: OpenTypes | None = None) -> int:
    """Create the map with BTF where it has types, else and where that is refused without."""
    if spec.types is not None:
        from bpfasm.kernel.btf.object_file import create_with_object_types
        from bpfasm.kernel.btf.opened import OpenTypes

        if opened is not None:
            return create_with_object_types(spec, fields, opened)
        with OpenTypes() as alone:
            return create_with_object_types(spec, fields, alone)
    wanted = spec.row.btf
    # Without its BTF the kernel would not know of a lock or timer in a value.
    must = wanted == "must" or has_opaque(spec.value)
    if must or (wanted == "yes" and not (isinstance(spec.key, int) and isinstance(spec.value, int))):
        try:
            return _with_btf(spec, fields)
        except OSError:
            if must:
                raise
    return bpf.map_create(**fields)


def _with_btf(spec: MapSpec, fields: dict[str, Any]) -> int:
    from bpfasm.asm.btf_types import add_type
    from bpfasm.btf.write import Writer

    btf = Writer()
    # The key of a section of variables is not told (kernel/bpf/arraymap.c array_map_check_btf()).
    key = 0 if isinstance(spec.value, Section) else add_type(btf, spec.key)
    value = add_type(btf, spec.value)
    fd = bpf.btf_load(buffer(btf.to_bytes()))
    try:
        return bpf.map_create(**fields, btf_fd=fd, btf_key_type_id=key, btf_value_type_id=value)
    finally:
        os.close(fd)
