"""``LoadedMap``: a map in the kernel."""

from __future__ import annotations

from bpfasm.asm.mapface import MapFace
from bpfasm.kernel.memlock import with_memory
from bpfasm.kernel.owned import Owned
from bpfasm.kernel.words import object_name
from bpfasm.syscall import bpf, system
from bpfasm.syscall.elem import Elements
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.maps import MapSpec

#: Updating these waits until no program on any CPU can still be reading (synchronize_rcu(), milliseconds).
_SLOW = (uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS)


class LoadedMap(Owned, MapFace):
    """A map in the kernel, to be read and written like a ``dict``.

    Raises KernelError for what the kernel refuses: a full map, an index beyond an array, a key that is to be new and
    is not. Threads may share it. After ``close()`` every access raises ValueError.
    """

    def __init__(self, spec: MapSpec) -> None:
        """Create the map in the kernel and fill it with ``spec.initial``. Raises KernelError, FeatureMissing."""
        Owned.__init__(self, _create(spec))
        cpus = system.possible_cpus() if spec.per_cpu else 0
        MapFace.__init__(self, spec, cpus)
        size = (spec.value_size + 7) // 8 * 8 * cpus if spec.per_cpu else spec.value_size
        elements = Elements(self.fd, spec.key_size, size, slow=spec.type in _SLOW, refusal=_refusal(spec))
        # Bound here, and not methods, since they are the path of every access. None refers back to this object: it
        # is to be closed as soon as nobody holds it.
        self._lookup, self._update = elements.lookup, elements.update
        self._delete, self._next_key = elements.delete, elements.next_key
        try:
            self.update(spec.initial)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the kernel frees it when no program uses it either."""
        # The number of the fd may be another file's soon.
        self._lookup = self._update = self._delete = self._next_key = _closed(repr(self))
        super().close()

    def info(self) -> dict[str, int | bytes]:
        """Return ``struct bpf_map_info``, by its fields' names."""
        return bpf.obj_get_info_by_fd(self.fd, uapi.struct_bpf_map_info, uapi.sizeof_struct_bpf_map_info)


def _refusal(spec: MapSpec) -> Callable[[int, str], Exception]:
    """Return what makes the exception for an errno and the name of a command."""

    def refusal(number: int, call: str) -> Exception:
        from bpfasm.kernel.maps_refused import element_refused

        return element_refused(spec, number, call)

    return refusal


def _closed(name: str) -> Callable[..., Any]:
    """Return an operation of a closed map."""

    def closed(*_: object) -> None:
        raise ValueError(f"{name} is closed")

    return closed


def _entries(type: int) -> int:
    """Return how many entries a map has whose declaration leaves that to the machine."""
    return system.possible_cpus() if type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY else 0


def _create(spec: MapSpec) -> int:
    """Create a map; return its fd."""
    try:
        return with_memory(
            lambda: bpf.map_create(
                map_type=spec.type,
                key_size=spec.key_size,
                value_size=spec.value_size,
                max_entries=spec.max_entries or _entries(spec.type),
                map_flags=spec.flags,
                map_name=object_name(spec.name),
            )
        )
    except OSError as error:
        number = error.errno or 0
    from bpfasm.kernel.maps_refused import not_created

    raise not_created(spec, number)
