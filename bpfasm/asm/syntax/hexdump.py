"""Bytes as hex digits: 16 a slot, one slot a line."""

from __future__ import annotations

from bpfasm.errors import DecodeError
from bpfasm.isa.insn import SLOT_BYTES

_DIGITS = frozenset("0123456789abcdefABCDEF")


def lines(code: bytes) -> list[str]:
    """Return a line of 16 digits for each slot; bytes stand in memory order."""
    return [code[at : at + SLOT_BYTES].hex() for at in range(0, len(code), SLOT_BYTES)]


def looks_hex(data: bytes) -> bool:
    """Tell hex text from raw bytes: nothing but digits and white space, once comments are gone."""
    kept = "".join(map(_uncommented, data.decode("latin-1").splitlines()))
    return bool(kept.strip()) and all(char in _DIGITS or char.isspace() for char in kept)


def parse(text: str, file: str) -> bytes:
    """Return the bytes of hex digits; spaces and line ends may stand anywhere, ``#`` and ``;`` start a comment.

    Raises DecodeError that names the line of ``file``.
    """
    digits = []
    for number, line in enumerate(text.splitlines(), 1):
        kept = _uncommented(line)
        for at, char in enumerate(kept, 1):
            if char not in _DIGITS and not char.isspace():
                raise DecodeError(
                    f"column {at} has {char!r}, which is no hex digit",
                    "hex input is 16 digits a slot, with spaces and line ends where you like",
                    source=(file, number),
                    rule="hex-digit",
                )
        digits.append("".join(kept.split()))
    joined = "".join(digits)
    if len(joined) % 2:
        whole = len(joined) // 2
        last = max((n for n, d in enumerate(digits, 1) if d), default=1)
        raise DecodeError(
            f"{len(joined)} hex digits are {whole} byte{'' if whole == 1 else 's'} and half a byte",
            "a slot has 16 digits; the end of the input may be missing",
            source=(file, last),
            rule="cut-slot",
        )
    return bytes.fromhex(joined)


def _uncommented(line: str) -> str:
    return line.split("#", 1)[0].split(";", 1)[0]
