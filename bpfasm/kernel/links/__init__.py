"""Opening links: a module for each kind of place, with ``MODES``, its mechanisms, and ``open_link()``.

``open_link(program, where, mode)`` returns the :class:`~bpfasm.kernel.Link`; ``mode`` is one of the module's MODES or
``auto``. Why something was refused stands in modules of its own, which are imported then.
"""

#: The module that opens links to a kind of place (a class of ``bpfasm.asm.attach``), by the name of the class, or of
#: one that it is derived from.
OPENERS = {
    "Cgroup": "cgroup",
    "FlowDissector": "flow_dissector",
    "Iterator": "iterator",
    "Kprobe": "kprobe",
    "KprobeMulti": "kprobe_multi",
    "LsmCgroup": "lsm_cgroup",
    "Netfilter": "netfilter",
    "PerfEvent": "sampling",
    "RawTracepoint": "raw_tracepoint",
    "Reuseport": "socket",
    "SkLookup": "netns",
    "SocketFilter": "socket",
    "SockmapMsg": "sockmap",
    "SockmapSkb": "sockmap",
    "Tc": "tc",
    "Tcx": "tcx",
    "Traced": "tracing",
    "Tracepoint": "tracepoint",
    "Uprobe": "uprobe",
    "UprobeMulti": "uprobe_multi",
    "Usdt": "usdt",
    "Xdp": "xdp",
}
