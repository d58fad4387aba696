"""Two programs beside each other, as lines and as a JSON document."""

from __future__ import annotations

from bpfasm.asm.flow import flow
from bpfasm.asm.linker import assemble
from bpfasm.views import cfg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from bpfasm.asm.align import Pair
    from bpfasm.asm.program import Program

#: How many equal instructions are shown around those that differ.
_AROUND = 3


def lines(first: Program, second: Program, pairs: Sequence[Pair], *, everything: bool = False) -> Iterator[str]:
    """Yield a line for each instruction that differs, two for one that changed, with some of what is around."""
    a, b = _texts(first), _texts(second)
    shown = [everything] * len(pairs)
    for number, pair in enumerate(pairs):
        if pair.kind != "same":
            around = range(max(number - _AROUND, 0), min(number + _AROUND + 1, len(pairs)))
            shown[around.start : around.stop] = [True] * len(around)
    left_out = 0
    for pair, show in zip(pairs, shown, strict=True):
        if not show:
            left_out += 1
            continue
        if left_out:
            yield f"  ... {left_out} the same"
            left_out = 0
        if pair.kind == "same" and pair.a is not None:
            yield f"  {pair.a:>5} {pair.b:>5}: {a[pair.a]}"
        if pair.kind in ("changed", "removed") and pair.a is not None:
            yield f"- {pair.a:>5} {'':5}: {a[pair.a]}"
        if pair.kind in ("changed", "added") and pair.b is not None:
            yield f"+ {'':5} {pair.b:>5}: {b[pair.b]}"
    if left_out and left_out < len(pairs):
        yield f"  ... {left_out} the same"


def document(first: Program, second: Program, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return what ``diff --json`` prints."""
    a, b = _texts(first), _texts(second)
    rows = [{"kind": pair.kind, "a": _side(pair.a, a), "b": _side(pair.b, b)} for pair in pairs]
    return {"schema": "bpfasm/diff/1", "same": all(pair.kind == "same" for pair in pairs), "rows": rows}


def _side(pc: int | None, texts: dict[int, str]) -> dict[str, Any] | None:
    return None if pc is None else {"pc": pc, "text": texts[pc]}


def _texts(program: Program) -> dict[int, str]:
    """Return each instruction's text by its pc; jumps name the block that they lead to."""
    assembled = assemble(program)
    return {row.pc: row.text for rows in cfg.drawing(assembled, flow(assembled)).rows for row in rows}
