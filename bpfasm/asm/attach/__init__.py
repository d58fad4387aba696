"""Where a program is to be attached, as a value; ``bpfasm.kernel`` does the attaching.

A kind of place is a class here and a module of ``bpfasm.kernel.links`` that opens links to it.
"""

from bpfasm.asm.attach.cgroup import cgroup as cgroup
from bpfasm.asm.attach.device import tc as tc, tcx as tcx, xdp as xdp
from bpfasm.asm.attach.iterator import iterator as iterator
from bpfasm.asm.attach.kprobe import (
    Kprobe as Kprobe,
    kprobe as kprobe,
    kprobe_multi as kprobe_multi,
    kretprobe as kretprobe,
)
from bpfasm.asm.attach.netfilter import netfilter as netfilter
from bpfasm.asm.attach.place import Place as Place
from bpfasm.asm.attach.sampling import perf_event as perf_event
from bpfasm.asm.attach.sockets import (
    flow_dissector as flow_dissector,
    reuseport as reuseport,
    sk_lookup as sk_lookup,
    socket_filter as socket_filter,
    sockmap as sockmap,
)
from bpfasm.asm.attach.tracepoint import (
    RawTracepoint as RawTracepoint,
    Tracepoint as Tracepoint,
    raw_tracepoint as raw_tracepoint,
    tracepoint as tracepoint,
)
from bpfasm.asm.attach.tracing import (
    fentry as fentry,
    fexit as fexit,
    fmod_ret as fmod_ret,
    freplace as freplace,
    fsession as fsession,
    lsm as lsm,
    lsm_cgroup as lsm_cgroup,
    tp_btf as tp_btf,
)
from bpfasm.asm.attach.uprobe import (
    uprobe as uprobe,
    uprobe_multi as uprobe_multi,
    uretprobe as uretprobe,
    usdt as usdt,
)

#: What a file of programs gets of it.
__all__ = [
    "Kprobe", "Place", "RawTracepoint", "Tracepoint", "cgroup", "fentry", "fexit", "flow_dissector", "fmod_ret",
    "freplace", "fsession", "iterator", "kprobe", "kprobe_multi", "kretprobe", "lsm", "lsm_cgroup", "netfilter",
    "perf_event", "raw_tracepoint", "reuseport", "sk_lookup", "socket_filter", "sockmap", "tc", "tcx", "tp_btf",
    "tracepoint", "uprobe", "uprobe_multi", "uretprobe", "usdt", "xdp",
]  # fmt: skip
