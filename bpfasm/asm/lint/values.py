"""What a register holds, as far as lint follows it, and which way a condition on it can go.

A value is a tuple, its kind first. Lint reports only what it meets on a path that some input takes; the verifier has
to go along all of those, so it meets the same. Hence numbers that an input decides are *free*, and each condition on
one leaves a range of inputs that go that way: some of them do, not always all. A computation that is not followed on
ranges is done on one number of the range. Where a condition asks about anything else, the path ends.

======================  ======================================================================================
kind                    is
======================  ======================================================================================
``unwritten``           nothing: not written on this path
``clobbered``, pc       what a call at ``pc`` left behind in R0 to R5
``num``, n              the number n, unsigned 64 bits
``free``, id            a number of which only the range is known, ``State.ranges[id]``
``fp``, off             R10 + off; off is None where it is not a constant
``ctx``                 the context, R1 at the start
``map``, spec           a map
``maybe``, id, what, r  a pointer or NULL; r is the pc of the call that has to be undone, or None
``mem``, what, r        a pointer that is not NULL
``packet``, ``end``     into the packet; its end
``released``, pc        a pointer that was given back at ``pc``
``other``               anything
======================  ======================================================================================
"""

from __future__ import annotations

from bpfasm.isa import meaning as vocabulary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    from bpfasm.isa.form import Form

    #: A kind and what belongs to it.
    Held = tuple[Any, ...]

U64 = (1 << 64) - 1

UNWRITTEN: Held = ("unwritten",)
OTHER: Held = ("other",)
CTX: Held = ("ctx",)
PACKET: Held = ("packet",)
END: Held = ("end",)

#: Kinds that nothing may read.
UNREADABLE = ("unwritten", "clobbered")


def num(value: int) -> Held:
    """Return a number as a value."""
    return ("num", value & U64)


_codes: dict[str, CodeType] = {}


def compute(form: Form, d: int, s: int, imm: int) -> int:
    """Return what an operation on constants gives, or for a condition whether it holds."""
    code = _codes.get(form.name)
    if code is None:
        code = _codes[form.name] = compile(form.meaning, form.name, "eval")
    return int(eval(code, vars(vocabulary), {"d": d, "s": s, "i": imm & U64}))


#: Ranges of unsigned numbers, both ends included; None is an empty one.
if TYPE_CHECKING:
    Range = tuple[int, int] | None


def ways(op: str, low: int, high: int, bound: int, bits: int) -> tuple[Range, Range]:
    """Return ranges within low to high where ``number op bound`` holds, and where it does not.

    Every number of a range goes that way; there may be others that do. ``op`` is a condition's name in the table:
    jeq, jgt, jset ...
    """
    if bits == 32:
        bound &= _U32
        if low > _U32:
            return None, None
        high = min(high, _U32)
    top = 1 << bits
    if op == "jset":
        bit = bound & -bound
        holds = _cut(low, high, [(bit, 2 * bit - 1)]) if bit else None
        return holds, (low, low) if not low & bound else None
    if op in ("jeq", "jne"):
        same, differ = [(bound, bound)], [(0, bound - 1), (bound + 1, top - 1)]
        pieces = (same, differ) if op == "jeq" else (differ, same)
    else:
        signed = op[1] == "s"
        kind = op.removeprefix("js").removeprefix("j")
        # A signed order is the unsigned one of numbers moved by half of all there are.
        half = top >> 1 if signed else 0
        moved = (bound + half) % top
        above = moved + 1 if kind in ("gt", "le") else moved
        upper, lower = _moved_back(above, top - 1, half, top), _moved_back(0, above - 1, half, top)
        pieces = (upper, lower) if kind in ("gt", "ge") else (lower, upper)
    return _cut(low, high, pieces[0]), _cut(low, high, pieces[1])


_U32 = (1 << 32) - 1


def _moved_back(first: int, last: int, half: int, top: int) -> list[tuple[int, int]]:
    """Return a range of moved numbers as ranges of the numbers themselves."""
    if first > last:
        return []
    if not half:
        return [(first, last)]
    below, above = (first, min(last, half - 1)), (max(first, half), last)
    return [(a + half, b + half) for a, b in (below,) if a <= b] + [
        (a - half, b - half) for a, b in (above,) if a <= b
    ]


def _cut(low: int, high: int, pieces: list[tuple[int, int]]) -> Range:
    """Return the widest part of some ranges that lies within low to high."""
    found = [(max(low, first), min(high, last)) for first, last in pieces]
    return max((each for each in found if each[0] <= each[1]), key=lambda each: each[1] - each[0], default=None)
