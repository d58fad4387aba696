"""Writing BTF: types are added one by one, each gets an id, and the whole becomes bytes.

>>> btf = Writer()
>>> u32 = btf.add_int("u32", 4)
>>> pair = btf.add_struct("pair", 8, [("a", u32, 0), ("b", u32, 32)])
>>> u32, pair, btf.add_int("u32", 4)
(1, 2, 1)
>>> len(btf.to_bytes())
90
"""

from __future__ import annotations

from struct import Struct

from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = Struct("=I")
_THREE = Struct("=III")

#: struct btf_header as every kernel takes it; the words after these came with Linux 7.
_HEADER = Struct("=HBB5I")


class Writer:
    """BTF in the making. Each method that adds a type returns its id, from 1; a type that is there is not repeated.

    ``void`` is 0. Sizes are bytes, a member's offset is bits. (Documentation/bpf/btf.rst)
    """

    def __init__(self) -> None:
        self._types: dict[bytes, int] = {}
        self._strings = bytearray(1)
        self._offsets = {"": 0}

    def string(self, text: str) -> int:
        """Return where a string is among the strings."""
        if text not in self._offsets:
            self._offsets[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def add(
        self, kind: int, name: str = "", third: int = 0, rest: bytes = b"", *, count: int = 0, flag: bool = False
    ) -> int:
        """Add a type of any kind: ``third`` is its size or the type it refers to, ``rest`` what follows.

        ``count`` is how many members, values or parameters follow.
        """
        info = kind << 24 | count | flag << 31
        body = _THREE.pack(self.string(name), info, third) + rest
        return self._types.setdefault(body, len(self._types) + 1)

    def add_int(self, name: str, size: int, encoding: int = 0) -> int:
        """Add a whole number; ``encoding`` is BTF_INT_SIGNED, BTF_INT_CHAR, BTF_INT_BOOL or 0."""
        return self.add(uapi.BTF_KIND_INT, name, size, _WORD.pack(encoding << 24 | 8 * size))

    def add_array(self, element: int, count: int) -> int:
        """Add an array of ``count`` elements of a type."""
        return self.add(uapi.BTF_KIND_ARRAY, rest=_THREE.pack(element, self.add_int("u32", 4), count))

    def add_struct(self, name: str, size: int, members: Iterable[tuple[str, int, int]]) -> int:
        """Add a struct; its members are (name, type, offset in bits)."""
        rest = [_THREE.pack(self.string(member), type, offset) for member, type, offset in members]
        return self.add(uapi.BTF_KIND_STRUCT, name, size, b"".join(rest), count=len(rest))

    def add_var(self, name: str, type: int) -> int:
        """Add a variable that other objects see."""
        return self.add(uapi.BTF_KIND_VAR, name, type, _WORD.pack(uapi.BTF_VAR_GLOBAL_ALLOCATED))

    def add_datasec(self, name: str, size: int, variables: Iterable[tuple[int, int, int]]) -> int:
        """Add a section of variables, each (var, offset, size)."""
        rest = [_THREE.pack(*each) for each in variables]
        return self.add(uapi.BTF_KIND_DATASEC, name, size, b"".join(rest), count=len(rest))

    def to_bytes(self) -> bytes:
        """Return all of it, in this machine's byte order."""
        types = b"".join(self._types)
        header = _HEADER.pack(
            uapi.BTF_MAGIC, uapi.BTF_VERSION, 0, _HEADER.size, 0, len(types), len(types), len(self._strings)
        )
        return header + types + self._strings
