"""Bytes as hex digits: printed as 16 a slot, one slot a line; read in whatever way they were pasted.

Read are digits with or without spaces and ``0x``, arrays and strings of bytes of C, Python and Go, dumps of xxd and
``hexdump -C``, 64-bit numbers (``0x00000000000000b7``), bpftool's JSON with opcodes, and bpfasm's own JSON.
"""

from __future__ import annotations

import re

from bpfasm.errors import DecodeError
from bpfasm.isa.insn import SLOT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_DIGITS = frozenset("0123456789abcdefABCDEF")
#: What stands before an array, what is in it, what follows: ``[]byte{0xb7, 0}``, ``[0xb7, 0]``, ``char p[] = {...};``
_ARRAY = re.compile(r"((?:[^{}\[\]]*\[\w*\])?[^{}\[\]]*)[{\[]([^{}\[\]]*)[}\]]([^{}\[\]]*)")
_LITERAL = re.compile(r"""(b?)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_STRINGS = re.compile(rf"(?:[^\"'{{}}()]*=)?\s*(?:\(\s*)?(?:{_LITERAL.pattern}\s*)+(?:\)\s*)?;?")
_BARE = re.compile(r"\s*(?:\\x[0-9a-fA-F]{2}\s*)+")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))|([^\\])", re.S)
_ESCAPED = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, '"': 34, "'": 39}
#: Words of the C types of 64 bits.
_WIDE = frozenset(("uint64_t", "__u64", "u64", "long"))
_DO = "hex input is 16 digits a slot, with spaces and line ends where you like"


def lines(code: bytes) -> list[str]:
    """Return a line of 16 digits for each slot; bytes stand in memory order."""
    return [code[at : at + SLOT_BYTES].hex() for at in range(0, len(code), SLOT_BYTES)]


def looks_hex(data: bytes) -> bool:
    """Tell hex text from raw bytes and other text: digits and what stands between them, once comments are gone."""
    text = data.decode("latin-1")
    kept = "".join(map(_uncommented, text.splitlines()))
    if not kept.strip():
        return False
    if all(char in _DIGITS or char.isspace() for char in kept):
        return True
    if not text.isascii() or text.strip("\0") != text:
        return False
    return (_is_json(text) and disassembled(text) is text) or bool(_dumped(text)) or _is_array(text)


def parse(text: str, file: str) -> bytes:
    """Return the bytes of hex text; ``#``, ``;`` and ``//`` start a comment. Raises DecodeError with the line."""
    if _is_json(text):
        return _json(text, file)
    dumped = _dumped(text)
    if dumped:
        return b"".join(dumped)
    if "\\x" in text:
        return _string(text, file)
    array = _array(text)
    return bytes(array) if array else _digits(text, file)


def _digits(text: str, file: str) -> bytes:
    """Return the bytes of digits, of an array of them, or of numbers."""
    digits: list[str] = []
    numbers: list[str] = []
    closed = False
    width = 2  # the digits of a number that has fewer: those of its type
    for number, line in enumerate(text.splitlines(), 1):
        kept = _uncommented(line)
        if closed and "{" not in kept and _declares(kept):
            continue  # xxd -i has the length there
        start, end = kept.find("{"), kept.find("}")
        if start >= 0 and _declares(kept[:start]):
            width = 16 if not _WIDE.isdisjoint(kept[:start].split()) else 2
            kept = " " * (start + 1) + kept[start + 1 :]
        if end >= 0 and kept[end + 1 :].strip(" ;\t") == "":
            kept, closed = kept[:end], True
        piece = ""
        for at, word in _words(kept):
            prefixed = word[:2] in ("0x", "0X") and len(word) > 2
            word = word.rstrip("uUlL") if prefixed else word  # noqa: PLW2901
            for offset, char in enumerate(word[2:] if prefixed else word):
                if char not in _DIGITS:
                    column = at + offset + (2 if prefixed else 0)
                    _refuse(file, number, f"column {column} has {char!r}, which is no hex digit", _DO)
            word = word[2:].zfill(width) if prefixed else word  # noqa: PLW2901
            if prefixed and len(word) > 2:
                numbers.append(word)
            piece += word
        digits.append(piece)
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
    data = bytes.fromhex(joined)
    if numbers and "".join(numbers) == joined and all(len(each) in (8, 16) for each in numbers):
        return _numbers(numbers, data)
    return data


def _numbers(numbers: list[str], in_order: bytes) -> bytes:
    """Return numbers as a little-endian machine has them, or digit by digit where only that is a program."""
    from bpfasm.isa.insn import decode
    from bpfasm.isa.match import form_of

    swapped = b"".join(bytes.fromhex(each)[::-1] for each in numbers)
    known = [all(map(form_of, decode(each[: len(each) // 8 * 8]))) for each in (swapped, in_order)]
    return in_order if known == [False, True] else swapped


def _words(line: str) -> list[tuple[int, str]]:
    """Return what stands between spaces and commas, with its column."""
    found, at = [], 0
    for word in line.replace(",", " ").split(" "):
        for piece in word.split():
            found.append((line.index(piece, at) + 1, piece))
            at = found[-1][0] - 1 + len(piece)
    return found


def _declares(text: str) -> bool:
    """Tell whether this is what stands before an array: ``static const unsigned char prog[] =``."""
    words = text.replace("*", " ").replace("=", " ").split()
    kinds = {
        "unsigned",
        "char",
        "const",
        "static",
        "uint8_t",
        "__u8",
        "u8",
        "uint64_t",
        "__u64",
        "u64",
        "long",
        "int",
        "[]byte",
        "[]uint8",
    }
    return not words or words[0] in kinds


def _is_array(text: str) -> bool:
    """Tell whether a text is numbers in hex with ``0x``, perhaps in the braces of an array, or strings of bytes."""
    if "\\x" in text:
        return bool(_STRINGS.fullmatch(text.strip()) or _BARE.fullmatch(text))
    if _array(text):
        return True
    body = "\n".join(map(_uncommented, text.splitlines()))
    if "{" in body:
        head, _, body = body.partition("{")
        if not _declares(head) or "{" in body:
            return False
        body = body.partition("}")[0]
    words = [word.rstrip("uUlL") for word in body.replace(",", " ").split()]
    return bool(words) and all(word[:2] in ("0x", "0X") and set(word[2:]) <= _DIGITS and word[2:] for word in words)


def _array(text: str) -> list[int]:
    """Return the bytes of an array of them, of which one at least is in hex; none where it is none."""
    if "{" not in text and "[" not in text:
        return []
    lines = (line.partition("//")[0].partition("#")[0] for line in text.splitlines())
    match = _ARRAY.fullmatch("\n".join(lines).strip())
    if not match or not _declares(match[1]) or not _declares(match[3].lstrip(" \t\n);,")):
        return []
    words = match[2].replace(",", " ").split()
    hexes = [word for word in words if word[:2] in ("0x", "0X") and 2 < len(word) <= 4 and set(word[2:]) <= _DIGITS]
    decimals = [word for word in words if word.isascii() and word.isdecimal() and len(word) <= 3]
    if not hexes or len(hexes) + len(decimals) < len(words):
        return []
    found = [int(word, 16 if word[:2] in ("0x", "0X") else 10) for word in words]
    return found if max(found) < 256 else []


def _dumped(text: str) -> list[bytes]:
    """Return the bytes of each line of xxd or ``hexdump -C``; nothing where a line is none."""
    found: list[bytes] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        place, colon, rest = line.partition(":") if ":" in line[:17] else line.partition("  ")
        place = place.strip()
        if len(place) < 7 or not set(place) <= _DIGITS or not (colon or found):
            return []
        if not rest.strip():
            continue  # hexdump ends with the length
        body = rest.strip("\n")
        if colon != ":":
            body = body.partition("|")[0]
        elif "  " in body.strip():
            body = body.strip().partition("  ")[0]
        joined = "".join(body.split())
        if not set(joined) <= _DIGITS or len(joined) % 2:
            return []
        if int(place, 16) != sum(map(len, found)):
            return []
        found.append(bytes.fromhex(joined))
    return found


def _string(text: str, file: str) -> bytes:
    """Return the bytes of strings of C or Python: ``"\\xb7\\x00..."``, ``b'a\\x11'``."""
    out = bytearray()
    for number, line in enumerate(text.splitlines(), 1):
        literals = [(each[1], each[2][1:-1]) for each in _LITERAL.finditer(line)]
        for kind, body in literals or [("", line.strip())]:
            at = 0
            while at < len(body):
                found = _ESCAPE.match(body, at)
                value = _escaped(found) if found else None
                if found is None or value is None:
                    _refuse(file, number, f"{body[at : at + 4]} is no byte", "write two hex digits after each \\x")
                at = found.end()
                if found[1] and not kind and body[at : at + 1] in _DIGITS and body[at : at + 1]:
                    what = f"{found[0]}{body[at]} is one byte in C and two in Python"
                    _refuse(file, number, what, "write b before the string, or \\x before each byte")
                out.append(value)
    return bytes(out)


def _escaped(found: re.Match[str]) -> int | None:
    """Return the byte of a letter or an escape, None where that is none."""
    hexadecimal, octal, letter, plain = found.groups()
    if hexadecimal:
        return int(hexadecimal, 16)
    value = int(octal, 8) if octal else ord(plain) if plain else _ESCAPED.get(letter, 256)
    return value if value < 256 else None


def _is_json(text: str) -> bool:
    start = text.lstrip()[:1]
    return start in ("[", "{") and ('"opcodes"' in text or '"bpfasm/programs/' in text)


def _json(text: str, file: str) -> bytes:
    """Return the bytes of bpftool's JSON of a program, or of ours."""
    import json

    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        _refuse(file, line, f"this JSON is broken: {error}", "bpftool -j prog dump xlated id N opcodes")
    try:
        if isinstance(document, dict) and "programs" in document:
            return bytes.fromhex(document["programs"][0]["hex"])
        rows = document["insns"] if isinstance(document, dict) else document
        return b"".join(_opcodes(row["opcodes"]) for row in rows if "opcodes" in row)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        _refuse(file, 1, "this JSON has no opcodes of a program", "bpftool -j prog dump xlated id N opcodes")


def disassembled(text: str) -> str:
    """Return bpftool's JSON of a program as its instructions' text, which has names, over the bytes; others as is."""
    if text.lstrip()[:1] != "[" or '"disasm"' not in text:
        return text
    import json

    try:
        return "\n".join(map(_disassembled, (row for row in json.loads(text) if "disasm" in row)))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return text


def _disassembled(row: dict[str, Any]) -> str:
    opcodes = f"\n       {_opcodes(row['opcodes']).hex(' ')}" if "opcodes" in row else ""
    return f"{row['disasm']}{opcodes}"


def _opcodes(row: dict[str, Any]) -> bytes:
    registers = int(row["src_reg"], 16) << 4 | int(row["dst_reg"], 16)
    rest = [int(byte, 16) for byte in (*row["off"], *row["imm"])]
    return bytes([int(row["code"], 16), registers, *rest])


def _uncommented(line: str) -> str:
    return line.split("#", 1)[0].split(";", 1)[0].split("//", 1)[0]


def _refuse(file: str, line: int, what: str, do: str) -> NoReturn:
    raise DecodeError(what, do, source=(file, line), rule="hex-digit")
