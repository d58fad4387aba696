"""``Place``: what all places where a program is attached have in common."""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import outside
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self

    from bpfasm.asm.maps import MapSpec


class Place(Value):
    """Where a program is to be attached. It says nothing of how: that is ``mode`` of ``attach()``."""

    #: The types of programs that can be attached there.
    takes: ClassVar[tuple[int, ...]] = ()

    def told_at_load(self) -> dict[str, Any]:
        """Return the fields of ``Program`` that follow from it: those by which the verifier learns of it."""
        return {}

    def maps(self) -> tuple[MapSpec, ...]:
        """Return the maps that it names, which have to be there before."""
        from bpfasm.asm.maps import MapSpec

        return tuple(value for value in self.__dict__.values() if isinstance(value, MapSpec))

    def among(self, objects: Any) -> Self:
        """Return the place with loaded maps in the places of their declarations: ``objects[spec]`` is one."""
        found = {name: objects[value] for name, value in self.__dict__.items() if value in self.maps()}
        return self.replace(**found) if found else self


def refuse(what: str, do: str) -> OperandError:
    """Return the error for a place that cannot be, at the line that asked for it."""
    return OperandError(what, do, source=outside(), rule="attach-target")


def c_name(maker: str, name: object, what: str, do: str, more: str = "") -> str:
    """Check a name: letters, digits, ``_``, and what else ``more`` has; return it."""
    if isinstance(name, str):
        plain = name.translate({ord(each): "a" for each in f"_{more}"})
        if plain.isascii() and plain.isalnum() and not plain[0].isdigit():
            return name
    raise refuse(f"{maker}(): {name!r} is no name of {what}", do)
