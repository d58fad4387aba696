"""Variables that the kernel's configuration says: ``extern bool CONFIG_HZ __kconfig``.

They are undefined in the object. Whoever loads it lays them out in a map of their own, ``.kconfig``, which is frozen
before the programs are verified: what a configuration rules out is dead code.
"""

from __future__ import annotations

from bpfasm.elf.image import Image
from bpfasm.errors import FeatureMissing, LinkError
from bpfasm.uapi import btf as kinds
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.variables import Global
    from bpfasm.btf.read import Btf

#: What a variable may be: y or n; that as a letter; y, m or n as an enum; a number; a text.
BOOL, CHAR, TRISTATE, NUMBER, TEXT = "bool", "char", "tristate", "number", "text"

#: The values of libbpf's enum of three states, by the configuration's letter.
_STATES = {"n": 0, "y": 1, "m": 2}


class Extern(Value):
    """A variable of the configuration: what it may be, and whether the program can do without (``__weak``)."""

    variable: Global
    kind: str
    weak: bool


class Kconfig(Image):
    """The section ``.kconfig``: its variables, and what each of them takes."""

    externs: tuple[Extern, ...] = ()

    def values(self, config: dict[str, str], own: dict[str, int]) -> dict[Global, Any]:
        """Return the values of the variables: of ``CONFIG_*`` as the configuration has them, of others from ``own``.

        Raises FeatureMissing for one that is not there and no program can do without, LinkError for a value that is
        none of its type.
        """
        found: dict[Global, Any] = {}
        for each in self.externs:
            name = each.variable.name
            if name in own:
                found[each.variable] = own[name]
            elif name in config:
                found[each.variable] = _value(each, config[name])
            elif not each.weak:
                raise FeatureMissing(
                    f"this kernel's configuration has no {name}"
                    if config
                    else f"{name} is wanted, and this kernel's configuration is not to be had",
                    "declare it __weak to go without; options are read from /proc/config.gz and /boot/config-*",
                    rule="kconfig-missing",
                )
        return found

    def __hash__(self) -> int:
        return hash((self.name, self.length))


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
        return TRISTATE if found.name == "libbpf_tristate" else None
    if found.kind == kinds.BTF_KIND_ARRAY:
        element = btf.resolve(found.type)
        return TEXT if element.size == 1 and element.name == "char" and found.detail else None
    return None


def _value(extern: Extern, text: str) -> Any:
    """Return a value of the configuration as the variable has it: ``y``, ``"(none)"``, ``250``, ``0xdead``."""
    kind, size = extern.kind, extern.variable.size
    if text in _STATES:
        if kind == TRISTATE:
            return _STATES[text]
        if kind == CHAR:
            return ord(text)
        if kind == BOOL and text != "m":
            return int(text == "y")
    elif text.startswith('"'):
        if kind == TEXT:
            return text.strip('"').encode()[: size - 1]
    elif kind == NUMBER:
        try:
            number = int(text, 0)
        except ValueError:
            number = None
        if number is not None and _fits(number, extern):
            return number
    raise LinkError(
        f"{extern.variable.name}={text} in this kernel's configuration is no {kind} of {size} bytes",
        "declare the variable as the option is: bool, enum libbpf_tristate, a number, or char[]",
        rule="kconfig-type",
    )


def _fits(number: int, extern: Extern) -> bool:
    bits = 8 * extern.variable.size
    if extern.variable.type.format.islower():
        return -(1 << (bits - 1)) <= number < 1 << (bits - 1)
    return 0 <= number < 1 << bits


def parse_config(text: str) -> dict[str, str]:
    """Return the options of a kernel's ``.config``, by name."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
