"""What a variable of the configuration is by its type in BTF, and the type in BTF of what it is."""

from __future__ import annotations

from bpfasm.asm.btf_types import add_type
from bpfasm.asm.kconfig import BOOL, CHAR, NUMBER, TEXT, TRISTATE
from bpfasm.uapi import btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.kconfig import Config
    from bpfasm.btf.read import Btf
    from bpfasm.btf.write import Writer

#: libbpf's enum of three states (bpf_helpers.h), by which it knows one.
_ENUM, _ENUMERATORS = "libbpf_tristate", ("TRI_NO", "TRI_YES", "TRI_MODULE")


def kind_of(btf: Btf, type: int) -> str | None:
    """Return what a variable of a type may be, None where it is none that a configuration has."""
    found = btf.resolve(type)
    if found.kind == kinds.BTF_KIND_INT:
        encoding = found.detail >> 24
        if encoding & kinds.BTF_INT_BOOL:
            return BOOL if found.size == 1 else None
        if found.size == 1 and found.name == "char":
            return CHAR
        return NUMBER if found.size in (1, 2, 4, 8) else None
    if found.kind in (kinds.BTF_KIND_ENUM, kinds.BTF_KIND_ENUM64):
        return TRISTATE if found.name == _ENUM else None
    if found.kind == kinds.BTF_KIND_ARRAY:
        element = btf.resolve(found.type)
        return TEXT if element.size == 1 and element.name == "char" and found.detail else None
    return None


def add_config_type(btf: Writer, variable: Config) -> int:
    """Write the type of a variable, as C has it; return its id."""
    if variable.kind == BOOL:
        return btf.add_int("_Bool", 1, kinds.BTF_INT_BOOL)
    if variable.kind == TRISTATE:
        rows = [btf.words(btf.string(name), value) for value, name in enumerate(_ENUMERATORS)]
        return btf.add(kinds.BTF_KIND_ENUM, _ENUM, variable.size, b"".join(rows), count=len(rows))
    if variable.kind == NUMBER:
        return add_type(btf, variable.type)
    char = btf.add_int("char", 1, kinds.BTF_INT_SIGNED)
    return char if variable.kind == CHAR else btf.add_array(char, variable.size)
