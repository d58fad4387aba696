"""The JSON documents of the verbs that show objects of the kernel; bpftool's words where it has the fact too."""

from __future__ import annotations

from bpfasm.kernel.base.words import attach_type
from bpfasm.views.objects import map_type, prog_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bpfasm.kernel.btf.info import BtfInfo
    from bpfasm.kernel.links.attached import AttachedAt
    from bpfasm.kernel.links.info import LinkInfo
    from bpfasm.kernel.maps.dump import Element, MapContent
    from bpfasm.kernel.programs.info import ProgInfo

#: Numbers above this are not exact in every reader of JSON.
_EXACT = 1 << 53


def safe(value: Any) -> Any:
    """Return a value with the numbers that not every reader takes as text in hex."""
    if isinstance(value, dict):
        return {name: safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [safe(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return f"{value:#x}"
    return value


def progs(found: Iterable[tuple[ProgInfo, str, Sequence[AttachedAt]]]) -> dict[str, Any]:
    """Return programs, each with its full name, and where it is attached."""
    return {"schema": "bpfasm/prog-list/1", "programs": [_prog(*each) for each in found]}


def _prog(info: ProgInfo, name: str, places: Sequence[AttachedAt]) -> dict[str, Any]:
    return {
        "id": info.id,
        "type": prog_type(info.type),
        "name": name,
        "tag": info.tag,
        "gpl_compatible": info.gpl_compatible,
        "loaded_at": int(info.loaded_at),
        "uid": info.uid,
        "bytes_xlated": info.xlated_len,
        "jited": bool(info.jited_len),
        "bytes_jited": info.jited_len,
        "bytes_memlock": info.memlock,
        "map_ids": list(info.map_ids),
        "btf_id": info.btf_id,
        "ifindex": info.ifindex,
        "attach_btf_obj_id": info.attach_btf_obj_id,
        "attach_btf_id": info.attach_btf_id,
        "verified_insns": info.verified_insns,
        "run_time_ns": safe(info.run_time_ns),
        "run_cnt": safe(info.run_cnt),
        "recursion_misses": safe(info.recursion_misses),
        "functions": [{"pc": pc, "name": name} for pc, name in info.functions],
        "attached": [{"by": each.by, "where": each.where, "link_id": each.id or None} for each in places],
    }


def maps(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return maps."""
    return {"schema": "bpfasm/map-list/1", "maps": [_map(facts) for facts in found]}


def _map(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": facts["id"],
        "type": map_type(facts["type"]),
        "name": facts["name"],
        "flags": facts["map_flags"],
        "bytes_key": facts["key_size"],
        "bytes_value": facts["value_size"],
        "max_entries": facts["max_entries"],
        "bytes_memlock": facts["memlock"],
        "frozen": facts["frozen"],
        "btf_id": facts["btf_id"],
        "map_extra": safe(facts["map_extra"]),
        "ifindex": facts["ifindex"],
    }


def links(found: Iterable[LinkInfo]) -> dict[str, Any]:
    """Return links, each with the details of its type."""
    return {
        "schema": "bpfasm/link-list/1",
        "links": [
            {
                "id": info.id,
                "type": info.kind,
                "prog_id": info.prog_id,
                "details": {
                    name: attach_type(value) if name == "attach_type" else safe(value)
                    for name, value in info.details.items()
                },
            }
            for info in found
        ],
    }


def btfs(found: Iterable[BtfInfo]) -> dict[str, Any]:
    """Return BTF objects."""
    return {
        "schema": "bpfasm/btf-list/1",
        "btfs": [
            {
                "id": info.id,
                "name": info.name,
                "size": info.size,
                "kernel": info.kernel,
                "prog_ids": list(info.prog_ids),
                "map_ids": list(info.map_ids),
            }
            for info in found
        ],
    }


def map_dump(content: MapContent) -> dict[str, Any]:
    """Return what a map holds: bytes as hex digits, and what they are where the map has types."""
    return {
        "schema": "bpfasm/map-dump/1",
        "id": content.info["id"],
        "name": content.name,
        "type": map_type(content.info["type"]),
        "typed": content.typed,
        "elements": [_element(content, element) for element in content],
    }


def _element(content: MapContent, element: Element) -> dict[str, Any]:
    values = [
        {"value_hex": each.hex(), **({"value": safe(content.value(each))} if content.typed else {})}
        for each in element.values
    ]
    if content.per_cpu:
        values = [{"cpu": cpu, **value} for cpu, value in enumerate(values)]
    return {
        "key_hex": element.key.hex(),
        **({"key": safe(content.key(element.key))} if content.typed else {}),
        "values": values,
        **({"problem": element.problem} if element.problem else {}),
    }
