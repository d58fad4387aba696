"""``LoadedStructOps``: a struct of functions that is in the kernel, and its registration.

The kernel keeps it as a map of one element, whose type is ``struct bpf_struct_ops_NAME`` of its own BTF: a state, and
the struct, in which file descriptors stand for functions. With BPF_F_LINK (6.4) a link registers it, and closing the
link ends that. Before, writing the element registers it and deleting the element ends it: the process may be
gone by then, so the map's BTF bears its owner's tag. (kernel/bpf/bpf_struct_ops.c)
"""

from __future__ import annotations

import os
import sys
from errno import EINVAL, ENOENT

from bpfasm.errors import KernelError
from bpfasm.kernel.base.memlock import with_memory
from bpfasm.kernel.base.owned import Owned
from bpfasm.kernel.base.words import object_name
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import ENOTSUPP, buffer
from bpfasm.syscall.owner import this_process
from bpfasm.uapi import bpf as uapi, btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.program import Program
    from bpfasm.asm.struct_ops import StructOps
    from bpfasm.btf.read import Btf, BtfType, Member
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

#: The struct of the map is called like that of the functions, behind this.
_PREFIX = "bpf_struct_ops_"

#: There is one element.
_KEY = 4


class LoadedStructOps(Owned):
    """A struct of functions that the kernel has; :meth:`register` makes it use them."""

    def __init__(self, spec: StructOps, loaded: Callable[[Program], LoadedProgram]) -> None:
        """Create it, of programs that are loaded. Raises KernelError, FeatureMissing."""
        self.spec = spec
        self.name = spec.name
        place, _, struct = spec.struct.rpartition(":")
        place, id = kernel_btf.find(_PREFIX + struct, kinds.BTF_KIND_STRUCT, place)
        types = kernel_btf.module(place) if place else kernel_btf.vmlinux()
        whole = types.type(id)
        self._value = _value(spec, types, whole, loaded)
        #: Whether a link registers it.
        self.by_link = True
        fields = {
            "map_type": uapi.BPF_MAP_TYPE_STRUCT_OPS,
            "key_size": _KEY,
            "value_size": whole.size,
            "max_entries": 1,
            "map_name": object_name(spec.name),
            "btf_vmlinux_value_type_id": id,
        }
        Owned.__init__(self, self._create(fields, place))
        if self.by_link:
            try:
                self._fill()  # the kernel looks at it now, and uses it later
            except BaseException:
                self.close()
                raise

    def _create(self, fields: dict[str, Any], place: str) -> int:
        held = [_owners_btf()]
        flags = 0
        try:
            fields["btf_fd"] = held[0]
            if place:
                from bpfasm.kernel.btf.targets import module_fd

                held.append(module_fd(place))
                fields["value_type_btf_obj_fd"] = held[1]
                flags = uapi.BPF_F_VTYPE_BTF_OBJ_FD
            try:
                return with_memory(lambda: bpf.map_create(**fields, map_flags=flags | uapi.BPF_F_LINK))
            except OSError as error:
                if error.errno not in (EINVAL, ENOTSUPP):
                    raise
            self.by_link = False
            return with_memory(lambda: bpf.map_create(**fields, map_flags=flags))
        except OSError as error:
            raise _refused(self.spec, error.errno or 0, "was not created") from None
        finally:
            for fd in held:
                os.close(fd)

    def _fill(self) -> None:
        try:
            bpf.map_update_elem(map_fd=self.fd, key=buffer(_KEY), value=buffer(self._value))
        except OSError as error:
            raise _refused(self.spec, error.errno or 0, "was not taken") from None

    def register(self) -> Link:
        """Make the kernel use it until the link is closed. Raises KernelError."""
        if not self.by_link:
            self._fill()
            return _Registered(os.dup(self.fd), self, self.spec, "map")
        try:
            return Link(bpf.link_create(map_fd=self.fd, attach_type=uapi.BPF_STRUCT_OPS), self, self.spec, "link")
        except OSError as error:
            raise _refused(self.spec, error.errno or 0, "was not registered") from None

    def __repr__(self) -> str:
        return f"<LoadedStructOps {self.name}>"


class _Registered(Link):
    """A registration that the map itself is, on kernels that have no links for it."""

    def close(self) -> None:
        """End it; a second time does nothing."""
        if not self.closed:
            unregister(self.fd)
        super().close()


def unregister(fd: int) -> None:
    """Make the kernel let go of a struct that is registered by its map; one that is not stays as it is."""
    try:
        bpf.map_delete_elem(map_fd=fd, key=buffer(_KEY))
    except OSError as error:
        if error.errno != ENOENT:
            raise


def _owners_btf() -> int:
    """Load types for the map, which wants some: one that is called like this process."""
    from bpfasm.btf.write import Writer

    types = Writer()
    types.add_int(this_process().tag(), 4)
    return bpf.btf_load(buffer(types.to_bytes()))


def _value(spec: StructOps, types: Btf, whole: BtfType, loaded: Callable[[Program], LoadedProgram]) -> bytes:
    """Return the bytes of the element. Raises KernelError for a member that this kernel's struct does not have."""
    data = next(each for each in whole.members if each.name == "data")
    members = {each.name: each for each in types.resolve(data.type).members}
    value = bytearray(whole.size)
    for name, content in spec.members.items():
        if name not in members:
            raise KernelError(
                EINVAL,
                f"{spec} has no member {name} here",
                f"its members are {', '.join(name for name in members if name)}",
                rule="btf-name",
            )
        size = _size(types, members[name])
        if isinstance(content, bytes):
            filled = content
        else:
            number = content if isinstance(content, int) else loaded(content).fd
            filled = (number % (1 << 8 * size)).to_bytes(size, sys.byteorder)
        if len(filled) > size or members[name].offset % 8:
            raise KernelError(
                EINVAL,
                f"the member {name} of {spec} has {size} bytes, and {len(filled)} were given",
                "give it a number, or as many bytes as it has at most",
                rule="struct-ops",
            )
        at = (data.offset + members[name].offset) // 8
        value[at : at + len(filled)] = filled
    return bytes(value)


def _size(types: Btf, member: Member) -> int:
    """Return the bytes of a member."""
    type = types.resolve(member.type)
    count = 1
    while type.kind == kinds.BTF_KIND_ARRAY:
        count, type = count * type.detail, types.resolve(type.type)
    return count * (8 if type.kind == kinds.BTF_KIND_PTR else type.size)


def _refused(spec: StructOps, number: int, what: str) -> BpfasmError:
    from bpfasm.kernel.links.struct_ops_refused import refused

    return refused(spec, number, what)
