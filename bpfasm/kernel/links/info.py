"""What the kernel tells of a link: what it runs, and where."""

from __future__ import annotations

from struct import calcsize, unpack

from bpfasm.kernel.objects import ids
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf, names
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Types by number; in ``struct bpf_link_info`` each has a part of the same name.
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

#: The part that an iterator fills, by what it goes over; one over tasks' files and their kin fills that of tasks.
_ITERATED = {"bpf_map_elem": "map", "bpf_sk_storage_map": "map", "cgroup": "cgroup", "task": "task"}

#: Texts that the kernel writes where it is told to, and the fields of their room; arrays, their count, their format.
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

#: What is said of a text or left unasked, and no detail.
_NO_DETAILS = {
    *_TEXTS.values(),
    "kprobe_multi.cookies",
    "uprobe_multi.cookies",
    "uprobe_multi.ref_ctr_offsets",
    "tracing_multi.addrs",
    "tracing_multi.cookies",
}

#: Room for a text: a path is the longest.
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
    kind = kind_of_link(about["type"])
    parts = [kind]
    if about["type"] == bpf.BPF_LINK_TYPE_PERF_EVENT:
        parts.append(f"{kind}.{_EVENTS.get(about['perf_event.type'], '')}")
    told = about | _asked(fd, about, parts)
    if about["type"] == bpf.BPF_LINK_TYPE_ITER:
        target = told["iter.target_name"]
        parts.append(f"{kind}.{_ITERATED.get(target, 'task' if target.startswith('task') else '')}")
    details = {
        name.rpartition(".")[2]: value
        for name, value in told.items()
        if name.rpartition(".")[0] in parts and not isinstance(value, bytes) and name not in _NO_DETAILS
    }
    return LinkInfo(about["id"], about["type"], about["prog_id"], details)


def _asked(fd: int, about: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    """Ask for the texts and arrays of a link: the kernel writes them where it is told to."""
    texts = [name for name in _TEXTS if name.rpartition(".")[0] in parts]
    arrays = [name for name in _ARRAYS if name.rpartition(".")[0] in parts]
    given: dict[str, Any] = {}
    for name in texts:
        given |= {name: buffer(_ROOM), _TEXTS[name]: _ROOM}
    for name in arrays:
        count, format = _ARRAYS[name]
        if about[count]:
            given |= {name: buffer(calcsize(f"={about[count]}{format}")), count: about[count]}
    if not given:
        return dict.fromkeys(arrays, ())
    told = ids.info("link", fd, **given)
    return (
        told
        | {name: ids.text(given[name].raw) for name in texts}
        | {
            name: unpack(f"={about[_ARRAYS[name][0]]}{_ARRAYS[name][1]}", given[name].raw) if name in given else ()
            for name in arrays
        }
    )
