"""What a map holds, as lines of text: decoded where the map has types, else bytes as bpftool prints them."""

from __future__ import annotations

import json

from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.kernel.maps.dump import Element, MapContent

#: Longer keys and values start on a line of their own.
_SHORT = 16
_ONE_LINE = 24

_OF_MAPS = (bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, bpf.BPF_MAP_TYPE_HASH_OF_MAPS)


def map_lines(content: MapContent) -> Iterator[str]:
    """Yield the elements of a map, and how many there were."""
    found = 0
    for element in content:
        yield from _typed(content, element) if content.typed else _bytes(content, element)
        found += not element.problem
    yield f"Found {found} element{'' if found == 1 else 's'}"


def _typed(content: MapContent, element: Element) -> Iterator[str]:
    key = content.key(element.key)
    # A part that has no type stays bytes.
    said = hexes(element.key) if key is None else json.dumps(key)
    values = [content.value(each) for each in element.values]
    told = [
        hexes(each) if value is None else json.dumps(value)
        for each, value in zip(element.values, values, strict=True)
    ]
    if element.problem:
        yield f"key: {said}  value: <{element.problem}>"
    elif content.per_cpu:
        yield f"key: {said}"
        yield from (f"value (CPU {cpu:02d}): {value}" for cpu, value in enumerate(told))
    else:
        yield f"key: {said}  value: {told[0]}"


def _bytes(content: MapContent, element: Element) -> Iterator[str]:
    key_size, value_size = content.info["key_size"], content.info["value_size"]
    if content.per_cpu:
        yield "key:"
        yield hexes(element.key)
        for cpu, each in enumerate(element.values):
            yield f"value (CPU {cpu:02d}):{_after(value_size)}{hexes(each)}"
        return
    long = max(key_size, value_size) > _SHORT
    separator = "  " if key_size + value_size <= _ONE_LINE and not long else "\n"
    after = "\n" if long else " "
    word = "inner_map_id" if content.info["type"] in _OF_MAPS else "value"
    value = f"<{element.problem}>" if element.problem else hexes(element.values[0])
    yield from f"key:{after}{hexes(element.key)}{separator}{word}:{after}{value}".split("\n")


def _after(size: int) -> str:
    return "\n" if size > _SHORT else " "


def hexes(data: bytes) -> str:
    """Return bytes as hex digits, 16 a line in two groups."""
    rows = (data[at : at + _SHORT] for at in range(0, len(data), _SHORT))
    return "\n".join("  ".join(part for part in (row[:8].hex(" "), row[8:].hex(" ")) if part) for row in rows)
