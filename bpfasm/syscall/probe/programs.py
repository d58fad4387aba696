"""Types of programs: how the smallest program of each is loaded, whether the kernel takes it, and runs it for us."""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP
from functools import partial

from bpfasm.asm.macros import BPF_EXIT_INSN, BPF_MOV64_IMM
from bpfasm.asm.prog_types import TYPES
from bpfasm.isa.operands import R0
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.syscall.probe.answer import Answer, Tried, judge, no, refused, unknown, yes
from bpfasm.syscall.probe.feature import Feature, label
from bpfasm.syscall.probe.trying import command, load, program
from bpfasm.syscall.probe.vmlinux import vmlinux
from bpfasm.uapi import bpf, names
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.isa.insn import Insn


class Minimal(Value):
    """The smallest program of a type: where it says it attaches, its flags, what it returns, and what it names.

    ``target`` is the kind and name of what it is loaded for in the kernel's BTF. ``variant`` tells it from the
    type's plain form: what a program may call depends on where it attaches.
    """

    type: int
    attach: int = 0
    flags: int = 0
    returns: int = 0
    target: tuple[str, str] = ("", "")
    variant: str = ""

    @property
    def insns(self) -> list[Insn]:
        """Its instructions."""
        return [BPF_MOV64_IMM(R0, self.returns), BPF_EXIT_INSN()]

    @property
    def label(self) -> str:
        """Its type's name, and its variant: ``tracing/iter``."""
        name = label(names(bpf, "bpf_prog_type").get(self.type, str(self.type)), "BPF_PROG_TYPE_")
        return f"{name}/{self.variant}" if self.variant else name

    def fields(self) -> dict[str, Any] | None:
        """Return the fields of BPF_PROG_LOAD besides type and instructions; None where its target is not there."""
        kind, name = self.target
        target = vmlinux().id(kind, name) if kind else 0
        if kind and not target:
            return None
        return {"expected_attach_type": self.attach, "prog_flags": self.flags, "attach_btf_id": target}

    def no_target(self) -> Answer:
        """Return that what it is loaded for is not there."""
        kind, name = self.target
        if not vmlinux().there:
            return unknown("the kernel does not show its types (CONFIG_DEBUG_INFO_BTF)")
        return no(f"the kernel has no {name} to load it for", f"the kernel's BTF has no {kind} {name}")


def _tracing(attach: int, name: str, variant: str, kind: str = "func") -> Minimal:
    return Minimal(bpf.BPF_PROG_TYPE_TRACING, attach, target=(kind, name), variant=variant)


# Loaded for a function, a program is not attached yet. The first ones are those of the kernel's own tests.
FENTRY = _tracing(bpf.BPF_TRACE_FENTRY, "bpf_fentry_test1", "")
FEXIT = _tracing(bpf.BPF_TRACE_FEXIT, "bpf_fentry_test1", "fexit")
FMOD_RET = _tracing(bpf.BPF_MODIFY_RETURN, "security_file_permission", "fmod_ret")
TP_BTF = _tracing(bpf.BPF_TRACE_RAW_TP, "btf_trace_sched_switch", "tp_btf", "typedef")
ITER = _tracing(bpf.BPF_TRACE_ITER, "bpf_iter_task", "iter")
LSM = Minimal(bpf.BPF_PROG_TYPE_LSM, bpf.BPF_LSM_MAC, target=("func", "bpf_lsm_file_open"))
LSM_CGROUP = LSM.replace(
    attach=bpf.BPF_LSM_CGROUP, returns=1, target=("func", "bpf_lsm_socket_bind"), variant="cgroup"
)
SLEEPABLE = LSM.replace(
    flags=bpf.BPF_F_SLEEPABLE, target=("func", "bpf_lsm_bprm_committed_creds"), variant="sleepable"
)
STRUCT_OPS = Minimal(bpf.BPF_PROG_TYPE_STRUCT_OPS, target=("struct", "tcp_congestion_ops"))
#: A struct of the kernel's for its own tests, whose functions have a test run.
DUMMY_OPS = STRUCT_OPS.replace(target=("struct", "bpf_dummy_ops"))

#: The plain form of every type; most are loaded with zeros in all other fields.
PLAIN = {type: Minimal(type) for type in names(bpf, "bpf_prog_type") if type} | {
    each.type: each
    for each in (
        FENTRY,
        LSM,
        STRUCT_OPS,
        # An extension is loaded for another program; without one, the verifier says so.
        Minimal(bpf.BPF_PROG_TYPE_EXT, target=("func", "bpf_fentry_test1")),
        Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCK, bpf.BPF_CGROUP_INET_SOCK_CREATE, returns=1),
        Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, bpf.BPF_CGROUP_INET4_CONNECT, returns=1),
        Minimal(bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT, bpf.BPF_CGROUP_GETSOCKOPT, returns=1),
        Minimal(bpf.BPF_PROG_TYPE_LIRC_MODE2, bpf.BPF_LIRC_MODE2),
        Minimal(bpf.BPF_PROG_TYPE_SK_LOOKUP, bpf.BPF_SK_LOOKUP),
        Minimal(bpf.BPF_PROG_TYPE_SK_REUSEPORT, bpf.BPF_SK_REUSEPORT_SELECT),
        Minimal(bpf.BPF_PROG_TYPE_SYSCALL, flags=bpf.BPF_F_SLEEPABLE),
        Minimal(bpf.BPF_PROG_TYPE_NETFILTER, bpf.BPF_NETFILTER),
    )
}

_ADDRESS = PLAIN[bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR]

#: Forms of a type that may call functions that its plain form may not.
_VARIANTS = (
    Minimal(bpf.BPF_PROG_TYPE_KPROBE, flags=bpf.BPF_F_SLEEPABLE, variant="sleepable"),
    Minimal(bpf.BPF_PROG_TYPE_KPROBE, bpf.BPF_TRACE_KPROBE_MULTI, variant="kprobe_multi"),
    PLAIN[bpf.BPF_PROG_TYPE_CGROUP_SOCK].replace(attach=bpf.BPF_CGROUP_INET4_POST_BIND, variant="post_bind"),
    _ADDRESS.replace(attach=bpf.BPF_CGROUP_INET4_BIND, variant="bind"),
    _ADDRESS.replace(attach=bpf.BPF_CGROUP_UDP4_SENDMSG, variant="sendmsg"),
    _ADDRESS.replace(attach=bpf.BPF_CGROUP_INET4_GETPEERNAME, variant="getpeername"),
    PLAIN[bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT].replace(attach=bpf.BPF_CGROUP_SETSOCKOPT, variant="setsockopt"),
    FENTRY.replace(variant="fentry"),
    FEXIT,
    ITER,
    SLEEPABLE,
    LSM_CGROUP,
)

#: Every form of program that may call something, the plain one of each type first. The plain one of TRACING is on a
#: tracepoint: for one on a function, older kernels make a trampoline before they look at the program.
FORMS = (*(PLAIN | {bpf.BPF_PROG_TYPE_TRACING: TP_BTF.replace(variant="")}).values(), *_VARIANTS)


def looked_at(tried: Tried) -> bool:
    """Return whether the verifier was asked: before that, the kernel has found the type."""
    return not tried.errno or bool(tried.log.strip()) or tried.errno == ENOTSUPP


def prog_type(type: int) -> Answer:
    """Return whether the kernel has a type of program, by loading one that returns at once."""
    minimal = PLAIN.get(type, Minimal(type))
    fields = minimal.fields()
    if fields is None:
        # Any type id will do to be told that it is the wrong one.
        fields = {"expected_attach_type": minimal.attach, "prog_flags": minimal.flags, "attach_btf_id": 1}
    tried = load(minimal.insns, type, minimal.label, **fields)
    if looked_at(tried):
        return yes(tried.words)
    return judge(tried, absent=(EINVAL,), reason="the kernel has no such type")


#: (type, what runs it, commit, options); since when, asm/progtypes.py says
_TYPES = (
    (bpf.BPF_PROG_TYPE_SOCKET_FILTER, "packets of a socket", "ddd872bc3098", "NET"),
    (bpf.BPF_PROG_TYPE_KPROBE, "kprobes and uprobes", "2541517c32be", "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_SCHED_CLS, "tc, as a classifier", "96be4325f443", "NET"),
    (bpf.BPF_PROG_TYPE_SCHED_ACT, "tc, as an action", "94caee8c312d", "NET"),
    (bpf.BPF_PROG_TYPE_TRACEPOINT, "tracepoints", "98b5c2c65c29", "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_XDP, "packets where a driver receives them", "6a773a15a1e8", "NET"),
    (bpf.BPF_PROG_TYPE_PERF_EVENT, "perf events", "0515e5999a46", "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_CGROUP_SKB, "packets of a cgroup", "0e33661de493", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_CGROUP_SOCK, "sockets of a cgroup", "610236587600", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_LWT_IN, "light tunnels, input", "3a0af8fd61f9", "NET"),
    (bpf.BPF_PROG_TYPE_LWT_OUT, "light tunnels, output", "3a0af8fd61f9", "NET"),
    (bpf.BPF_PROG_TYPE_LWT_XMIT, "light tunnels, transmission", "3a0af8fd61f9", "NET"),
    (bpf.BPF_PROG_TYPE_SOCK_OPS, "what happens to TCP sockets of a cgroup", "40304b2a1567", "NET"),
    (bpf.BPF_PROG_TYPE_SK_SKB, "packets of sockets in a map", "b005fd189cec", "NET"),
    (bpf.BPF_PROG_TYPE_CGROUP_DEVICE, "access to devices", "ebc614f68736", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_SK_MSG, "messages of sockets in a map", "4f738adba30a", "NET"),
    (bpf.BPF_PROG_TYPE_RAW_TRACEPOINT, "tracepoints, by their raw arguments", "c4f6699dfcb8", "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "addresses that sockets use", "4fbac77d2d09", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_LWT_SEG6LOCAL, "segment routing", "004d4b274e2a", "NET"),
    (bpf.BPF_PROG_TYPE_LIRC_MODE2, "infrared receivers", "f4364dcfc86d", "BPF_LIRC_MODE2"),
    (bpf.BPF_PROG_TYPE_SK_REUSEPORT, "the choice among sockets of a port", "2dbb9b9e6df6", "INET"),
    (bpf.BPF_PROG_TYPE_FLOW_DISSECTOR, "the parser of packets", "d58e468b1112", "NET"),
    (bpf.BPF_PROG_TYPE_CGROUP_SYSCTL, "access to sysctls", "7b146cebe30c", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, "tracepoints whose arguments it may change", "9df1c28bb752",
     "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT, "getsockopt(2) and setsockopt(2)", "0d01da6afc54", "CGROUP_BPF"),
    (bpf.BPF_PROG_TYPE_TRACING, "functions and tracepoints by their types", "f1b9509c2fb0", "BPF_EVENTS"),
    (bpf.BPF_PROG_TYPE_STRUCT_OPS, "functions of a struct of the kernel's", "27ae7997a661", "BPF_JIT"),
    (bpf.BPF_PROG_TYPE_EXT, "instead of a function of another program", "be8704ff07d2", "BPF_JIT"),
    (bpf.BPF_PROG_TYPE_LSM, "hooks of security modules", "fc611f47f218", "BPF_LSM"),
    (bpf.BPF_PROG_TYPE_SK_LOOKUP, "the search for a socket", "e9ddbb7707ff", "INET"),
    (bpf.BPF_PROG_TYPE_SYSCALL, "whoever calls it, and may sleep", "79a7f8bdb159", ""),
    (bpf.BPF_PROG_TYPE_NETFILTER, "netfilter hooks", "84601d6ee68a", "NETFILTER_BPF_LINK"),
)  # fmt: skip


def test_run(type: int) -> Answer:
    """Return whether a type of program can be run by BPF_PROG_TEST_RUN.

    It is run once, without data, and does nothing; most types want data, and say EINVAL.
    """
    minimal = DUMMY_OPS if type == bpf.BPF_PROG_TYPE_STRUCT_OPS else PLAIN[type]
    fields = minimal.fields()
    if fields is None:
        return minimal.no_target()
    try:
        loaded = program(minimal.insns, type, **fields)
    except OSError as error:
        return refused(error, absent=(EINVAL,), reason="the kernel has no such type")
    with loaded:
        tried = command(bpf.BPF_PROG_TEST_RUN, {"test.prog_fd": loaded.number}, minimal.label)
    return judge(tried, there=(EINVAL,), absent=(ENOTSUPP, EOPNOTSUPP), reason="such programs have no test run")


#: The types that have a test run: since, commit, older series that were given it.
_TEST_RUNS = (
    (bpf.BPF_PROG_TYPE_SOCKET_FILTER, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_SCHED_CLS, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_SCHED_ACT, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_XDP, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_CGROUP_SKB, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_LWT_IN, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_LWT_OUT, "4.12", "1cf1cae963c2"),
    (bpf.BPF_PROG_TYPE_LWT_XMIT, "4.12", "1cf1cae963c2"),
    # LWT_SEG6LOCAL had one from 4.18 to 6.0; stable kernels lost it.
    (bpf.BPF_PROG_TYPE_FLOW_DISSECTOR, "5.1", "b7a1848e8398"),
    (bpf.BPF_PROG_TYPE_TRACING, "5.6", "da00d2f117a0"),
    (bpf.BPF_PROG_TYPE_RAW_TRACEPOINT, "5.10", "1b4d60ec162f"),
    (bpf.BPF_PROG_TYPE_SK_LOOKUP, "5.13", "7c32e8f8bc33", "5.10"),
    (bpf.BPF_PROG_TYPE_SYSCALL, "5.14", "79a7f8bdb159"),
    (bpf.BPF_PROG_TYPE_STRUCT_OPS, "5.16", "c196906d50e3"),
    (bpf.BPF_PROG_TYPE_NETFILTER, "6.4", "2b99ef22e0d2"),
)


def _features() -> tuple[Feature, ...]:
    of = {type: (what, tuple(config.split())) for type, what, _, config in _TYPES}
    types = [
        Feature("program", PLAIN[type].label, what, TYPES[type].since, partial(prog_type, type), commit, of[type][1])
        for type, what, commit, _ in _TYPES
    ]
    runs = [
        Feature("testrun", PLAIN[type].label, "", since, partial(test_run, type), commit, of[type][1], tuple(also))
        for type, since, commit, *also in _TEST_RUNS
    ]
    return (*types, *runs)


FEATURES = _features()
