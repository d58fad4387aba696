"""Objects of the kernel as lines of text, in the order and words of bpftool."""

from __future__ import annotations

import time

from bpfasm.kernel.base.words import attach_type
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from bpfasm.kernel.btf.info import BtfInfo
    from bpfasm.kernel.links.attached import AttachedAt
    from bpfasm.kernel.links.info import LinkInfo
    from bpfasm.kernel.programs.info import ProgInfo

_PROG_TYPES = names(bpf, "bpf_prog_type")
_MAP_TYPES = names(bpf, "bpf_map_type")


def prog_type(number: int) -> str:
    """Return ``sched_cls`` of BPF_PROG_TYPE_SCHED_CLS."""
    return _PROG_TYPES.get(number, f"type {number}").removeprefix("BPF_PROG_TYPE_").lower()


def map_type(number: int) -> str:
    """Return ``percpu_hash`` of BPF_MAP_TYPE_PERCPU_HASH."""
    return _MAP_TYPES.get(number, f"type {number}").removeprefix("BPF_MAP_TYPE_").lower()


def prog_lines(info: ProgInfo, name: str, places: Sequence[AttachedAt] = ()) -> Iterator[str]:
    """Yield what is to be said of a program."""
    runs = f"  run_time_ns {info.run_time_ns}  run_cnt {info.run_cnt}" if info.run_cnt else ""
    misses = f"  recursion_misses {info.recursion_misses}" if info.recursion_misses else ""
    called = f"  name {name}" if name else ""
    yield (
        f"{info.id}: {prog_type(info.type)}{called}  tag {info.tag}{'  gpl' if info.gpl_compatible else ''}"
        f"{runs}{misses}"
    )
    if info.loaded_at:
        # The local time, as everywhere on this machine.
        loaded = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(info.loaded_at))
        yield f"\tloaded_at {loaded}  uid {info.uid}"
    jited = f"jited {info.jited_len}B" if info.jited_len else "not jited"
    maps = f"  map_ids {','.join(map(str, info.map_ids))}" if info.map_ids else ""
    yield f"\txlated {info.xlated_len}B  {jited}  memlock {info.memlock}B{maps}"
    if info.btf_id:
        yield f"\tbtf_id {info.btf_id}"
    for each in places:
        yield f"\tattached {each.where}  by {each.by}{f' {each.id}' if each.id else ''}"


def map_lines(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a map."""
    called = f"  name {facts['name']}" if facts["name"] else ""
    yield f"{facts['id']}: {map_type(facts['type'])}{called}  flags {facts['map_flags']:#x}"
    yield (
        f"\tkey {facts['key_size']}B  value {facts['value_size']}B  max_entries {facts['max_entries']}  "
        f"memlock {facts['memlock']}B"
    )
    rest = [f"btf_id {facts['btf_id']}"] * bool(facts["btf_id"]) + ["frozen"] * facts["frozen"]
    if rest:
        yield f"\t{'  '.join(rest)}"


def link_lines(info: LinkInfo) -> Iterator[str]:
    """Yield what is to be said of a link."""
    yield f"{info.id}: {info.kind}{f'  prog {info.prog_id}' if info.prog_id else ''}"
    said = [f"{name} {_detail(name, value)}" for name, value in info.details.items() if value != ()]
    if said:
        yield f"\t{'  '.join(said)}"


def _detail(name: str, value: Any) -> str:
    if name == "attach_type":
        return attach_type(value)
    if isinstance(value, tuple):
        return ",".join(f"{each:#x}" if each > 1 << 32 else str(each) for each in value)
    return f"{value:#x}" if isinstance(value, int) and value > 1 << 32 else str(value)


def btf_lines(info: BtfInfo) -> Iterator[str]:
    """Yield what is to be said of a BTF object."""
    name = f"[{info.name}]" if info.kernel and info.name else info.name or "<anon>"
    progs = f"  prog_ids {','.join(map(str, info.prog_ids))}" if info.prog_ids else ""
    maps = f"  map_ids {','.join(map(str, info.map_ids))}" if info.map_ids else ""
    yield f"{info.id}: name {name}  size {info.size}B{progs}{maps}"
