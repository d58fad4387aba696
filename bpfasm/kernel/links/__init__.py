"""Links: what is attached, and opening them: a module for each kind of place, with ``MODES``, its mechanisms, and
``open_link()``.

``open_link(program, where, mode)`` returns the :class:`~bpfasm.kernel.Link`; ``mode`` is one of the module's MODES or
``auto``. Why something was refused stands in modules of its own, which are imported then.
"""

#: The module that opens links to a kind of place (a class of ``bpfasm.asm.attach``), by the name of the class, or of
#: one that it is derived from.
OPENERS = {
    "Cgroup": "cgroup",
    "FlowDissector": "network.flow_dissector",
    "Iterator": "tracing.iterator",
    "Kprobe": "tracing.kprobe",
    "KprobeMulti": "tracing.kprobe_multi",
    "LsmCgroup": "lsm_cgroup",
    "Netfilter": "network.netfilter",
    "PerfEvent": "tracing.sampling",
    "RawTracepoint": "tracing.raw_tracepoint",
    "Reuseport": "network.socket",
    "SkLookup": "network.netns",
    "SocketFilter": "network.socket",
    "SockmapMsg": "network.sockmap",
    "SockmapSkb": "network.sockmap",
    "Tc": "network.tc",
    "Tcx": "network.tcx",
    "Traced": "tracing.traced",
    "Tracepoint": "tracing.tracepoint",
    "Uprobe": "tracing.uprobe",
    "UprobeMulti": "tracing.uprobe_multi",
    "Usdt": "tracing.usdt",
    "Xdp": "network.xdp",
}
