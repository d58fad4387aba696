"""The arguments of marks (USDT), as the assembler wrote them: ``-4@%edi 8@16(%rsp) 4@$5`` or ``8@x0 4@[sp, 12]``."""

from __future__ import annotations

from bpfasm.value import Value

#: x86-64's names of the parts of a register, by the register: al, ax, eax, rax are one.
_X86 = {
    **{part: f"r{a}x" for a in "abcd" for part in (f"r{a}x", f"e{a}x", f"{a}x", f"{a}l")},
    **{part: f"r{base}" for base in ("si", "di", "bp", "sp") for part in (f"r{base}", f"e{base}", base, f"{base}l")},
    **{f"r{number}{part}": f"r{number}" for number in range(8, 16) for part in ("", "d", "w", "b")},
    "rip": "rip",
}
_ARM64 = {
    **{f"{part}{number}": f"regs[{number}]" for number in range(31) for part in ("x", "w")},
    "sp": "sp",
}


class UsdtArg(Value):
    """An argument: ``size`` bytes, signed or not, and where they are.

    That is the number ``value``, where ``register`` is empty; a register; or, with ``memory``, what is in memory at
    ``register + index * scale + value``. Registers have the names of ``bpf_user_pt_regs_t``. ``text`` is how it
    was written; where ``known`` is false it could not be read.
    """

    text: str
    size: int
    signed: bool
    register: str = ""
    value: int = 0
    memory: bool = False
    index: str = ""
    scale: int = 1
    known: bool = True


def parse_args(text: str) -> tuple[UsdtArg, ...]:
    """Return the arguments that a note describes; what cannot be read is there as not known."""
    return tuple(map(_argument, _split(text)))


def _split(text: str) -> list[str]:
    """Split at spaces, but not at those in brackets: ``4@[sp, 12]``."""
    found: list[str] = []
    depth = 0
    for word in text.split():
        if depth and found:
            found[-1] += f" {word}"
        else:
            found.append(word)
        depth += word.count("[") + word.count("(") - word.count("]") - word.count(")")
    return found


def _argument(text: str) -> UsdtArg:
    width, at, operand = text.partition("@")
    size = _number(width)
    if at and size is not None and abs(size) in (1, 2, 4, 8):
        found = _operand(operand)
        if found is not None:
            return UsdtArg(text, abs(size), size < 0, *found)
    return UsdtArg(text, 8, False, known=False)


def _operand(operand: str) -> tuple[str, int, bool, str, int] | None:
    """Return register, value, whether it is in memory, index and scale; None for what is none of these."""
    if operand.startswith("["):
        base, *rest = (part.strip() for part in operand.strip("[]").split(","))
        offset = _number(rest[0].lstrip("#")) if rest else 0
        return (
            (_ARM64[base], offset, True, "", 1) if base in _ARM64 and offset is not None and len(rest) < 2 else None
        )
    if operand.endswith(")"):
        front, _, inner = operand[:-1].partition("(")
        base, *rest = (part.strip().lstrip("%") for part in inner.split(","))
        index = rest[0] if rest else ""
        offset = _number(front or "0")
        scale = _number(rest[1]) if len(rest) > 1 else 1
        if offset is None or base not in _X86 or (index and index not in _X86) or scale not in (1, 2, 4, 8):
            return None
        return _X86[base], offset, True, _X86.get(index, ""), scale
    plain = operand.lstrip("%")
    if plain in _X86:
        return _X86[plain], 0, False, "", 1
    if plain in _ARM64:
        return _ARM64[plain], 0, False, "", 1
    number = _number(operand.lstrip("$#"))
    return None if number is None else ("", number, False, "", 1)


def _number(text: str) -> int | None:
    digits = text.strip().removeprefix("-")
    if not digits.isascii() or not digits.isalnum() or len(digits) > 24:
        return None
    try:
        return int(text.strip(), 0)
    except ValueError:
        return None
