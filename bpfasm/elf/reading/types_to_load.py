"""An object's types in a form that a kernel takes: the same ids, with what a compiler leaves open filled in.

A compiler does not know sizes of sections, and writes what is elsewhere as ``extern``, which no kernel takes. Kernels
before 6.0 lack kinds of types; :func:`older` replaces them by others, as libbpf does, whose bytes are the same.
(kernel/bpf/btf.c btf_check_meta())
"""

from __future__ import annotations

from struct import Struct, pack

from bpfasm.btf.read import Btf
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = Struct("=HBB5I")
_KIND, _COUNT, _FLAG = 0x7F << 24, 0xFFFF, 1 << 31

#: Sections whose entries are the kernel's; nobody asks for their layout.
_OF_THE_KERNEL = (".ksyms", ".kconfig")


def loadable(btf: Btf, sizes: dict[str, int]) -> bytes:
    """Return types that a kernel takes, in this machine's byte order; ``sizes`` are those of sections, by name."""
    protos: dict[int, int] = {}
    elsewhere: set[int] = set()
    for id in range(1, len(btf)):
        words = btf.words(id)
        if _kind(words) == uapi.BTF_KIND_FUNC:
            protos[words[2]] = words[0]
        elif _kind(words) == uapi.BTF_KIND_VAR and words[3] > uapi.BTF_VAR_GLOBAL_ALLOCATED:
            elsewhere.add(id)

    def change(id: int, words: list[int]) -> list[int]:
        kind = _kind(words)
        if kind == uapi.BTF_KIND_DATASEC:
            return _section(btf, words, sizes)
        if id in elsewhere:
            return [0, uapi.BTF_KIND_PTR << 24, 0]  # of a variable there is nothing left to say
        if kind == uapi.BTF_KIND_DECL_TAG and words[2] in elsewhere:
            return [words[0], uapi.BTF_KIND_INT << 24, 1, 8]
        if kind == uapi.BTF_KIND_FUNC and words[1] & _COUNT > uapi.BTF_FUNC_GLOBAL:
            words[1] += uapi.BTF_FUNC_GLOBAL - (words[1] & _COUNT)
        elif kind == uapi.BTF_KIND_FUNC_PROTO and id in protos:
            # The parameters of a function are to have names: that of the function does for those that have none.
            for at in range(3, len(words), 2):
                if words[at + 1]:
                    words[at] = words[at] or protos[id]
        return words

    return _rewritten(btf, change)


def older(data: bytes) -> bytes:
    """Return types without those kinds that kernels have learned since 5.10, in the same places."""
    btf = Btf(data)
    wide = len(btf)  # the id of a type that is added at the end, where it is needed
    needs = False

    def change(_: int, words: list[int]) -> list[int]:
        nonlocal needs
        kind = _kind(words)
        if kind == uapi.BTF_KIND_FLOAT:
            return [0, uapi.BTF_KIND_STRUCT << 24, words[2]]
        if kind == uapi.BTF_KIND_TYPE_TAG:
            return [0, uapi.BTF_KIND_CONST << 24, words[2]]
        if kind == uapi.BTF_KIND_DECL_TAG:
            return [words[0], uapi.BTF_KIND_INT << 24, 1, 8]
        if kind == uapi.BTF_KIND_ENUM:
            words[1] &= ~_FLAG
        elif kind == uapi.BTF_KIND_ENUM64:
            needs = True
            members = [word for at in range(3, len(words), 3) for word in (words[at], wide, 0)]
            return [words[0], uapi.BTF_KIND_UNION << 24 | words[1] & _COUNT, words[2], *members]
        return words

    changed = _rewritten(btf, change)
    if not needs:
        return changed
    return _rewritten(Btf(changed), lambda _, words: words, [[0, uapi.BTF_KIND_INT << 24, 8, 64]])


def _section(btf: Btf, words: list[int], sizes: dict[str, int]) -> list[int]:
    """Return a section of variables with its size, the variables in their order; an empty one is no section."""
    name = btf.string(words[0])
    size = sizes.get(name, 0)
    rows, end = [], 0
    for offset, id, length in sorted((words[at + 1], words[at], words[at + 2]) for at in range(3, len(words), 3)):
        # clang 14 lists static arrays here that it has put into .rodata.cst16.
        if end <= offset and offset + length <= size:
            rows.append((offset, id, length))
            end = offset + length
    if name in _OF_THE_KERNEL or not rows or not 0 < size < 1 << 32:
        return [0, uapi.BTF_KIND_STRUCT << 24, 0]
    info = words[1] & ~_COUNT | len(rows)
    return [words[0], info, size, *(word for offset, id, length in rows for word in (id, offset, length))]


def _rewritten(btf: Btf, change: Callable[[int, list[int]], list[int]], more: list[list[int]] | None = None) -> bytes:
    """Return the bytes of types, each changed."""
    found = [change(id, btf.words(id)) for id in range(1, len(btf))] + (more or [])
    words = [word for each in found for word in each]
    types = pack(f"={len(words)}I", *words)
    header = _HEADER.pack(
        uapi.BTF_MAGIC, uapi.BTF_VERSION, 0, _HEADER.size, 0, len(types), len(types), len(btf.strings)
    )
    return header + types + btf.strings


def _kind(words: list[int]) -> int:
    return (words[1] & _KIND) >> 24
