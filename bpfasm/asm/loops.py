"""Loops of a graph, nested: by the algorithm of Havlak (1997), which names those with several entries too.

Blocks are visited depth first; a block that an edge of its own descendants leads back to is a header. From the last
header to the first, the blocks that lead to its back edges are collected and then count as one: so each edge is
looked at about once for each loop that it leaves, whatever the graph.
"""

from __future__ import annotations

from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bpfasm.asm.flow import Edge


class Loop(Value):
    """A loop: its header, and the edges that lead back there.

    ``own`` are the blocks that are in no loop within it, the header among them; ``inner`` the numbers of the loops
    within, ``outer`` that of the loop around it. ``entries`` are other blocks that it is entered by from outside:
    empty in a natural loop; with them it is irreducible, and its header is only the first that was met.
    """

    number: int
    header: int
    back: tuple[Edge, ...]
    own: frozenset[int]
    inner: tuple[int, ...]
    outer: int | None
    depth: int
    entries: tuple[int, ...]

    @property
    def irreducible(self) -> bool:
        """Whether it has several entries."""
        return bool(self.entries)


def loops_of(roots: Iterable[int], succs: Sequence[Sequence[Edge]]) -> tuple[Loop, ...]:
    """Return the loops of all that can be reached from some blocks, an outer one before those within it."""
    order, last = _walk(roots, succs)
    number = {block: place for place, block in enumerate(order)}
    preds: list[list[int]] = [[] for _ in order]
    back: dict[int, list[Edge]] = {}
    for place, block in enumerate(order):
        for edge in succs[block]:
            to = number[edge.target]
            preds[to].append(place)
            if to <= place <= last[to]:
                back.setdefault(to, []).append(edge)
    header, entries = _headers(order, last, preds, back)
    return _nested(order, back, header, entries)


def _walk(roots: Iterable[int], succs: Sequence[Sequence[Edge]]) -> tuple[list[int], list[int]]:
    """Return blocks in the order they are first met, and of each the place of its last descendant."""
    order: list[int] = []
    last: list[int] = []
    seen: set[int] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        order.append(root)
        last.append(0)
        stack = [(len(order) - 1, iter(succs[root]))]
        while stack:
            place, edges = stack[-1]
            for edge in edges:
                if edge.target not in seen:
                    seen.add(edge.target)
                    order.append(edge.target)
                    last.append(0)
                    stack.append((len(order) - 1, iter(succs[edge.target])))
                    break
            else:
                last[place] = len(order) - 1
                stack.pop()
    return order, last


#: How often an edge into a loop with several entries is passed outwards, per block, before the rest is let go.
_PATIENCE = 8


def _headers(
    order: list[int], last: list[int], preds: list[list[int]], back: dict[int, list[Edge]]
) -> tuple[list[int], dict[int, set[int]]]:
    """Return the innermost header of each place (-1 for none), and the further entries of each header."""
    leader = list(range(len(order)))

    def find(place: int) -> int:
        top = place
        while leader[top] != top:
            top = leader[top]
        while leader[place] != top:
            leader[place], place = top, leader[place]
        return top

    header = [-1] * len(order)
    entries: dict[int, set[int]] = {}
    # What leads to a place from outside of the loops that were found within it.
    incoming: dict[int, set[int]] = {}
    passed = 0
    for w in range(len(order) - 1, -1, -1):
        if w not in back:
            continue
        number = {find(p) for p in preds[w] if w <= p <= last[w]} - {w}
        body, todo = set(number), list(number)
        while todo:
            x = todo.pop()
            for y in (*preds[x], *incoming.get(x, ())):
                top = find(y)
                if w <= top <= last[w]:
                    if top not in body and top != w:
                        body.add(top)
                        todo.append(top)
                elif passed < _PATIENCE * len(order):
                    passed += 1
                    incoming.setdefault(w, set()).add(top)
                    entries.setdefault(w, set()).add(x)
        for x in body:
            header[x] = w
            leader[x] = w
    return header, entries


def _nested(
    order: list[int], back: dict[int, list[Edge]], header: list[int], entries: dict[int, set[int]]
) -> tuple[Loop, ...]:
    """Return the loops, in the order of their headers."""
    heads = sorted(back)
    loop_at = {place: loop for loop, place in enumerate(heads)}
    own: list[list[int]] = [[] for _ in heads]
    inner: list[list[int]] = [[] for _ in heads]
    outer: list[int | None] = []
    depth: list[int] = []
    for place, block in enumerate(order):
        around = loop_at[header[place]] if header[place] >= 0 else None
        if place in loop_at:
            own[loop_at[place]].append(block)
            outer.append(around)
            depth.append(1 if around is None else depth[around] + 1)
            if around is not None:
                inner[around].append(loop_at[place])
        elif around is not None:
            own[around].append(block)
    return tuple(
        Loop(
            loop,
            order[place],
            tuple(back[place]),
            frozenset(own[loop]),
            tuple(inner[loop]),
            outer[loop],
            depth[loop],
            tuple(sorted(order[x] for x in entries.get(place, ()))),
        )
        for loop, place in enumerate(heads)
    )
