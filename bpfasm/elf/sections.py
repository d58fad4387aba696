"""The names of an object's sections: what a program's section says of its type and of what it is attached to.

One table for reading and writing. The names are libbpf's (Documentation/bpf/libbpf/program_types.rst), which bpftool
and cilium/ebpf go by as well. A name is a row's, and where the row has a ``target``, that after a "/":
``kprobe/vfs_read``.
"""

from __future__ import annotations

from bpfasm.uapi import bpf as u
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What stands behind the "/": a kernel function (``+offset`` of a kprobe), a system call, functions by a pattern, a
#: function of a file (``PATH:FUNCTION``), a probe of a file (``PATH:PROVIDER:NAME``), a tracepoint with its group,
#: one without, and what a program is loaded for in the kernel's types.
FUNCTION, SYSCALL, PATTERN, USER, USDT = "function", "syscall", "pattern", "user", "usdt"
TRACEPOINT, RAW_TRACEPOINT, BTF = "tracepoint", "raw tracepoint", "btf"

#: Where variables are that are structs of functions. What is in the second is registered by a link.
STRUCTS = (".struct_ops", ".struct_ops.link")


class SectionName(Value):
    """What programs of a section are: their type, what BPF_PROG_LOAD is told of it, and what follows the name.

    ``optional`` says that a kernel which does not know attach types takes the program, too. ``returns`` are probes
    where a function returns.
    """

    name: str
    type: int
    attach_type: int = 0
    flags: int = 0
    target: str = ""
    optional: bool = False
    returns: bool = False


def _row(name: str, type: int, attach_type: int = 0, target: str = "", flags: int = 0, **more: Any) -> SectionName:
    return SectionName(name, type, attach_type, flags, target, **more)


def _same(names: str, type: int, attach_type: int = 0, target: str = "", **more: Any) -> tuple[SectionName, ...]:
    """Return rows that differ by their name only; the first is the one to write."""
    return tuple(_row(name, type, attach_type, target, **more) for name in names.split())


def _sleepable(name: str, type: int, attach_type: int, target: str, **more: Any) -> tuple[SectionName, ...]:
    """Return the rows of programs that may sleep, or do not."""
    return (
        _row(name, type, attach_type, target, **more),
        _row(f"{name}.s", type, attach_type, target, u.BPF_F_SLEEPABLE, **more),
    )


_K, _RAW, _WRITABLE = u.BPF_PROG_TYPE_KPROBE, u.BPF_PROG_TYPE_RAW_TRACEPOINT, u.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE
_TRACING, _LSM, _XDP, _CLS = (
    u.BPF_PROG_TYPE_TRACING,
    u.BPF_PROG_TYPE_LSM,
    u.BPF_PROG_TYPE_XDP,
    u.BPF_PROG_TYPE_SCHED_CLS,
)
_SOCK, _ADDR, _SOCKOPT = u.BPF_PROG_TYPE_CGROUP_SOCK, u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, u.BPF_PROG_TYPE_CGROUP_SOCKOPT
_SKB = u.BPF_PROG_TYPE_CGROUP_SKB

#: Of rows with one type, attach type and flags the first is what is written; all are read.
ROWS: tuple[SectionName, ...] = (
    _row("socket", u.BPF_PROG_TYPE_SOCKET_FILTER),
    _row("sk_reuseport/migrate", u.BPF_PROG_TYPE_SK_REUSEPORT, u.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE),
    _row("sk_reuseport", u.BPF_PROG_TYPE_SK_REUSEPORT, u.BPF_SK_REUSEPORT_SELECT, optional=True),
    # Probes of kernel functions.
    _row("kprobe", _K, 0, FUNCTION),
    _row("kretprobe", _K, 0, FUNCTION, returns=True),
    _row("ksyscall", _K, 0, SYSCALL),
    _row("kretsyscall", _K, 0, SYSCALL, returns=True),
    _row("kprobe.multi", _K, u.BPF_TRACE_KPROBE_MULTI, PATTERN),
    _row("kretprobe.multi", _K, u.BPF_TRACE_KPROBE_MULTI, PATTERN, returns=True),
    _row("kprobe.session", _K, u.BPF_TRACE_KPROBE_SESSION, PATTERN),
    # Probes of user space.
    *_sleepable("uprobe", _K, 0, USER),
    *_sleepable("uretprobe", _K, 0, USER, returns=True),
    *_sleepable("uprobe.multi", _K, u.BPF_TRACE_UPROBE_MULTI, USER),
    *_sleepable("uretprobe.multi", _K, u.BPF_TRACE_UPROBE_MULTI, USER, returns=True),
    *_sleepable("uprobe.session", _K, u.BPF_TRACE_UPROBE_SESSION, USER),
    *_sleepable("usdt", _K, 0, USDT),
    # Tracepoints.
    *_sleepable("tracepoint", u.BPF_PROG_TYPE_TRACEPOINT, 0, TRACEPOINT),
    *_sleepable("tp", u.BPF_PROG_TYPE_TRACEPOINT, 0, TRACEPOINT),
    *_sleepable("raw_tp", _RAW, 0, RAW_TRACEPOINT),
    *_sleepable("raw_tracepoint", _RAW, 0, RAW_TRACEPOINT),
    *_same("raw_tp.w raw_tracepoint.w", _WRITABLE, 0, RAW_TRACEPOINT),
    # What is loaded for something in the kernel's types.
    *_sleepable("tp_btf", _TRACING, u.BPF_TRACE_RAW_TP, BTF),
    *_sleepable("fentry", _TRACING, u.BPF_TRACE_FENTRY, BTF),
    *_sleepable("fexit", _TRACING, u.BPF_TRACE_FEXIT, BTF),
    *_sleepable("fmod_ret", _TRACING, u.BPF_MODIFY_RETURN, BTF),
    *_sleepable("fsession", _TRACING, u.BPF_TRACE_FSESSION, BTF),
    *_sleepable("iter", _TRACING, u.BPF_TRACE_ITER, BTF),
    *_sleepable("lsm", _LSM, u.BPF_LSM_MAC, BTF),
    _row("lsm_cgroup", _LSM, u.BPF_LSM_CGROUP, BTF),
    _row("freplace", u.BPF_PROG_TYPE_EXT, 0, BTF),
    *_sleepable("struct_ops", u.BPF_PROG_TYPE_STRUCT_OPS, 0, BTF),
    _row("syscall", u.BPF_PROG_TYPE_SYSCALL, flags=u.BPF_F_SLEEPABLE),
    # Packets.
    _row("xdp", _XDP, u.BPF_XDP, optional=True),
    _row("xdp.frags", _XDP, u.BPF_XDP, flags=u.BPF_F_XDP_HAS_FRAGS, optional=True),
    _row("xdp/devmap", _XDP, u.BPF_XDP_DEVMAP),
    _row("xdp.frags/devmap", _XDP, u.BPF_XDP_DEVMAP, flags=u.BPF_F_XDP_HAS_FRAGS),
    _row("xdp/cpumap", _XDP, u.BPF_XDP_CPUMAP),
    _row("xdp.frags/cpumap", _XDP, u.BPF_XDP_CPUMAP, flags=u.BPF_F_XDP_HAS_FRAGS),
    *_same("tc classifier", _CLS),
    *_same("tcx/ingress tc/ingress", _CLS, u.BPF_TCX_INGRESS),
    *_same("tcx/egress tc/egress", _CLS, u.BPF_TCX_EGRESS),
    _row("netkit/primary", _CLS, u.BPF_NETKIT_PRIMARY),
    _row("netkit/peer", _CLS, u.BPF_NETKIT_PEER),
    _row("action", u.BPF_PROG_TYPE_SCHED_ACT),
    _row("perf_event", u.BPF_PROG_TYPE_PERF_EVENT),
    _row("lwt_in", u.BPF_PROG_TYPE_LWT_IN),
    _row("lwt_out", u.BPF_PROG_TYPE_LWT_OUT),
    _row("lwt_xmit", u.BPF_PROG_TYPE_LWT_XMIT),
    _row("lwt_seg6local", u.BPF_PROG_TYPE_LWT_SEG6LOCAL),
    _row("sockops", u.BPF_PROG_TYPE_SOCK_OPS, u.BPF_CGROUP_SOCK_OPS, optional=True),
    _row("sk_skb/stream_parser", u.BPF_PROG_TYPE_SK_SKB, u.BPF_SK_SKB_STREAM_PARSER, optional=True),
    _row("sk_skb/stream_verdict", u.BPF_PROG_TYPE_SK_SKB, u.BPF_SK_SKB_STREAM_VERDICT, optional=True),
    _row("sk_skb/verdict", u.BPF_PROG_TYPE_SK_SKB, u.BPF_SK_SKB_VERDICT, optional=True),
    _row("sk_skb", u.BPF_PROG_TYPE_SK_SKB),
    _row("sk_msg", u.BPF_PROG_TYPE_SK_MSG, u.BPF_SK_MSG_VERDICT, optional=True),
    _row("lirc_mode2", u.BPF_PROG_TYPE_LIRC_MODE2, u.BPF_LIRC_MODE2, optional=True),
    _row("flow_dissector", u.BPF_PROG_TYPE_FLOW_DISSECTOR, u.BPF_FLOW_DISSECTOR, optional=True),
    _row("sk_lookup", u.BPF_PROG_TYPE_SK_LOOKUP, u.BPF_SK_LOOKUP),
    _row("netfilter", u.BPF_PROG_TYPE_NETFILTER, u.BPF_NETFILTER),
    # Cgroups.
    _row("cgroup_skb/ingress", _SKB, u.BPF_CGROUP_INET_INGRESS, optional=True),
    _row("cgroup_skb/egress", _SKB, u.BPF_CGROUP_INET_EGRESS, optional=True),
    _row("cgroup/skb", _SKB),
    *_same("cgroup/sock_create cgroup/sock", _SOCK, u.BPF_CGROUP_INET_SOCK_CREATE, optional=True),
    _row("cgroup/sock_release", _SOCK, u.BPF_CGROUP_INET_SOCK_RELEASE),
    _row("cgroup/post_bind4", _SOCK, u.BPF_CGROUP_INET4_POST_BIND),
    _row("cgroup/post_bind6", _SOCK, u.BPF_CGROUP_INET6_POST_BIND),
    _row("cgroup/bind4", _ADDR, u.BPF_CGROUP_INET4_BIND),
    _row("cgroup/bind6", _ADDR, u.BPF_CGROUP_INET6_BIND),
    _row("cgroup/connect4", _ADDR, u.BPF_CGROUP_INET4_CONNECT),
    _row("cgroup/connect6", _ADDR, u.BPF_CGROUP_INET6_CONNECT),
    _row("cgroup/connect_unix", _ADDR, u.BPF_CGROUP_UNIX_CONNECT),
    _row("cgroup/sendmsg4", _ADDR, u.BPF_CGROUP_UDP4_SENDMSG),
    _row("cgroup/sendmsg6", _ADDR, u.BPF_CGROUP_UDP6_SENDMSG),
    _row("cgroup/sendmsg_unix", _ADDR, u.BPF_CGROUP_UNIX_SENDMSG),
    _row("cgroup/recvmsg4", _ADDR, u.BPF_CGROUP_UDP4_RECVMSG),
    _row("cgroup/recvmsg6", _ADDR, u.BPF_CGROUP_UDP6_RECVMSG),
    _row("cgroup/recvmsg_unix", _ADDR, u.BPF_CGROUP_UNIX_RECVMSG),
    _row("cgroup/getpeername4", _ADDR, u.BPF_CGROUP_INET4_GETPEERNAME),
    _row("cgroup/getpeername6", _ADDR, u.BPF_CGROUP_INET6_GETPEERNAME),
    _row("cgroup/getpeername_unix", _ADDR, u.BPF_CGROUP_UNIX_GETPEERNAME),
    _row("cgroup/getsockname4", _ADDR, u.BPF_CGROUP_INET4_GETSOCKNAME),
    _row("cgroup/getsockname6", _ADDR, u.BPF_CGROUP_INET6_GETSOCKNAME),
    _row("cgroup/getsockname_unix", _ADDR, u.BPF_CGROUP_UNIX_GETSOCKNAME),
    _row("cgroup/getsockopt", _SOCKOPT, u.BPF_CGROUP_GETSOCKOPT),
    _row("cgroup/setsockopt", _SOCKOPT, u.BPF_CGROUP_SETSOCKOPT),
    _row("cgroup/sysctl", u.BPF_PROG_TYPE_CGROUP_SYSCTL, u.BPF_CGROUP_SYSCTL),
    _row("cgroup/dev", u.BPF_PROG_TYPE_CGROUP_DEVICE, u.BPF_CGROUP_DEVICE, optional=True),
)

_BY_NAME = {row.name: row for row in ROWS}


def find(section: str) -> tuple[SectionName, str] | None:
    """Return the row of a section's name and what stands behind the "/"; None for a name that says nothing."""
    if section in _BY_NAME:
        return _BY_NAME[section], ""
    name, slash, target = section.partition("/")
    row = _BY_NAME.get(name)
    return (row, target) if slash and row is not None and row.target else None


def row_of(
    type: int, attach_type: int, flags: int = 0, target: str = "", *, returns: bool = False
) -> SectionName | None:
    """Return the row by which a program is written, or None where no name says all of that.

    An attach type of 0 also takes the first row that kernels without attach types know; a ``target`` of "" takes any.
    """
    alike = [row for row in ROWS if row.type == type and row.flags == flags and row.returns == returns]
    alike = [row for row in alike if target in ("", row.target)]
    exact = [row for row in alike if row.attach_type == attach_type]
    return next(iter(exact or [row for row in alike if row.optional and not attach_type]), None)
