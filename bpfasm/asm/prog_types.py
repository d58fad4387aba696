"""The types of programs: what each gets in R1, returns, and may be told at load. One row a type.

A kernel is asked by trying; this table says how to try, and has the words for what it answers. Its rows are loaded,
run and refused on every kernel of the lab (tests/live/test_prog_types.py).
"""

from __future__ import annotations

from bpfasm.uapi import bpf as u, btf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.program import Program

#: What ``expected_attach_type`` may be: any number (it is looked at when the program is attached, if at all), one of
#: the row's or 0, one of the row's.
ANY, CHECKED, REQUIRED = "any", "checked", "required"


class ProgType(Value):
    """What is known about one type of program."""

    type: int
    #: The kernel release that had it first.
    since: str
    #: What R1 points to, in C.
    ctx: str
    attach_types: tuple[int, ...] = ()
    #: ANY, CHECKED or REQUIRED.
    attach: str = ANY
    #: What it is loaded for, and ``Program.attach_btf`` names; empty where it is loaded for nothing in particular.
    target: str = ""
    #: What R0 may hold at its end; empty for any number.
    returns: str = ""
    #: A number that it may return whatever it is attached to.
    safe: int = 0
    #: Whether it must have a license that is compatible with the GPL.
    gpl: bool = False
    #: Which of them may sleep (BPF_F_SLEEPABLE); empty for none.
    sleepable: str = ""
    #: What a test run takes, of data, ctx, repeat, cpu, live; "ctx out" is a context that comes back apart, and not
    #: in place. None where there is no test run.
    run: tuple[str, ...] | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """``BPF_PROG_TYPE_XDP`` of XDP."""
        return u.enum_bpf_prog_type[self.type]


_SKB, _ARGS = "struct __sk_buff", "u64[]: the arguments"
_PACKET = ("data", "ctx", "ctx out", "repeat")
_FUNCTIONS = (u.BPF_TRACE_FENTRY, u.BPF_TRACE_FEXIT, u.BPF_MODIFY_RETURN, u.BPF_TRACE_FSESSION)

_ROWS = (
    ProgType(u.BPF_PROG_TYPE_SOCKET_FILTER, "3.19", _SKB, returns="bytes to keep", run=_PACKET),
    ProgType(
        u.BPF_PROG_TYPE_KPROBE,
        "4.1",
        "struct pt_regs",
        (
            u.BPF_TRACE_KPROBE_MULTI,
            u.BPF_TRACE_UPROBE_MULTI,
            u.BPF_TRACE_KPROBE_SESSION,
            u.BPF_TRACE_UPROBE_SESSION,
        ),
        sleepable="at user space functions (6.0)",
        note="a session returns 0 or 1",
    ),
    ProgType(
        u.BPF_PROG_TYPE_SCHED_CLS,
        "4.1",
        _SKB,
        (u.BPF_TCX_INGRESS, u.BPF_TCX_EGRESS, u.BPF_NETKIT_PRIMARY, u.BPF_NETKIT_PEER),
        returns="TC_ACT_*",
        run=_PACKET,
    ),
    ProgType(u.BPF_PROG_TYPE_SCHED_ACT, "4.1", _SKB, returns="TC_ACT_*", run=_PACKET),
    ProgType(
        u.BPF_PROG_TYPE_TRACEPOINT,
        "4.7",
        "the fields of the tracepoint's format file",
        sleepable="at system calls (7.0)",
    ),
    ProgType(
        u.BPF_PROG_TYPE_XDP,
        "4.8",
        "struct xdp_md",
        (u.BPF_XDP, u.BPF_XDP_DEVMAP, u.BPF_XDP_CPUMAP),
        returns="XDP_*",
        run=("data", "ctx", "ctx out", "repeat", "live"),
        note="test run: ctx since 5.15, live frames since 5.18",
    ),
    ProgType(u.BPF_PROG_TYPE_PERF_EVENT, "4.9", "struct bpf_perf_event_data"),
    ProgType(
        u.BPF_PROG_TYPE_CGROUP_SKB,
        "4.10",
        _SKB,
        (u.BPF_CGROUP_INET_INGRESS, u.BPF_CGROUP_INET_EGRESS),
        CHECKED,
        returns="0, 1; egress to 3",
        run=_PACKET,
    ),
    ProgType(
        u.BPF_PROG_TYPE_CGROUP_SOCK,
        "4.10",
        "struct bpf_sock",
        (
            u.BPF_CGROUP_INET_SOCK_CREATE,
            u.BPF_CGROUP_INET_SOCK_RELEASE,
            u.BPF_CGROUP_INET4_POST_BIND,
            u.BPF_CGROUP_INET6_POST_BIND,
        ),
        CHECKED,
        returns="0, 1",
    ),
    ProgType(u.BPF_PROG_TYPE_LWT_IN, "4.10", _SKB, returns="BPF_OK, BPF_DROP ...", run=_PACKET),
    ProgType(u.BPF_PROG_TYPE_LWT_OUT, "4.10", _SKB, returns="BPF_OK, BPF_DROP ...", run=_PACKET),
    ProgType(u.BPF_PROG_TYPE_LWT_XMIT, "4.10", _SKB, returns="BPF_OK, BPF_DROP ...", run=_PACKET),
    ProgType(u.BPF_PROG_TYPE_SOCK_OPS, "4.13", "struct bpf_sock_ops", (u.BPF_CGROUP_SOCK_OPS,), returns="0, 1"),
    ProgType(
        u.BPF_PROG_TYPE_SK_SKB,
        "4.14",
        _SKB,
        (u.BPF_SK_SKB_STREAM_PARSER, u.BPF_SK_SKB_STREAM_VERDICT, u.BPF_SK_SKB_VERDICT),
        returns="SK_PASS, SK_DROP",
    ),
    ProgType(
        u.BPF_PROG_TYPE_CGROUP_DEVICE, "4.15", "struct bpf_cgroup_dev_ctx", (u.BPF_CGROUP_DEVICE,), returns="0, 1"
    ),
    ProgType(u.BPF_PROG_TYPE_SK_MSG, "4.17", "struct sk_msg_md", (u.BPF_SK_MSG_VERDICT,), returns="SK_PASS, SK_DROP"),
    ProgType(
        u.BPF_PROG_TYPE_RAW_TRACEPOINT,
        "4.17",
        "struct bpf_raw_tracepoint_args",
        sleepable="at system calls (7.0)",
        run=("ctx", "cpu"),
        note="test run since 5.10: ctx of up to 96 bytes",
    ),
    ProgType(
        u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        "4.17",
        "struct bpf_sock_addr",
        (
            u.BPF_CGROUP_INET4_BIND,
            u.BPF_CGROUP_INET6_BIND,
            u.BPF_CGROUP_INET4_CONNECT,
            u.BPF_CGROUP_INET6_CONNECT,
            u.BPF_CGROUP_UNIX_CONNECT,
            u.BPF_CGROUP_UDP4_SENDMSG,
            u.BPF_CGROUP_UDP6_SENDMSG,
            u.BPF_CGROUP_UNIX_SENDMSG,
            u.BPF_CGROUP_UDP4_RECVMSG,
            u.BPF_CGROUP_UDP6_RECVMSG,
            u.BPF_CGROUP_UNIX_RECVMSG,
            u.BPF_CGROUP_INET4_GETPEERNAME,
            u.BPF_CGROUP_INET6_GETPEERNAME,
            u.BPF_CGROUP_UNIX_GETPEERNAME,
            u.BPF_CGROUP_INET4_GETSOCKNAME,
            u.BPF_CGROUP_INET6_GETSOCKNAME,
            u.BPF_CGROUP_UNIX_GETSOCKNAME,
        ),
        REQUIRED,
        returns="0, 1; bind to 3; recvmsg and get*name 1",
        safe=1,
    ),
    ProgType(u.BPF_PROG_TYPE_LWT_SEG6LOCAL, "4.18", _SKB, returns="BPF_OK, BPF_DROP ...", note="test run to 6.11"),
    ProgType(u.BPF_PROG_TYPE_LIRC_MODE2, "4.18", "u32: a sample", (u.BPF_LIRC_MODE2,)),
    ProgType(
        u.BPF_PROG_TYPE_SK_REUSEPORT,
        "4.19",
        "struct sk_reuseport_md",
        (u.BPF_SK_REUSEPORT_SELECT, u.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE),
        CHECKED,
        returns="SK_PASS, SK_DROP",
    ),
    ProgType(
        u.BPF_PROG_TYPE_FLOW_DISSECTOR,
        "4.20",
        _SKB,
        (u.BPF_FLOW_DISSECTOR,),
        returns="BPF_OK, BPF_DROP",
        run=("data", "repeat"),
        note="test run: data comes back as struct bpf_flow_keys",
    ),
    ProgType(u.BPF_PROG_TYPE_CGROUP_SYSCTL, "5.2", "struct bpf_sysctl", (u.BPF_CGROUP_SYSCTL,), returns="0, 1"),
    ProgType(u.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, "5.2", "struct bpf_raw_tracepoint_args"),
    ProgType(
        u.BPF_PROG_TYPE_CGROUP_SOCKOPT,
        "5.3",
        "struct bpf_sockopt",
        (u.BPF_CGROUP_GETSOCKOPT, u.BPF_CGROUP_SETSOCKOPT),
        REQUIRED,
        returns="0, 1",
    ),
    ProgType(
        u.BPF_PROG_TYPE_TRACING,
        "5.5",
        _ARGS,
        (
            u.BPF_TRACE_RAW_TP,
            *_FUNCTIONS,
            u.BPF_TRACE_ITER,
            u.BPF_TRACE_FENTRY_MULTI,
            u.BPF_TRACE_FEXIT_MULTI,
            u.BPF_TRACE_FSESSION_MULTI,
        ),
        REQUIRED,
        target="a kernel function, a tracepoint, or what an iterator goes over",
        returns="0; iterator 0, 1; raw tp and modify return any",
        sleepable="where its target may",
        run=(),
        note="fentry, fexit and modify return have a test run: the kernel calls its own bpf_fentry_test1() and kin",
    ),
    ProgType(
        u.BPF_PROG_TYPE_STRUCT_OPS,
        "5.6",
        _ARGS,
        target="a member of a struct of functions",
        returns="what the member does",
        gpl=True,
        sleepable="where its member may",
        run=("ctx",),
        note="struct bpf_dummy_ops alone has a test run, since 5.17",
    ),
    ProgType(
        u.BPF_PROG_TYPE_EXT,
        "5.6",
        "that of what it replaces",
        (),
        target="a function of another program (attach_prog)",
        returns="what that does",
    ),
    ProgType(
        u.BPF_PROG_TYPE_LSM,
        "5.7",
        _ARGS,
        (u.BPF_LSM_MAC, u.BPF_LSM_CGROUP),
        REQUIRED,
        target="a security hook",
        returns="0 or -errno; cgroup 0, 1",
        gpl=True,
        sleepable="where its hook may; not of a cgroup",
    ),
    ProgType(
        u.BPF_PROG_TYPE_SK_LOOKUP,
        "5.9",
        "struct bpf_sk_lookup",
        (u.BPF_SK_LOOKUP,),
        REQUIRED,
        returns="SK_PASS, SK_DROP",
        run=("ctx", "ctx out", "repeat"),
    ),
    ProgType(
        u.BPF_PROG_TYPE_SYSCALL,
        "5.14",
        "the bytes it is run with",
        sleepable="always",
        run=("ctx",),
        note="flags=BPF_F_SLEEPABLE; a test run is the way to run it: ctx of up to 65535 bytes",
    ),
    ProgType(
        u.BPF_PROG_TYPE_NETFILTER,
        "6.4",
        "struct bpf_nf_ctx",
        (u.BPF_NETFILTER,),
        REQUIRED,
        returns="NF_DROP, NF_ACCEPT",
        run=("data", "repeat"),
        note="test run: no data comes back",
    ),
)

#: The rows by type.
TYPES = {row.type: row for row in _ROWS}

#: What a name in ``Program.attach_btf`` is called in the kernel's BTF: a prefix and the kind.
_TARGETS = {
    (u.BPF_PROG_TYPE_TRACING, u.BPF_TRACE_RAW_TP): ("btf_trace_", btf.BTF_KIND_TYPEDEF),
    (u.BPF_PROG_TYPE_TRACING, u.BPF_TRACE_ITER): ("bpf_iter_", btf.BTF_KIND_FUNC),
    (u.BPF_PROG_TYPE_LSM, u.BPF_LSM_MAC): ("bpf_lsm_", btf.BTF_KIND_FUNC),
    (u.BPF_PROG_TYPE_LSM, u.BPF_LSM_CGROUP): ("bpf_lsm_", btf.BTF_KIND_FUNC),
}


def target_in_btf(type: int, attach_type: int, name: str) -> tuple[str, int]:
    """Return what a target is called in BTF, and its kind: file_open of an LSM program is bpf_lsm_file_open.

    Of STRUCT_OPS ``name`` is that of the struct.
    """
    if type == u.BPF_PROG_TYPE_STRUCT_OPS:
        return name, btf.BTF_KIND_STRUCT
    prefix, kind = _TARGETS.get((type, attach_type), ("", btf.BTF_KIND_FUNC))
    return prefix + name.removeprefix(prefix), kind


def smallest(type: int) -> Program:
    """Return the smallest program of a type that a kernel takes, where that needs no target."""
    from bpfasm.asm.macros import BPF_EXIT_INSN, BPF_MOV64_IMM
    from bpfasm.asm.program import Program
    from bpfasm.isa.operands import R0

    row = TYPES.get(type) or ProgType(type, "", "")
    return Program(
        "smallest",
        type,
        [BPF_MOV64_IMM(R0, row.safe), BPF_EXIT_INSN()],
        expected_attach_type=row.attach_types[0] if row.attach == REQUIRED else 0,
        flags=u.BPF_F_SLEEPABLE if row.sleepable == "always" else 0,
    )
