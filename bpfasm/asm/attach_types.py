"""When attach types, and flags of BPF_PROG_LOAD, came: for lint, and for the probes that try them."""

from __future__ import annotations

from bpfasm.uapi import bpf as u

#: since, commit, options, attach types
ATTACH_TYPES: tuple[tuple[str, str, str, tuple[int, ...]], ...] = (
    ("4.10", "0e33661de493", "CGROUP_BPF", (u.BPF_CGROUP_INET_INGRESS, u.BPF_CGROUP_INET_EGRESS)),
    ("4.10", "610236587600", "CGROUP_BPF", (u.BPF_CGROUP_INET_SOCK_CREATE,)),
    ("4.13", "40304b2a1567", "CGROUP_BPF", (u.BPF_CGROUP_SOCK_OPS,)),
    ("4.14", "464bc0fd6273", "INET", (u.BPF_SK_SKB_STREAM_PARSER, u.BPF_SK_SKB_STREAM_VERDICT)),
    ("4.15", "ebc614f68736", "CGROUP_BPF", (u.BPF_CGROUP_DEVICE,)),
    ("4.17", "4f738adba30a", "INET", (u.BPF_SK_MSG_VERDICT,)),
    ("4.17", "4fbac77d2d09", "CGROUP_BPF", (u.BPF_CGROUP_INET4_BIND, u.BPF_CGROUP_INET6_BIND)),
    ("4.17", "d74bad4e74ee", "CGROUP_BPF", (u.BPF_CGROUP_INET4_CONNECT, u.BPF_CGROUP_INET6_CONNECT)),
    ("4.17", "aac3fc320d94", "CGROUP_BPF", (u.BPF_CGROUP_INET4_POST_BIND, u.BPF_CGROUP_INET6_POST_BIND)),
    ("4.18", "1cedee13d25a", "CGROUP_BPF", (u.BPF_CGROUP_UDP4_SENDMSG, u.BPF_CGROUP_UDP6_SENDMSG)),
    ("4.18", "f4364dcfc86d", "BPF_LIRC_MODE2", (u.BPF_LIRC_MODE2,)),
    ("4.20", "d58e468b1112", "NET", (u.BPF_FLOW_DISSECTOR,)),
    ("5.2", "7b146cebe30c", "CGROUP_BPF", (u.BPF_CGROUP_SYSCTL,)),
    ("5.2", "983695fa6765", "CGROUP_BPF", (u.BPF_CGROUP_UDP4_RECVMSG, u.BPF_CGROUP_UDP6_RECVMSG)),
    ("5.3", "0d01da6afc54", "CGROUP_BPF", (u.BPF_CGROUP_GETSOCKOPT, u.BPF_CGROUP_SETSOCKOPT)),
    ("5.5", "f1b9509c2fb0", "BPF_EVENTS DEBUG_INFO_BTF", (u.BPF_TRACE_RAW_TP,)),
    ("5.5", "fec56f5890d9", "BPF_EVENTS DEBUG_INFO_BTF", (u.BPF_TRACE_FENTRY, u.BPF_TRACE_FEXIT)),
    ("5.7", "ae24082331d9", "BPF_EVENTS DEBUG_INFO_BTF", (u.BPF_MODIFY_RETURN,)),
    ("5.7", "fc611f47f218", "BPF_LSM DEBUG_INFO_BTF", (u.BPF_LSM_MAC,)),
    ("5.8", "15d83c4d7cef", "BPF_EVENTS DEBUG_INFO_BTF", (u.BPF_TRACE_ITER,)),
    ("5.8", "1b66d253610c", "CGROUP_BPF", (
        u.BPF_CGROUP_INET4_GETPEERNAME, u.BPF_CGROUP_INET6_GETPEERNAME,
        u.BPF_CGROUP_INET4_GETSOCKNAME, u.BPF_CGROUP_INET6_GETSOCKNAME,
    )),
    ("5.8", "fbee97feed9b", "NET", (u.BPF_XDP_DEVMAP,)),
    ("5.9", "f5836749c9c0", "CGROUP_BPF", (u.BPF_CGROUP_INET_SOCK_RELEASE,)),
    ("5.9", "9216477449f3", "NET", (u.BPF_XDP_CPUMAP,)),
    ("5.9", "e9ddbb7707ff", "INET", (u.BPF_SK_LOOKUP,)),
    ("5.9", "aa8d3a716b59", "NET", (u.BPF_XDP,)),
    ("5.13", "a7ba4558e69a", "INET", (u.BPF_SK_SKB_VERDICT,)),
    ("5.14", "d5e4ddaeb6ab", "INET", (u.BPF_SK_REUSEPORT_SELECT, u.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE)),
    ("5.15", "b89fbfbb854c", "BPF_EVENTS", (u.BPF_PERF_EVENT,)),
    ("5.18", "0dcac2725406", "FPROBE", (u.BPF_TRACE_KPROBE_MULTI,)),
    ("6.0", "69fd337a975c", "BPF_LSM CGROUP_BPF DEBUG_INFO_BTF", (u.BPF_LSM_CGROUP,)),
    ("6.4", "68b04864ca42", "BPF_JIT", (u.BPF_STRUCT_OPS,)),
    ("6.4", "84601d6ee68a", "NETFILTER_BPF_LINK", (u.BPF_NETFILTER,)),
    ("6.6", "e420bed02507", "NET_XGRESS", (u.BPF_TCX_INGRESS, u.BPF_TCX_EGRESS)),
    ("6.6", "89ae89f53d20", "UPROBES BPF_EVENTS", (u.BPF_TRACE_UPROBE_MULTI,)),
    ("6.7", "859051dd165e", "CGROUP_BPF", (
        u.BPF_CGROUP_UNIX_CONNECT, u.BPF_CGROUP_UNIX_SENDMSG, u.BPF_CGROUP_UNIX_RECVMSG,
        u.BPF_CGROUP_UNIX_GETPEERNAME, u.BPF_CGROUP_UNIX_GETSOCKNAME,
    )),
    ("6.7", "35dfaad7188c", "NETKIT", (u.BPF_NETKIT_PRIMARY, u.BPF_NETKIT_PEER)),
    ("6.10", "535a3692ba72", "FPROBE", (u.BPF_TRACE_KPROBE_SESSION,)),
    ("6.13", "d920179b3d48", "UPROBES BPF_EVENTS", (u.BPF_TRACE_UPROBE_SESSION,)),
    ("7.0", "", "BPF_EVENTS DEBUG_INFO_BTF", (u.BPF_TRACE_FSESSION,)),
    ("7.2", "", "BPF_EVENTS DYNAMIC_FTRACE_WITH_DIRECT_CALLS", (
        u.BPF_TRACE_FENTRY_MULTI, u.BPF_TRACE_FEXIT_MULTI, u.BPF_TRACE_FSESSION_MULTI,
    )),
)  # fmt: skip

#: What has an attach type of its own only since then; the same programs were attached before.
NAMED_LATER = (u.BPF_XDP, u.BPF_SK_REUSEPORT_SELECT, u.BPF_PERF_EVENT, u.BPF_STRUCT_OPS)

#: flag, since, commit. A kernel refuses flags that it does not know.
LOAD_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("BPF_F_STRICT_ALIGNMENT", "4.12", "e07b98d9bffe"),
    ("BPF_F_ANY_ALIGNMENT", "5.0", "e9ee9efc0d17"),
    ("BPF_F_TEST_RND_HI32", "5.3", "c240eff63a1c"),
    ("BPF_F_TEST_STATE_FREQ", "5.4", "10d274e880eb"),
    ("BPF_F_SLEEPABLE", "5.10", "1e6c62a88215"),
    ("BPF_F_XDP_HAS_FRAGS", "5.18", "c2f2cdbeffda"),
    ("BPF_F_TEST_REG_INVARIANTS", "6.8", "ff8867af01da"),
)
