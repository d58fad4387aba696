"""Ways to attach: kinds of links, and attach types.

A link is asked for with everything right but its target, so nothing is attached: a kernel that has the kind gets as
far as looking for the target, and says so with another errno.
"""

from __future__ import annotations

from errno import EAFNOSUPPORT, EBADF, EBUSY, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, EOPNOTSUPP
from functools import partial

from bpfasm.asm.attach_types import ATTACH_TYPES
from bpfasm.syscall.libc import ENOTSUPP, buffer
from bpfasm.syscall.probe import maps
from bpfasm.syscall.probe.answer import Answer, judge, no, refused, unknown, yes
from bpfasm.syscall.probe.feature import Feature, label
from bpfasm.syscall.probe.programs import (
    FENTRY,
    FEXIT,
    FMOD_RET,
    ITER,
    LSM,
    LSM_CGROUP,
    PLAIN,
    TP_BTF,
    Minimal,
    prog_type,
)
from bpfasm.syscall.probe.trying import NO_FD, command, load, opening, program
from bpfasm.syscall.probe.vmlinux import vmlinux
from bpfasm.uapi import bpf, if_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Probe = Callable[[], Answer]

_NO_DEVICE, _BAD_ADDRESS, _LOOPBACK = 0x7FFFFFFF, 1, 1

_NOT_BUILT = (EINVAL, EOPNOTSUPP, ENOTSUPP)


def with_program(minimal: Minimal, use: Callable[[int], Answer]) -> Answer:
    """Load a program and ask something about it."""
    fields = minimal.fields()
    if fields is None:
        return minimal.no_target()
    try:
        loaded = program(minimal.insns, minimal.type, **fields)
    except OSError as error:
        return refused(error, absent=(EINVAL,), reason="the kernel loads no program for it")
    with loaded:
        return use(loaded.number)


def named(*words: str) -> Probe:
    """Return a probe of what no refusal tells apart: by one of the names that the kernel's BTF has for it."""

    def probe() -> Answer:
        if not vmlinux().there:
            return unknown("the kernel does not show its types (CONFIG_DEBUG_INFO_BTF)")
        for name in words:
            if vmlinux().names(name):
                return yes(f"the kernel's BTF has {name}")
        return no("the kernel's types do not name it", f"the kernel's BTF has no {' or '.join(words)}")

    return probe


# Kinds of links


def _link(minimal: Minimal, attach: int, there: tuple[int, ...], **fields: Any) -> Probe:
    """Return a probe of a kind of link: made of a program and an attach type, but to no target."""
    given = {f"link_create.{name}": value for name, value in fields.items()}

    def use(fd: int) -> Answer:
        both = {"link_create.prog_fd": fd, "link_create.attach_type": attach}
        tried = opening(bpf.BPF_LINK_CREATE, {**both, **given}, bpf.enum_bpf_attach_type[attach])
        return judge(tried, there=there, absent=_NOT_BUILT, reason="the kernel has no such link")

    return partial(with_program, minimal, use)


def _kprobe(attach: int = 0) -> Minimal:
    return Minimal(bpf.BPF_PROG_TYPE_KPROBE, attach)


#: A probe to no event.
perf_link = _link(_kprobe(), bpf.BPF_PERF_EVENT, (EBADF,), target_fd=NO_FD)


def _kprobe_multi(attach: int) -> Probe:
    fields = {"kprobe_multi.addrs": _BAD_ADDRESS, "kprobe_multi.cnt": 1}
    return _link(_kprobe(attach), attach, (EFAULT,), **fields)


def _uprobe_multi(attach: int) -> Probe:
    """A folder has no functions: EBADF."""
    fields = {"uprobe_multi.path": buffer(b"/\0"), "uprobe_multi.offsets": buffer(8), "uprobe_multi.cnt": 1}
    return _link(_kprobe(attach), attach, (EBADF,), **fields)


def _tracing_multi(attach: int) -> Probe:
    fields = {"tracing_multi.ids": _BAD_ADDRESS, "tracing_multi.cnt": 1}
    return _link(Minimal(bpf.BPF_PROG_TYPE_TRACING, attach), attach, (EFAULT,), **fields)


def _device(attach: int) -> Probe:
    return _link(PLAIN[bpf.BPF_PROG_TYPE_SCHED_CLS], attach, (ENODEV,), target_ifindex=_NO_DEVICE)


def _to_no_fd(minimal: Minimal, attach: int) -> Probe:
    return _link(minimal, attach, (EBADF,), target_fd=NO_FD)


#: The loopback device has no native XDP, and says so after everything else was found right.
_xdp = _link(
    PLAIN[bpf.BPF_PROG_TYPE_XDP],
    bpf.BPF_XDP,
    (EOPNOTSUPP, EBUSY, EEXIST),
    target_ifindex=_LOOPBACK,
    flags=if_link.XDP_FLAGS_DRV_MODE,
)


def _raw_tracepoint() -> Answer:
    """Open a tracepoint that there is not."""

    def use(fd: int) -> Answer:
        fields = {"raw_tracepoint.prog_fd": fd, "raw_tracepoint.name": buffer(b"bpfasm_no_such\0")}
        return judge(opening(bpf.BPF_RAW_TRACEPOINT_OPEN, fields), there=(ENOENT,), absent=_NOT_BUILT)

    return with_program(PLAIN[bpf.BPF_PROG_TYPE_RAW_TRACEPOINT], use)


def trampoline() -> Answer:
    """Attach to a function of the kernel's own tests, which nothing calls, and let go at once."""

    def use(fd: int) -> Answer:
        tried = opening(bpf.BPF_RAW_TRACEPOINT_OPEN, {"raw_tracepoint.prog_fd": fd}, "fentry of bpf_fentry_test1")
        # EBUSY: somebody else is there
        return judge(tried, there=(EBUSY,), absent=_NOT_BUILT, reason="the kernel has no trampolines")

    return with_program(FENTRY, use)


#: (name, what it is, since, commit, options, probe)
_LINKS: tuple[tuple[str, str, str, str, str, Probe], ...] = (
    ("raw_tracepoint", "a program on the arguments of a tracepoint", "4.17", "c4f6699dfcb8", "BPF_EVENTS",
     _raw_tracepoint),
    ("tracing", "fentry, fexit and their kin, by a trampoline", "5.5", "fec56f5890d9",
     "BPF_EVENTS DEBUG_INFO_BTF DYNAMIC_FTRACE_WITH_DIRECT_CALLS", trampoline),
    ("cgroup", "programs on a cgroup", "5.7", "af6eea57437a", "CGROUP_BPF",
     _to_no_fd(PLAIN[bpf.BPF_PROG_TYPE_CGROUP_SKB], bpf.BPF_CGROUP_INET_INGRESS)),
    ("iter", "iterators over the kernel's objects", "5.8", "de4e05cac46d", "BPF_EVENTS DEBUG_INFO_BTF",
     _link(ITER, bpf.BPF_TRACE_ITER, ())),
    ("netns", "programs on a network namespace", "5.8", "7f045a49fee0", "INET",
     _to_no_fd(PLAIN[bpf.BPF_PROG_TYPE_SK_LOOKUP], bpf.BPF_SK_LOOKUP)),
    ("xdp", "XDP on a network device", "5.9", "aa8d3a716b59", "NET", _xdp),
    ("perf_event", "kprobes, uprobes, tracepoints and samples, with a cookie", "5.15", "b89fbfbb854c",
     "BPF_EVENTS", perf_link),
    ("kprobe_multi", "many functions of the kernel at once", "5.18", "0dcac2725406", "FPROBE",
     _kprobe_multi(bpf.BPF_TRACE_KPROBE_MULTI)),
    ("lsm_cgroup", "LSM hooks for one cgroup", "6.0", "69fd337a975c", "BPF_LSM CGROUP_BPF DEBUG_INFO_BTF",
     _to_no_fd(LSM_CGROUP, bpf.BPF_LSM_CGROUP)),
    ("struct_ops", "functions of the kernel, by programs", "6.4", "68b04864ca42", "BPF_JIT",
     named("bpf_struct_ops_link")),
    ("netfilter", "netfilter hooks", "6.4", "84601d6ee68a", "NETFILTER_BPF_LINK",
     _link(PLAIN[bpf.BPF_PROG_TYPE_NETFILTER], bpf.BPF_NETFILTER, (EAFNOSUPPORT,))),
    ("tcx", "tc without a qdisc", "6.6", "e420bed02507", "NET_XGRESS", _device(bpf.BPF_TCX_INGRESS)),
    ("uprobe_multi", "many functions of a file at once", "6.6", "89ae89f53d20", "UPROBES BPF_EVENTS",
     _uprobe_multi(bpf.BPF_TRACE_UPROBE_MULTI)),
    ("netkit", "programs on a netkit device", "6.7", "35dfaad7188c", "NETKIT", _device(bpf.BPF_NETKIT_PRIMARY)),
    ("kprobe_session", "entry and return of kernel functions, by one program", "6.10", "535a3692ba72", "FPROBE",
     _kprobe_multi(bpf.BPF_TRACE_KPROBE_SESSION)),
    ("sockmap", "verdicts on a map of sockets", "6.10", "699c23f02c65", "BPF_STREAM_PARSER",
     _to_no_fd(PLAIN[bpf.BPF_PROG_TYPE_SK_MSG], bpf.BPF_SK_MSG_VERDICT)),
    ("uprobe_session", "entry and return of functions of a file, by one program", "6.13", "d920179b3d48",
     "UPROBES BPF_EVENTS", _uprobe_multi(bpf.BPF_TRACE_UPROBE_SESSION)),
    ("tracing_multi", "trampolines of many functions at once", "7.2", "",
     "BPF_EVENTS DYNAMIC_FTRACE_WITH_DIRECT_CALLS", _tracing_multi(bpf.BPF_TRACE_FENTRY_MULTI)),
)  # fmt: skip


# Attach types


def _loads(minimal: Minimal) -> Probe:
    """Return a probe of an attach type that a program names when it is loaded."""

    def probe() -> Answer:
        fields = minimal.fields()
        if fields is None:
            return minimal.no_target()
        tried = load(minimal.insns, minimal.type, bpf.enum_bpf_attach_type[minimal.attach], **fields)
        return judge(tried, absent=(EINVAL,), reason="the kernel loads no program for it")

    return probe


def _attaches(attach: int) -> Probe:
    """Return a probe of an attach type that BPF_PROG_ATTACH takes: there is no such program, EBADF."""

    def probe() -> Answer:
        fields = {"attach_type": attach, "attach_bpf_fd": NO_FD, "target_fd": NO_FD}
        tried = command(bpf.BPF_PROG_ATTACH, fields, bpf.enum_bpf_attach_type[attach])
        return judge(tried, there=(EBADF,), absent=(EINVAL,), reason="the kernel attaches nothing there")

    return probe


_SOCKETS = (
    bpf.BPF_CGROUP_INET_SOCK_CREATE,
    bpf.BPF_CGROUP_INET_SOCK_RELEASE,
    bpf.BPF_CGROUP_INET4_POST_BIND,
    bpf.BPF_CGROUP_INET6_POST_BIND,
)
_ADDRESSES = (
    *(bpf.BPF_CGROUP_INET4_BIND, bpf.BPF_CGROUP_INET6_BIND),
    *(bpf.BPF_CGROUP_INET4_CONNECT, bpf.BPF_CGROUP_INET6_CONNECT),
    *(bpf.BPF_CGROUP_UDP4_SENDMSG, bpf.BPF_CGROUP_UDP6_SENDMSG),
    *(bpf.BPF_CGROUP_UDP4_RECVMSG, bpf.BPF_CGROUP_UDP6_RECVMSG),
    *(bpf.BPF_CGROUP_INET4_GETPEERNAME, bpf.BPF_CGROUP_INET6_GETPEERNAME),
    *(bpf.BPF_CGROUP_INET4_GETSOCKNAME, bpf.BPF_CGROUP_INET6_GETSOCKNAME),
    *(bpf.BPF_CGROUP_UNIX_CONNECT, bpf.BPF_CGROUP_UNIX_SENDMSG, bpf.BPF_CGROUP_UNIX_RECVMSG),
    *(bpf.BPF_CGROUP_UNIX_GETPEERNAME, bpf.BPF_CGROUP_UNIX_GETSOCKNAME),
)
_LOADED = {
    **{attach: Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCK, attach, returns=1) for attach in _SOCKETS},
    **{attach: Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach, returns=1) for attach in _ADDRESSES},
    bpf.BPF_CGROUP_GETSOCKOPT: Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT, bpf.BPF_CGROUP_GETSOCKOPT, returns=1),
    bpf.BPF_CGROUP_SETSOCKOPT: Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT, bpf.BPF_CGROUP_SETSOCKOPT, returns=1),
    bpf.BPF_SK_LOOKUP: PLAIN[bpf.BPF_PROG_TYPE_SK_LOOKUP],
    bpf.BPF_NETFILTER: PLAIN[bpf.BPF_PROG_TYPE_NETFILTER],
    bpf.BPF_TRACE_RAW_TP: TP_BTF,
    bpf.BPF_TRACE_FENTRY: FENTRY,
    bpf.BPF_TRACE_FEXIT: FEXIT,
    bpf.BPF_MODIFY_RETURN: FMOD_RET,
    bpf.BPF_TRACE_ITER: ITER,
    bpf.BPF_TRACE_FSESSION: FENTRY.replace(attach=bpf.BPF_TRACE_FSESSION),
    bpf.BPF_LSM_MAC: LSM,
    bpf.BPF_LSM_CGROUP: LSM_CGROUP,
}
_OTHERWISE: dict[int, Probe] = {
    # Whether or not the kernel has the type, this attach type is one of BPF_PROG_ATTACH.
    bpf.BPF_LIRC_MODE2: partial(prog_type, bpf.BPF_PROG_TYPE_LIRC_MODE2),
    # A map has room for a program beside the device, or the CPU.
    bpf.BPF_XDP_DEVMAP: partial(maps.created, bpf.BPF_MAP_TYPE_DEVMAP, value_size=8),
    bpf.BPF_XDP_CPUMAP: partial(maps.created, bpf.BPF_MAP_TYPE_CPUMAP, value_size=8),
    bpf.BPF_XDP: _xdp,
    # Before there were two, the kernel did not look.
    bpf.BPF_SK_REUSEPORT_SELECT: named("BPF_SK_REUSEPORT_SELECT"),
    bpf.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE: named("BPF_SK_REUSEPORT_SELECT_OR_MIGRATE"),
    bpf.BPF_PERF_EVENT: perf_link,
    bpf.BPF_STRUCT_OPS: named("BPF_STRUCT_OPS"),
    bpf.BPF_TRACE_KPROBE_MULTI: _kprobe_multi(bpf.BPF_TRACE_KPROBE_MULTI),
    bpf.BPF_TRACE_KPROBE_SESSION: _kprobe_multi(bpf.BPF_TRACE_KPROBE_SESSION),
    bpf.BPF_TRACE_UPROBE_MULTI: _uprobe_multi(bpf.BPF_TRACE_UPROBE_MULTI),
    bpf.BPF_TRACE_UPROBE_SESSION: _uprobe_multi(bpf.BPF_TRACE_UPROBE_SESSION),
    bpf.BPF_TCX_INGRESS: _device(bpf.BPF_TCX_INGRESS),
    bpf.BPF_TCX_EGRESS: _device(bpf.BPF_TCX_EGRESS),
    bpf.BPF_NETKIT_PRIMARY: _device(bpf.BPF_NETKIT_PRIMARY),
    bpf.BPF_NETKIT_PEER: _device(bpf.BPF_NETKIT_PEER),
    bpf.BPF_TRACE_FENTRY_MULTI: _tracing_multi(bpf.BPF_TRACE_FENTRY_MULTI),
    bpf.BPF_TRACE_FEXIT_MULTI: _tracing_multi(bpf.BPF_TRACE_FEXIT_MULTI),
    bpf.BPF_TRACE_FSESSION_MULTI: _tracing_multi(bpf.BPF_TRACE_FSESSION_MULTI),
}


def _how(attach: int) -> Probe:
    if attach in _LOADED:
        return _loads(_LOADED[attach])
    return _OTHERWISE.get(attach) or _attaches(attach)


FEATURES = tuple(
    Feature("link", name, what, since, probe, commit, tuple(config.split()))
    for name, what, since, commit, config, probe in _LINKS
) + tuple(
    Feature(
        "attach", label(bpf.enum_bpf_attach_type[each], "BPF_"), "", since, _how(each), commit, tuple(config.split())
    )
    for since, commit, config, types in ATTACH_TYPES
    for each in types
)
