"""``Value``: the base of everything that describes and owns nothing.

A subclass states its fields as annotations, with defaults where it has them, like a frozen dataclass. The
standard library's dataclass costs 14 ms at start (it imports ``inspect`` and ``re``); this costs none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        """Stand in at run time for what only the type checker reads."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """A frozen record: made from its fields, compared, hashed and printed by them.

    A subclass may define ``__post_init__`` to check its fields, or to normalise one with ``self._set``.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = [name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")]
        cls._fields = cls._fields + tuple(name for name in own if name not in cls._fields)
        cls._defaults = cls._defaults | {name: cls.__dict__[name] for name in own if name in cls.__dict__}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields, values, used = self._fields, self.__dict__, len(args)
        values.update(zip(fields, args, strict=False))
        if used != len(fields) or kwargs:
            taken = 0
            for name in fields[used:]:
                if name in kwargs:
                    values[name] = kwargs[name]
                    taken += 1
                elif name in self._defaults:
                    values[name] = self._defaults[name]
                else:
                    raise TypeError(self._misfit(args, kwargs))
            if taken != len(kwargs) or used > len(fields):
                raise TypeError(self._misfit(args, kwargs))
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; the place for a subclass's own rules."""

    @classmethod
    def _misfit(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Say why these arguments do not make a value of this class."""
        name, fields = cls.__name__, cls._fields
        if len(args) > len(fields):
            return f"{name}() takes {len(fields)} fields ({', '.join(fields)}) but {len(args)} were given"
        given = fields[: len(args)]
        for key in kwargs:
            if key not in fields:
                return f"{name}() has no field {key!r}; its fields are {', '.join(fields)}"
            if key in given:
                return f"{name}() got the field {key!r} twice"
        missing = [f for f in fields if f not in given and f not in kwargs and f not in cls._defaults]
        return f"{name}() is missing {', '.join(missing)}"

    def _set(self, **fields: Any) -> None:
        """Set fields; for ``__post_init__`` alone."""
        self.__dict__.update(fields)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: values are frozen; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted: values are frozen")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__dict__.items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(shown)})"
