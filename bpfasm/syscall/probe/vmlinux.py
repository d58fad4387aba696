"""What the kernel's own BTF names: its functions and structs with their type ids, and its enumerators."""

from __future__ import annotations

from struct import unpack_from

from bpfasm.uapi import btf

#: Where the kernel shows its types.
PATH = "/sys/kernel/btf/vmlinux"

#: The kinds whose ids programs are loaded by.
_KINDS = {btf.BTF_KIND_STRUCT: "struct", btf.BTF_KIND_FUNC: "func", btf.BTF_KIND_TYPEDEF: "typedef"}

#: What follows the first 12 bytes of a type, in words: so many, and so many for each of what it counts.
_AFTER = {
    btf.BTF_KIND_INT: (1, 0),
    btf.BTF_KIND_ARRAY: (3, 0),
    btf.BTF_KIND_STRUCT: (0, 3),
    btf.BTF_KIND_UNION: (0, 3),
    btf.BTF_KIND_ENUM: (0, 2),
    btf.BTF_KIND_FUNC_PROTO: (0, 2),
    btf.BTF_KIND_VAR: (1, 0),
    btf.BTF_KIND_DATASEC: (0, 3),
    btf.BTF_KIND_DECL_TAG: (1, 0),
    btf.BTF_KIND_ENUM64: (0, 3),
}


class Vmlinux:
    """The kernel's BTF, read once. A name is looked up without taking the types apart; an id takes one walk."""

    def __init__(self) -> None:
        try:
            with open(PATH, "rb") as file:
                data = file.read()
        except OSError:
            data = b""
        self.there = bool(data)
        header, types, types_size, strings, strings_size = unpack_from("=5I", data, 4) if data else (0,) * 5
        self._types = data[header + types : header + types + types_size]
        self._strings = data[header + strings : header + strings + strings_size]
        self._ids: dict[tuple[str, int], int] = {}

    def names(self, name: str) -> bool:
        """Return whether a type, a member or an enumerator has this name."""
        return self._at(name) > 0

    def id(self, kind: str, name: str) -> int:
        """Return the type id of a ``struct``, ``func`` or ``typedef``; 0 where there is none."""
        at = self._at(name)
        if at <= 0:
            return 0
        if not self._ids:
            self._walk()
        return self._ids.get((kind, at), 0)

    def _at(self, name: str) -> int:
        """Return where a name is in the strings, -1 where it is not; types name theirs by that."""
        found = self._strings.find(b"\0" + name.encode() + b"\0")
        return found + 1 if found >= 0 else -1

    def _walk(self) -> None:
        words = memoryview(self._types).cast("I")
        steps: dict[int, int] = {}
        at, number, end, ids = 0, 1, len(words), self._ids
        while at < end:
            info = words[at + 1]
            kind = info >> 24 & 31
            if kind in _KINDS:
                ids.setdefault((_KINDS[kind], words[at]), number)
            step = steps.get(info)
            if step is None:
                fixed, each = _AFTER.get(kind, (0, 0))
                step = steps[info] = 3 + fixed + each * (info & 0xFFFF)
            at += step
            number += 1


_read: list[Vmlinux] = []


def vmlinux() -> Vmlinux:
    """Return the running kernel's BTF."""
    if not _read:
        _read.append(Vmlinux())
    return _read[0]
