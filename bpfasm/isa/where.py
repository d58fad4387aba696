"""Where something was written: caught in 50 ns, looked up when somebody asks.

Finding the line of a frame walks its code's line table from the start, which for a list of a thousand macro calls
would make building it quadratic. So a ``Where`` keeps the code object and the index of the call in it; a text
syntax, which knows its lines, stores file and line outright.
"""

from __future__ import annotations

from itertools import islice
from sys import _getframe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from bpfasm.errors import Source

    Where = tuple[CodeType, int] | Source


def here(depth: int = 0) -> Where:
    """Return the place of the call ``depth`` frames above the caller of the function that asks."""
    frame = _getframe(depth + 2)
    return frame.f_code, frame.f_lasti


def caller_of(package: str) -> Where:
    """Return the place of the nearest call from outside of a package."""
    frame = _getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(
        (f"{package}.", f"{__name__}.")
    ):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def outside() -> Source | None:
    """Return the file and line of the nearest call that is not bpfasm's own; for errors, which are not in a hurry."""
    return source_of(caller_of("bpfasm"))


def source_of(where: Where | None) -> Source | None:
    """Return the file and the line, counted from 1."""
    if where is None:
        return None
    code, at = where
    if isinstance(code, str):
        return code, at
    # Two bytes an instruction; the position covers the call with its arguments, so it starts at the macro's name.
    line, *_ = next(islice(code.co_positions(), at // 2, None))
    return code.co_filename, line or code.co_firstlineno


def column_of(where: Where | None) -> int:
    """Return the column, counted from 1; 1 too where only the line is known."""
    if where is None or isinstance(where[0], str):
        return 1
    code, at = where
    _, _, column, _ = next(islice(code.co_positions(), at // 2, None))
    return (column or 0) + 1
