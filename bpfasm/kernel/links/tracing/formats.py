"""The records of this kernel's tracepoints, for programs that name their fields."""

from __future__ import annotations

from errno import EACCES, EPERM

from bpfasm.asm.attach.format import Format, TracepointField, parse_format
from bpfasm.syscall import tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.asm.symbols import Symbol


def format_of(group: str, name: str) -> Format:
    """Return what the record of a tracepoint is here. Raises FeatureMissing, DecodeError."""
    from bpfasm.kernel.links.tracing import tracepoint_refused as refused

    root = tracefs.find()
    if root is None:
        raise refused.no_tracefs()
    try:
        return parse_format(tracefs.format_of(root, group, name))
    except OSError as error:
        if error.errno in (EACCES, EPERM):
            raise refused.not_readable(root, error.errno) from None
        raise refused.no_tracepoint(name, group) from None


def formats_here(symbols: Iterable[tuple[int, Symbol, str]]) -> dict[tuple[str, str], Format]:
    """Return the records that operands name. Raises FeatureMissing."""
    places = {(each.place.group, each.place.name) for _, each, _ in symbols if isinstance(each, TracepointField)}
    return {place: format_of(*place) for place in places}
