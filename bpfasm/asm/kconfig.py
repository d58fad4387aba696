"""``kconfig()``: a variable whose value the kernel's configuration says, as ``extern int CONFIG_HZ __kconfig`` in C.

>>> from bpfasm.asm import *
>>> from bpfasm.asm.variables import sections
>>> hz = kconfig("CONFIG_HZ", u32)
>>> program = Program("ticks", BPF_PROG_TYPE_XDP, [
...     BPF_LD_MAP_VALUE(R1, hz, 0),
...     BPF_LDX_MEM(BPF_W, R0, R1, 0),
...     BPF_EXIT_INSN(),
... ])
>>> sections(assemble(program).globals)
(<map .kconfig>,)

Whoever loads the program lays such variables out in a map of their own, ``.kconfig``, which is frozen before the
programs are verified: what a configuration rules out is dead code.
"""

from __future__ import annotations

from bpfasm.asm.types import Type, u8, u32
from bpfasm.asm.variables import KCONFIG, Global
from bpfasm.errors import FeatureMissing, LinkError, MapError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: What a variable may be: y or n; that as a letter; y, m or n as an enum; a number; a text.
BOOL, CHAR, TRISTATE, NUMBER, TEXT = "bool", "char", "tristate", "number", "text"

#: The values of libbpf's enum of three states, by the configuration's letter.
_STATES = {"n": 0, "y": 1, "m": 2}

_BY_WORD = {BOOL: u8, CHAR: u8, TRISTATE: u32}


class Config(Global):
    """A variable of the configuration: ``kind`` is what it may be; a ``weak`` one that is not there is 0."""

    kind: str = NUMBER
    weak: bool = False

    @property
    def section(self) -> str:
        """The map it is in."""
        return KCONFIG

    def __repr__(self) -> str:
        return f"<kconfig {self.name}>"


def kconfig(name: str, type: Any = TRISTATE, *, weak: bool = False) -> Config:
    """Return a variable that ``load()`` sets from the running kernel's configuration, as loaders of objects do.

    ``type`` is ``"tristate"`` (4 bytes: 0 n, 1 y, 2 m), ``"bool"`` (1 byte), ``"char"`` (its letter), a number of 2
    bytes or more such as ``u32``, or ``chars(16)`` for a text. What libbpf says beside the configuration has its
    names: LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE, LINUX_HAS_SYSCALL_WRAPPER. A ``weak`` one that is not there is
    0. Raises MapError.
    """
    if type in _BY_WORD:
        return Config(name, _BY_WORD[type], None, True, type, weak)
    kind = NUMBER if isinstance(type, Type) and type.format in {*"hHiIqQ"} else TEXT if _is_text(type) else ""
    if not kind:
        raise MapError(
            f"the option {name} cannot be {type!r}",
            'options are "bool", "tristate", "char", a number such as u32, or chars(16)',
            source=outside(),
            rule="kconfig-type",
        )
    return Config(name, type, None, True, kind, weak)


def _is_text(type: Any) -> bool:
    return isinstance(type, Type) and type.name.startswith("char")


def config_values(variables: Iterable[Config], config: dict[str, str], own: dict[str, int]) -> dict[Global, Any]:
    """Return the values of variables: of ``CONFIG_*`` as the configuration has them, of others from ``own``.

    Raises FeatureMissing for one that is not there and no program can do without, LinkError for a value that is none
    of its type.
    """
    found: dict[Global, Any] = {}
    for each in variables:
        if each.name in own:
            found[each] = own[each.name]
        elif each.name in config:
            found[each] = _value(each, config[each.name])
        elif not each.weak:
            raise FeatureMissing(
                f"this kernel's configuration has no {each.name}"
                if config
                else f"{each.name} is wanted, and this kernel's configuration is not to be had",
                "declare it weak to go without; options are read from /proc/config.gz and /boot/config-*",
                rule="kconfig-missing",
            )
    return found


def _value(variable: Config, text: str) -> Any:
    """Return a value of the configuration as the variable has it: ``y``, ``"(none)"``, ``250``, ``0xdead``."""
    kind, size = variable.kind, variable.size
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
        if number is not None and _fits(number, variable):
            return number
    raise LinkError(
        f"{variable.name}={text} in this kernel's configuration is no {kind} of {size} bytes",
        "declare the variable as the option is: bool, enum libbpf_tristate, a number, or char[]",
        rule="kconfig-type",
    )


def _fits(number: int, variable: Config) -> bool:
    bits = 8 * variable.size
    if variable.type.format.islower():
        return -(1 << (bits - 1)) <= number < 1 << (bits - 1)
    return 0 <= number < 1 << bits


def parse_config(text: str) -> dict[str, str]:
    """Return the options of a kernel's ``.config``, by name."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
