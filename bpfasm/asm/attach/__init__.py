"""Where a program is to be attached, as a value; ``bpfasm.kernel`` does the attaching.

A kind of place is a class here and a module of ``bpfasm.kernel.links`` that opens links to it.
"""

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
    "Kprobe", "Place", "RawTracepoint", "Tracepoint", "fentry", "fexit", "fmod_ret", "freplace", "fsession",
    "iterator", "kprobe", "kprobe_multi", "kretprobe", "lsm", "lsm_cgroup", "netfilter", "perf_event",
    "raw_tracepoint",
    "tp_btf", "tracepoint", "uprobe", "uprobe_multi", "uretprobe", "usdt",
]  # fmt: skip
