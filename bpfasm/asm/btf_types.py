"""The notation's types as BTF: what a map tells the kernel of its keys and values, so that bpftool shows fields."""

from __future__ import annotations

from bpfasm.asm.arrays import Array
from bpfasm.asm.handles import Handle
from bpfasm.asm.opaque import Opaque
from bpfasm.asm.prefixes import Prefix
from bpfasm.asm.record import Record
from bpfasm.asm.types import Chars
from bpfasm.asm.variables import Section
from bpfasm.uapi.btf import BTF_INT_CHAR, BTF_INT_SIGNED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.btf.write import Writer


def add_type(btf: Writer, kind: Any) -> int:
    """Add what a key or value was declared as; return its id, 0 for nothing."""
    if isinstance(kind, int):
        return btf.add_array(btf.add_int("u8", 1), kind) if kind else 0
    if isinstance(kind, type) and issubclass(kind, Record):
        return _record(btf, kind)
    if isinstance(kind, Array):
        return btf.add_array(add_type(btf, kind.element), kind.count)
    if isinstance(kind, Prefix):
        data = btf.add_array(btf.add_int("u8", 1), kind.data_size)
        members = [("prefixlen", btf.add_int("u32", 4), 0), ("data", data, 32)]
        return btf.add_struct(f"lpm_key_{kind.data_size}", kind.size, members)
    if isinstance(kind, Opaque):
        word = btf.add_int(f"u{8 * kind.align}", kind.align)
        if kind.words == 1:
            return btf.add_struct(kind.struct, kind.size, [("val", word, 0)])
        return btf.add_struct(kind.struct, kind.size, [("__opaque", btf.add_array(word, kind.words), 0)])
    if isinstance(kind, Section):
        places = [
            (btf.add_var(each.name, add_type(btf, each.type)), offset, each.size) for each, offset in kind.places
        ]
        return btf.add_datasec(kind.name, kind.size, places)
    if isinstance(kind, Handle):
        return btf.add_int(f"u{8 * kind.size}", kind.size)
    if isinstance(kind, Chars):
        return btf.add_array(btf.add_int("char", 1, BTF_INT_CHAR), kind.size)
    if kind.format.endswith("s"):
        return btf.add_array(btf.add_int("u8", 1), kind.size)
    return btf.add_int(kind.name, kind.size, BTF_INT_SIGNED if kind.format.islower() else 0)


def _record(btf: Writer, record: type[Record]) -> int:
    """Add a record; padding is a gap in C, too."""
    members = [
        (field.name, add_type(btf, field.type), 8 * field.off)
        for field in record.fields
        if field.name.strip("_0123456789")
    ]
    return btf.add_struct(record.__name__, record.size, members)
