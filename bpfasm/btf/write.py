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

import sys
from struct import pack

from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.isa.insn import ByteOrder

#: struct btf_header as every kernel takes it: its format and its bytes; the words after these came with Linux 7.
_HEADER, _HEADER_SIZE = "HBB5I", 24


class Writer:
    """BTF in the making. Each method that adds a type returns its id, from 1; a type that is there is not repeated.

    ``void`` is 0. Sizes are bytes, a member's offset is bits. (Documentation/bpf/btf.rst)
    """

    def __init__(self, byteorder: ByteOrder = sys.byteorder) -> None:
        self._order = "<" if byteorder == "little" else ">"
        self._types: dict[bytes, int] = {}
        self._strings = bytearray(1)
        self._offsets = {"": 0}

    def string(self, text: str) -> int:
        """Return where a string is among the strings."""
        if text not in self._offsets:
            self._offsets[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def words(self, *numbers: int) -> bytes:
        """Return numbers of 32 bits as bytes: what follows the first three words of a type."""
        return pack(f"{self._order}{len(numbers)}I", *numbers)

    def add(
        self, kind: int, name: str = "", third: int = 0, rest: bytes = b"", *, count: int = 0, flag: bool = False
    ) -> int:
        """Add a type of any kind: ``third`` is its size or the type it refers to, ``rest`` what follows.

        ``count`` is how many members, values or parameters follow.
        """
        info = kind << 24 | count | flag << 31
        body = self.words(self.string(name), info, third) + rest
        return self._types.setdefault(body, len(self._types) + 1)

    def add_int(self, name: str, size: int, encoding: int = 0) -> int:
        """Add a whole number; ``encoding`` is BTF_INT_SIGNED, BTF_INT_CHAR, BTF_INT_BOOL or 0."""
        return self.add(uapi.BTF_KIND_INT, name, size, self.words(encoding << 24 | 8 * size))

    def add_array(self, element: int, count: int) -> int:
        """Add an array of ``count`` elements of a type."""
        return self.add(uapi.BTF_KIND_ARRAY, rest=self.words(element, self.add_int("u32", 4), count))

    def add_struct(self, name: str, size: int, members: Iterable[tuple[str, int, int]]) -> int:
        """Add a struct; its members are (name, type, offset in bits)."""
        rest = [self.words(self.string(member), type, offset) for member, type, offset in members]
        return self.add(uapi.BTF_KIND_STRUCT, name, size, b"".join(rest), count=len(rest))

    def add_var(self, name: str, type: int) -> int:
        """Add a variable that other objects see."""
        return self.add(uapi.BTF_KIND_VAR, name, type, self.words(uapi.BTF_VAR_GLOBAL_ALLOCATED))

    def add_datasec(self, name: str, size: int, variables: Iterable[tuple[int, int, int]]) -> int:
        """Add a section of variables, each (var, offset, size)."""
        rest = [self.words(*each) for each in variables]
        return self.add(uapi.BTF_KIND_DATASEC, name, size, b"".join(rest), count=len(rest))

    def to_bytes(self) -> bytes:
        """Return all of it."""
        types = b"".join(self._types)
        places = 0, len(types), len(types), len(self._strings)
        header = pack(self._order + _HEADER, uapi.BTF_MAGIC, uapi.BTF_VERSION, 0, _HEADER_SIZE, *places)
        return header + types + self._strings
