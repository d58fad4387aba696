"""Boxes and arrows in layers, from top to bottom: where each box of a graph goes, and along which points its edges.

The usual steps (Sugiyama, 1981): edges that lead back are set aside; each box is one layer below the lowest that
leads to it; edges over several layers get a place in each; boxes of a layer are ordered by where their neighbours
are, and moved towards them. Edges that lead back run on the right, each in a lane of its own.
"""

from __future__ import annotations

from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Point = tuple[float, float]

#: Between boxes of a layer, between layers, and between lanes.
GAP, DROP, LANE = 28.0, 44.0, 14.0

#: How often the order of boxes and their places are bettered.
_ROUNDS = 8


class Layout:
    """A graph laid out: ``boxes`` are (x, y) of the upper left corners, ``paths`` the points of each edge."""

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> None:
        self.sizes = list(sizes)
        self.edges = edges
        self.count = len(sizes)
        order = _order(self.count, edges)
        place = {box: at for at, box in enumerate(order)}
        self.back = {number for number, (a, b) in enumerate(edges) if place[b] <= place[a]}
        self.layer = [0] * self.count
        self._chains(order)
        self._arrange()
        self._coordinates()
        self._lane = {number: lane for lane, number in enumerate(sorted(self.back), 1)}
        self._ports = [self._shares(0), self._shares(1)]
        self.paths = [self._path(number) for number in range(len(edges))]

    def _chains(self, order: list[int]) -> None:
        """Put boxes into layers, and points where a longer edge passes through the layers between."""
        below: list[list[int]] = [[] for _ in range(self.count)]
        for number, (a, b) in enumerate(self.edges):
            if number not in self.back:
                below[a].append(b)
        for box in order:
            for other in below[box]:
                self.layer[other] = max(self.layer[other], self.layer[box] + 1)
        self.chain: dict[int, list[int]] = {}
        for number, (a, b) in enumerate(self.edges):
            if number in self.back:
                continue
            chain = [a]
            for layer in range(self.layer[a] + 1, self.layer[b]):
                chain.append(len(self.sizes))
                self.sizes.append((2.0, 0.0))
                self.layer.append(layer)
            self.chain[number] = [*chain, b]
        self.up: list[list[int]] = [[] for _ in self.sizes]
        self.down: list[list[int]] = [[] for _ in self.sizes]
        for chain in self.chain.values():
            for a, b in pairwise(chain):
                self.down[a].append(b)
                self.up[b].append(a)
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for box in [*order, *range(self.count, len(self.sizes))]:
            self.layers[self.layer[box]].append(box)

    def _arrange(self) -> None:
        """Order the boxes of each layer by the middle of their neighbours."""
        for turn in range(_ROUNDS):
            downwards = turn % 2 == 0
            near = self.up if downwards else self.down
            at = {box: float(spot) for layer in self.layers for spot, box in enumerate(layer)}
            for layer in self.layers if downwards else reversed(self.layers):
                wanted = {box: _mean((at[other] for other in near[box]), at[box]) for box in layer}
                layer.sort(key=wanted.__getitem__)
                at.update((box, float(spot)) for spot, box in enumerate(layer))

    def _coordinates(self) -> None:
        """Place each layer's boxes beside each other, as near to their neighbours as they fit."""
        widths = [width for width, _ in self.sizes]
        x = [0.0] * len(self.sizes)
        for layer in self.layers:
            left = 0.0
            for box in layer:
                x[box] = left
                left += widths[box] + GAP
        for turn in range(2 * _ROUNDS):
            near = self.up if turn % 2 == 0 else self.down
            for layer in self.layers if turn % 2 == 0 else reversed(self.layers):
                middle = [_mean((x[o] + widths[o] / 2 for o in near[box]), x[box] + widths[box] / 2) for box in layer]
                wanted = [at - widths[box] / 2 for at, box in zip(middle, layer, strict=True)]
                for box, at in zip(layer, _fit(wanted, [widths[box] + GAP for box in layer]), strict=True):
                    x[box] = at
        least = min(x, default=0.0)
        self.x = [each - least for each in x]
        self.right = max((at + width for at, width in zip(self.x, widths, strict=True)), default=0.0)
        self.top: list[float] = []
        y = 0.0
        for layer in self.layers:
            self.top.append(y)
            y += max(self.sizes[box][1] for box in layer) + DROP
        self.height = max(y - DROP, 0.0)
        self.width = self.right + LANE * (len(self.back) + 1) if self.back else self.right
        self.boxes = [(self.x[box], self.top[self.layer[box]]) for box in range(self.count)]

    def _path(self, number: int) -> list[Point]:
        """Return the points of an edge, from the bottom of one box to the top of another."""
        a, b = self.edges[number]
        start, end = self._port(a, number, 0), self._port(b, number, 1)
        if number in self.back:
            lane = self.right + LANE * self._lane[number]
            low, high = start[1] + DROP / 3, end[1] - DROP / 3
            return [start, (start[0], low), (lane, low), (lane, high), (end[0], high), end]
        points = [start]
        for point in self.chain[number][1:-1]:
            layer = self.layer[point]
            height = max(self.sizes[box][1] for box in self.layers[layer])
            points += [(self.x[point], self.top[layer]), (self.x[point], self.top[layer] + height)]
        return [*points, end]

    def _port(self, box: int, number: int, end: int) -> Point:
        """Return where an edge leaves or enters a box: edges share its width, from left to right."""
        width, height = self.sizes[box]
        x = self.x[box] + width * self._ports[end][number]
        return x, self.top[self.layer[box]] + (0 if end else height)

    def _shares(self, end: int) -> dict[int, float]:
        """Return where on the width of its box each edge leaves (0) or enters (1), from 0 to 1."""
        mine: dict[int, list[int]] = {}
        for number, edge in enumerate(self.edges):
            mine.setdefault(edge[end], []).append(number)
        shares: dict[int, float] = {}
        for edges in mine.values():
            # Those that lead back go to the right; the others as their other ends lie.
            edges.sort(key=lambda each: (each in self.back, self._side(each, end)))
            shares |= {number: (spot + 1) / (len(edges) + 1) for spot, number in enumerate(edges)}
        return shares

    def _side(self, number: int, end: int) -> float:
        if number in self.back:
            return float(number)
        next_one = self.chain[number][1] if end == 0 else self.chain[number][-2]
        return self.x[next_one] + self.sizes[next_one][0] / 2


def _order(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the boxes so that as few edges as depth first search finds lead back."""
    down: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        down[a].append(b)
    seen = [False] * count
    finished: list[int] = []
    for root in range(count):
        if seen[root]:
            continue
        seen[root] = True
        stack = [(root, iter(down[root]))]
        while stack:
            box, rest = stack[-1]
            for other in rest:
                if not seen[other]:
                    seen[other] = True
                    stack.append((other, iter(down[other])))
                    break
            else:
                finished.append(box)
                stack.pop()
    return finished[::-1]


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else otherwise


def _fit(wanted: list[float], widths: list[float]) -> list[float]:
    """Return places near to what is wanted, in this order, each the width of the one before to its right."""
    # Groups that touch: what their first members want, added up; the place of the first; how many.
    placed: list[tuple[float, float, int]] = []
    offset, offsets = 0.0, []
    for width in widths:
        offsets.append(offset)
        offset += width
    for at, moved in zip(wanted, offsets, strict=True):
        total, count = at - moved, 1
        place = total
        while placed and placed[-1][1] >= place:
            before, _, many = placed.pop()
            total, count = total + before, count + many
            place = total / count
        placed.append((total, place, count))
    places = [place for _, place, count in placed for _ in range(count)]
    return [place + moved for place, moved in zip(places, offsets, strict=True)]
