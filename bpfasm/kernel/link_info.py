"""What the kernel tells of a link: what it runs, and where."""

from __future__ import annotations

from struct import unpack

from bpfasm.kernel import ids
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf, names
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The name that a type of link has in ``struct bpf_link_info``.
_TYPES = names(bpf, "bpf_link_type")

#: The part of the struct that each type of perf event fills.
_EVENTS = {
    bpf.BPF_PERF_EVENT_UPROBE: "uprobe",
    bpf.BPF_PERF_EVENT_URETPROBE: "uprobe",
    bpf.BPF_PERF_EVENT_KPROBE: "kprobe",
    bpf.BPF_PERF_EVENT_KRETPROBE: "kprobe",
    bpf.BPF_PERF_EVENT_TRACEPOINT: "tracepoint",
    bpf.BPF_PERF_EVENT_EVENT: "event",
}

#: The part that an iterator fills, by what it goes over.
_ITERATED = {"bpf_map_elem": "map", "bpf_sk_storage_map": "map", "cgroup": "cgroup", "task": "task"}

#: Names that the kernel writes where it is told to, and the fields of their room; arrays, their count, their format.
_TEXTS = {
    "raw_tracepoint.tp_name": "raw_tracepoint.tp_name_len",
    "iter.target_name": "iter.target_name_len",
    "uprobe_multi.path": "uprobe_multi.path_size",
    "perf_event.uprobe.file_name": "perf_event.uprobe.name_len",
    "perf_event.kprobe.func_name": "perf_event.kprobe.name_len",
    "perf_event.tracepoint.tp_name": "perf_event.tracepoint.name_len",
}
_ARRAYS = {
    "kprobe_multi.addrs": ("kprobe_multi.count", "Q"),
    "uprobe_multi.offsets": ("uprobe_multi.count", "Q"),
    "tracing_multi.ids": ("tracing_multi.count", "I"),
}

#: Room for a name: a path is the longest.
_ROOM = 4096


class LinkInfo(Value):
    """A link: its ``id``, its ``type`` (BPF_LINK_TYPE_*), the program, and ``details`` by the names of the uapi.

    Of ``struct bpf_link_info`` the details are the fields of the type's own part, names as text, arrays as tuples.
    """

    id: int
    type: int
    prog_id: int
    details: dict[str, Any]

    @property
    def kind(self) -> str:
        """What its type is called: ``raw_tracepoint``, ``xdp`` ..."""
        return kind_of_link(self.type)


def kind_of_link(type: int) -> str:
    """Return what a type of link is called."""
    return _TYPES.get(type, f"type_{type}").removeprefix("BPF_LINK_TYPE_").lower()


def link_info(fd: int) -> LinkInfo:
    """Return what the kernel tells of a link. Raises KernelError."""
    about = ids.info("link", fd)
    prefix = f"{kind_of_link(about['type'])}."
    if about["type"] == bpf.BPF_LINK_TYPE_PERF_EVENT:
        own = _EVENTS.get(about["perf_event.type"], "")
        fields = _fields(about, f"{prefix}{own}.") | _fields(about, prefix, "type")
    else:
        fields = _fields(about, prefix)
    given: dict[str, Any] = {}
    for name in fields:
        if name in _TEXTS:
            given |= {name: buffer(_ROOM), _TEXTS[name]: _ROOM}
        elif name in _ARRAYS and about[_ARRAYS[name][0]]:
            count, format = _ARRAYS[name]
            given |= {name: buffer(about[count] * (8 if format == "Q" else 4)), count: about[count]}
    if given:
        told = ids.info("link", fd, **given)
        fields = {name: told[name] for name in fields}
        for name in given.keys() & fields.keys():
            if name in _TEXTS:
                fields[name] = ids.text(given[name].raw)
            elif name in _ARRAYS:
                room, format = given[name].raw, _ARRAYS[name][1]
                fields[name] = unpack(f"={len(room) // (8 if format == 'Q' else 4)}{format}", room)
    return LinkInfo(about["id"], about["type"], about["prog_id"], _tidy(fields, prefix))


def _fields(about: dict[str, Any], prefix: str, *only: str) -> dict[str, Any]:
    """Return the numbers below a prefix; what is deeper only for an iterator, which has a part of its own."""
    found = {}
    for name, value in about.items():
        rest = name.removeprefix(prefix)
        deep = "." in rest and not prefix.startswith("iter.")
        if name.startswith(prefix) and not isinstance(value, bytes) and not deep and (not only or rest in only):
            found[name] = value
    return found


def _tidy(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return fields by their own names, without the lengths of texts and what another part of an iterator says."""
    lengths = set(_TEXTS.values())
    part = _ITERATED.get(fields.get("iter.target_name", ""), "")
    if prefix == "iter." and not part and str(fields.get("iter.target_name", "")).startswith("task"):
        part = "task"
    kept = {}
    for name, value in fields.items():
        rest = name.removeprefix(prefix)
        if prefix == "iter." and "." in rest and rest.partition(".")[0] != part:
            continue
        if name not in lengths and not (name not in _ARRAYS and value == 0 and rest.endswith(_POINTERS)):
            kept[rest.rpartition(".")[2]] = value
    return kept


#: Further pointers of the struct, which nothing is asked of.
_POINTERS = ("cookies", "ref_ctr_offsets", "addrs")
