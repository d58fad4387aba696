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
_WORD_BYTES = 4


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

    def add_composite(self, kind: int, name: str, size: int, members: Iterable[tuple[str, int, int, int]]) -> int:
        """Add a struct or union (BTF_KIND_*); its members are (name, type, offset in bits, bits of a field or 0)."""
        rows = list(members)
        flag = any(bits for *_, bits in rows)  # with it, an offset has 24 bits, and the width the 8 above
        rest = [self.words(self.string(member), type, bits << 24 | offset) for member, type, offset, bits in rows]
        return self.add(kind, name, size, b"".join(rest), count=len(rest), flag=flag)

    def add_enum(self, name: str, values: dict[str, int], size: int = 4) -> int:
        """Add an enum; one with values below 0 is signed, one of 8 bytes a BTF_KIND_ENUM64 (6.0)."""
        signed = any(value < 0 for value in values.values())
        kind, rest = (uapi.BTF_KIND_ENUM64, b"") if size > _WORD_BYTES else (uapi.BTF_KIND_ENUM, b"")
        for called, value in values.items():
            low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
            rest += self.words(self.string(called), low, *((high,) if kind == uapi.BTF_KIND_ENUM64 else ()))
        return self.add(kind, name, size, rest, count=len(values), flag=signed)

    def add_pointer(self, type: int = 0) -> int:
        """Add a pointer to a type, to void for 0."""
        return self.add(uapi.BTF_KIND_PTR, third=type)

    def add_name(self, kind: int, type: int, name: str = "") -> int:
        """Add another name for a type, or a word before it: a BTF_KIND_TYPEDEF, _CONST, _VOLATILE, _TYPE_TAG ..."""
        return self.add(kind, name, type)

    def add_forward(self, name: str, *, union: bool = False) -> int:
        """Add a struct or union that is declared and no more."""
        return self.add(uapi.BTF_KIND_FWD, name, flag=union)

    def add_prototype(self, returns: int, parameters: Iterable[tuple[str, int]] = ()) -> int:
        """Add the type of a function; its parameters are (name, type), the last one ("", 0) where more may follow."""
        rest = [self.words(self.string(name), type) for name, type in parameters]
        return self.add(uapi.BTF_KIND_FUNC_PROTO, third=returns, rest=b"".join(rest), count=len(rest))

    def add_function(self, name: str, prototype: int, linkage: int = uapi.BTF_FUNC_STATIC) -> int:
        """Add a function: BTF_FUNC_STATIC, BTF_FUNC_GLOBAL or BTF_FUNC_EXTERN."""
        return self.add(uapi.BTF_KIND_FUNC, name, prototype, count=linkage)

    def add_float(self, name: str, size: int) -> int:
        """Add a floating-point number (5.13)."""
        return self.add(uapi.BTF_KIND_FLOAT, name, size)

    def add_tag(self, text: str, type: int, component: int = -1) -> int:
        """Add a note to a declaration, or to one of its members or parameters (5.16)."""
        return self.add(uapi.BTF_KIND_DECL_TAG, text, type, self.words(component & 0xFFFFFFFF))

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
