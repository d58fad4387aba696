"""``MapMemory``: a map that is memory of this process too, where no access is a system call."""

from __future__ import annotations

from errno import EACCES, EBUSY, EEXIST, EINVAL, EPERM
from os import sysconf

from bpfasm.asm.codec import codec_of
from bpfasm.asm.types import u8
from bpfasm.errors import KernelError, MapError
from bpfasm.isa.where import outside
from bpfasm.kernel.base.words import errno_name
from bpfasm.syscall.libc import addressof, mapped
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.asm.maps import MapSpec


class MapMemory:
    """The elements of an array as memory, or an arena's bytes: ``memory[3]``, ``memory[3] = value``, ``tolist()``.

    ``view`` is a ``memoryview`` of the bytes, in which each element starts at a multiple of 8; ``address`` is where
    they are. Another CPU sees what is written at once, and may see half of what is longer than 8 bytes. The memory
    stays while this object or a view of it does, the map being closed or not.
    """

    def __init__(self, fd: int, spec: MapSpec, entries: int, *, writable: bool) -> None:
        """Map the elements. Raises MapError, KernelError."""
        self.spec, self.writable = spec, writable
        arena = spec.type == uapi.BPF_MAP_TYPE_ARENA
        page = sysconf("SC_PAGESIZE")
        self._codec = codec_of(u8 if arena else spec.value, f"a value of {spec.name}")
        self._step = 1 if arena else (self._codec.size + 7) // 8 * 8
        self._count = entries * page if arena else entries
        try:
            memory = mapped(
                fd, -(-self._count * self._step // page) * page, writable=writable, address=spec.map_extra
            )
        except OSError as error:
            raise _not_mapped(spec, error.errno or 0, writable) from None
        self.address = addressof(memory)
        self.view = memoryview(memory).cast("B")
        if not writable:
            self.view = self.view.toreadonly()
        # A view of numbers loads and stores each at once, where slices go byte by byte.
        number: Any = self._codec.format
        self._numbers = self.view.cast(number)[:: self._step // self._codec.size] if number else None

    def __len__(self) -> int:
        return self._count

    def _bytes(self, index: int) -> memoryview:
        """Return an element's bytes; from the end, if the index is negative."""
        at = self._checked(index) * self._step
        return self.view[at : at + self._codec.size]

    def _checked(self, index: int) -> int:
        if not -self._count <= index < self._count:
            raise IndexError(f"{self!r} has {self._count} elements")
        return index % self._count

    def __getitem__(self, index: int) -> Any:
        if self._numbers is not None:
            return self._numbers[self._checked(index)]
        return self._codec.unpack(self._bytes(index))

    def __setitem__(self, index: int, value: Any) -> None:
        data = self._codec.pack(value)
        if self._numbers is not None:
            self._numbers[self._checked(index)] = self._codec.unpack(data)
        else:
            self._bytes(index)[:] = data

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list[Any]:
        """Return all elements."""
        if self._numbers is not None:
            values: list[Any] = self._numbers[: self._count].tolist()
            return values
        return [self[index] for index in range(self._count)]

    def __repr__(self) -> str:
        return f"<MapMemory of {self.spec.name}>"


def _not_mapped(spec: MapSpec, number: int, writable: bool) -> Exception:
    """Say why a map is not to be had as memory."""
    name, row = spec.name, spec.row
    if not spec.flags & uapi.BPF_F_MMAPABLE:
        return MapError(
            f"{name} is no memory",
            "declare it with flags=BPF_F_MMAPABLE"
            if spec.type == uapi.BPF_MAP_TYPE_ARRAY
            else f"an ArrayMap with BPF_F_MMAPABLE is, and an Arena; a {row.spec} is not",
            source=outside(),
            rule="map-memory",
        )
    what, do = f"{name} was not mapped into memory: {errno_name(number)}", "see mmap(2)"
    if writable and number in (EPERM, EACCES):
        what = f"{name} was not mapped for writing: it is {'frozen' if number == EPERM else 'read-only for programs'}"
        do = "map it with memory(writable=False)"
    elif spec.type == uapi.BPF_MAP_TYPE_ARENA and number in (EINVAL, EBUSY) and not spec.map_extra:
        what = f"{name} was not mapped: it has been before, and an arena keeps its first address for good"
        do = "use the memory that is there, or declare its address: map_extra=1 << 44, the same wherever it is used"
    elif number == EEXIST:
        what = f"{name} was not mapped: there is other memory at its address, {spec.map_extra:#x}"
        do = "give it another map_extra, or 0"
    return KernelError(number, what, do, rule="map-memory")
