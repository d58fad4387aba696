"""``Globals``: the variables of loaded programs, read and written while these run."""

from __future__ import annotations

from bpfasm.asm.codec import codec_of
from bpfasm.asm.variables import Global, Section
from bpfasm.errors import MapError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.kernel.maps.map import LoadedMap


class Globals:
    """The variables of what was loaded together: ``obj.globals.limit = 5``, or ``obj.globals["limit"]``.

    They are memory: reading and writing takes no system call, a number of up to 8 bytes is never seen half written,
    and what was read last is still there after the programs are gone. The const ones are read only: MapError.
    """

    def __init__(self, maps: Iterable[LoadedMap]) -> None:
        found: dict[str, _Variable] = {}
        for map in maps:
            if isinstance(map.spec.value, Section):
                view = map.memory().view
                for variable, offset in map.spec.value.places:
                    found.setdefault(variable.name, _Variable(variable, view, offset))
        self.__dict__["_found"] = found

    def __getitem__(self, key: Global | str) -> Any:
        return self._get(key).read()

    def __setitem__(self, key: Global | str, value: Any) -> None:
        self._get(key).write(value)

    def _get(self, key: Global | str) -> _Variable:
        found: _Variable | None = self._found.get(key.name if isinstance(key, Global) else key)
        if found is None or (isinstance(key, Global) and found.variable != key):
            raise KeyError(key)
        return found

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no variable {name}; there are {', '.join(self) or 'none'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            self[name] = value
        except KeyError:
            raise AttributeError(f"there is no variable {name}; there are {', '.join(self) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._found)

    def __repr__(self) -> str:
        return f"<Globals {', '.join(f'{name}={self[name]!r}' for name in self)}>"


class _Variable:
    """A variable in memory."""

    def __init__(self, variable: Global, view: memoryview, offset: int) -> None:
        self.variable = variable
        self._codec = codec_of(variable.type, f"the variable {variable.name}")
        self._bytes = view[offset : offset + variable.size]
        # A view of one number loads and stores it at once, where slices go byte by byte.
        number: Any = self._codec.format
        self._number = self._bytes.cast(number) if number else None

    def read(self) -> Any:
        return self._codec.unpack(self._bytes) if self._number is None else self._number[0]

    def write(self, value: Any) -> None:
        name = self.variable.name
        if self.variable.const:
            raise MapError(
                f"{name} is const: the verifier has taken its value for granted",
                f"give it when the programs are loaded, load(..., values={{{name}: value}}), or leave out const",
                source=outside(),
                rule="global-const",
            )
        data = self._codec.pack(value)
        if self._number is None:
            self._bytes[:] = data
        else:
            self._number[0] = self._codec.unpack(data)
