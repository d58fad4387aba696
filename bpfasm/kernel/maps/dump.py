"""What a map holds, whoever made it: bytes, and what they are to the map's types."""

from __future__ import annotations

from errno import EINVAL, ENOTSUP
from itertools import count as count_up

from bpfasm.asm.map_types import type_of
from bpfasm.btf.values import value_of
from bpfasm.errors import DecodeError, KernelError
from bpfasm.kernel.base.words import errno_name, map_type
from bpfasm.kernel.objects import ids
from bpfasm.kernel.programs.info import fd_fields, types_of
from bpfasm.syscall import system
from bpfasm.syscall.elem import Elements
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.btf.read import Btf


class Element(Value):
    """A key and its values: one, or one for each CPU; none where it could not be read, and ``problem`` says why."""

    key: bytes
    values: tuple[bytes, ...]
    problem: str = ""


class MapContent:
    """A map that is open, to be read once from its first key to its last.

    ``info`` is ``struct bpf_map_info`` by its fields' names, ``name`` the map's. ``typed`` tells whether the map has
    types for its keys and values.
    """

    def __init__(self, fd: int) -> None:
        """Take an fd, which stays the caller's. Raises KernelError, FeatureMissing."""
        self.fd = fd
        self.info = ids.info("map", fd)
        self.name = ids.text(self.info["name"])
        row = type_of(self.info["type"])
        self.per_cpu, self._index = row.per_cpu, row.keys == "index"
        self._types: Btf | None = None
        if self.info["btf_key_type_id"] or self.info["btf_value_type_id"]:
            self._types = types_of(self.info["btf_id"])
        self.typed = self._types is not None

    def __iter__(self) -> Iterator[Element]:
        """Go over the elements, each key once; it comes to an end whatever others do to the map meanwhile.

        Raises KernelError for a map that has no keys to go over.
        """
        size, cpus = self.info["value_size"], system.possible_cpus() if self.per_cpu else 1
        step = (size + 7) // 8 * 8 if self.per_cpu else size
        elements = Elements(self.fd, self.info["key_size"], step * cpus)
        # After a key that is gone comes the first again: what was seen is passed over, and two rounds are the end.
        # A map that does not say how many it has (storage of cgroups) ends there by itself.
        most, seen = self.info["max_entries"], set[bytes]()
        key = self._next(elements, None)
        for _ in range(2 * most + 2) if most else count_up():
            if key is None:
                return
            following = self._next(elements, key)
            if key in seen:
                key = following
                continue
            seen.add(key)
            try:
                data = elements.lookup(key)
            except OSError as error:
                yield Element(key, (), errno_name(error.errno or 0))
            else:
                if data is not None:
                    yield Element(key, tuple(data[at : at + size] for at in range(0, step * cpus, step)))
                elif self._index:
                    yield Element(key, (), "no entry")
            key = following

    def _next(self, elements: Elements, key: bytes | None) -> bytes | None:
        try:
            return elements.next_key(key)
        except OSError as error:
            number = error.errno or 0
        what, do = f"the keys of {self.name or 'the map'} cannot be read: {errno_name(number)}", ""
        if number in (EINVAL, ENOTSUP, ENOTSUPP):
            what = f"a map of type {map_type(self.info['type'])} has no keys to go over"
            do = "what is in it can be had by its programs, or by taking it out"
        raise KernelError(number, what, do, rule="map-dump")

    def key(self, data: bytes) -> Any:
        """Return what a key is to the map's types, None where there are none."""
        return self._decoded(self.info["btf_key_type_id"], data)

    def value(self, data: bytes) -> Any:
        """Return what a value is to the map's types, None where there are none."""
        return self._decoded(self.info["btf_value_type_id"], data)

    def _decoded(self, id: int, data: bytes) -> Any:
        if self._types is None or not id:
            return None
        try:
            return value_of(self._types, id, data)
        except DecodeError:
            return None


def map_facts(fd: int) -> dict[str, Any]:
    """Return ``struct bpf_map_info`` by its fields' names, with ``name`` as text, ``memlock`` and ``frozen``."""
    about, fields = ids.info("map", fd), fd_fields(fd)
    return {
        **about,
        "name": ids.text(about["name"]),
        "memlock": int(fields.get("memlock", 0)),
        "frozen": fields.get("frozen") == "1",
    }
