"""Filling C structs by the names of their fields, from the layouts of ``bpfasm.uapi``."""

from __future__ import annotations

from struct import calcsize, error as struct_error, pack_into, unpack_from

from bpfasm.errors import RecordError
from bpfasm.syscall.libc import addressof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.syscall.libc import Buffer

    Layout = dict[str, tuple[int, int, str]]
    Field = int | bytes | Buffer


def put(memory: Buffer, struct: str, layout: Layout, name: str, value: Field) -> int:
    """Set a field: a number, the bytes of an array of characters, or a ``Buffer`` for a pointer.

    Return where the field ends, in bytes. Raises TypeError for a field that ``struct`` does not have, and RecordError
    for a number that does not fit.
    """
    try:
        offset, length, format = layout[name]
    except KeyError:
        raise TypeError(f"{struct} has no field {name}") from None
    if format == "Q" and not isinstance(value, int):
        value = addressof(value)  # type: ignore[arg-type]  # bytes are for "16s"
    format, _, bits = format.partition(":")
    if bits:
        low, width = map(int, bits.split(":"))
        mask = (1 << width) - 1 << low
        value = unpack_from(format, memory, offset)[0] & ~mask | int(value) << low & mask
    try:
        pack_into(format, memory, offset, value)
    except struct_error:
        width = 8 * calcsize(format) - format.islower()
        least, most = -(1 << width) if format.islower() else 0, (1 << width) - 1
        raise RecordError(
            f"{name.rpartition('.')[2]} is {value!r}, and the kernel's field takes {least} to {most}",
            "give it a number of that range",
            rule="value-range",
        ) from None
    return offset + max(length, calcsize(format))


def get(memory: Buffer, layout: Layout, name: str) -> Any:
    """Return a field: a number, or the bytes of an array."""
    offset, length, format = layout[name]
    if format[0].isdigit():
        return bytes(memoryview(memory)[offset : offset + length])
    format, _, bits = format.partition(":")
    value = unpack_from(format, memory, offset)[0]
    if bits:
        low, width = map(int, bits.split(":"))
        value = value >> low & (1 << width) - 1
    return value


def end(layout: Layout, name: str) -> int:
    """Return the size of a struct whose last field this is."""
    offset, length, _ = layout[name]
    return offset + length
