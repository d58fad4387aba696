"""EPERM, explained: the kernel says only "Operation not permitted"; /proc and /sys tell why."""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM

from bpfasm.errors import FeatureMissing
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.syscall import system
from bpfasm.syscall.filtered import filtered
from bpfasm.uapi import bpf, capability

#: The types that need CAP_NET_ADMIN, and those that need CAP_PERFMON (kernel/bpf/syscall.c,
#: is_net_admin_prog_type() and is_perfmon_prog_type()), each with CAP_BPF.
NET_ADMIN_TYPES = (
    bpf.BPF_PROG_TYPE_SCHED_CLS,
    bpf.BPF_PROG_TYPE_SCHED_ACT,
    bpf.BPF_PROG_TYPE_XDP,
    bpf.BPF_PROG_TYPE_LWT_IN,
    bpf.BPF_PROG_TYPE_LWT_OUT,
    bpf.BPF_PROG_TYPE_LWT_XMIT,
    bpf.BPF_PROG_TYPE_LWT_SEG6LOCAL,
    bpf.BPF_PROG_TYPE_SK_SKB,
    bpf.BPF_PROG_TYPE_SK_MSG,
    bpf.BPF_PROG_TYPE_FLOW_DISSECTOR,
    bpf.BPF_PROG_TYPE_CGROUP_DEVICE,
    bpf.BPF_PROG_TYPE_CGROUP_SOCK,
    bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
    bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT,
    bpf.BPF_PROG_TYPE_CGROUP_SYSCTL,
    bpf.BPF_PROG_TYPE_SOCK_OPS,
    bpf.BPF_PROG_TYPE_EXT,
    bpf.BPF_PROG_TYPE_NETFILTER,
)
PERFMON_TYPES = (
    bpf.BPF_PROG_TYPE_KPROBE,
    bpf.BPF_PROG_TYPE_TRACEPOINT,
    bpf.BPF_PROG_TYPE_PERF_EVENT,
    bpf.BPF_PROG_TYPE_RAW_TRACEPOINT,
    bpf.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
    bpf.BPF_PROG_TYPE_TRACING,
    bpf.BPF_PROG_TYPE_LSM,
    bpf.BPF_PROG_TYPE_STRUCT_OPS,
    bpf.BPF_PROG_TYPE_EXT,
)


def needs_of_program(prog_type: int) -> tuple[str, ...]:
    """Return the capabilities that loading a program of this type takes."""
    needs = ["CAP_BPF"]
    if prog_type in PERFMON_TYPES:
        needs.append("CAP_PERFMON")
    if prog_type in NET_ADMIN_TYPES:
        needs.append("CAP_NET_ADMIN")
    return tuple(needs)


def lacking(needs: tuple[str, ...]) -> list[str]:
    """Return those of the capabilities that this process does not have; CAP_SYS_ADMIN stands for each."""
    held = system.capabilities()
    if held >> capability.CAP_SYS_ADMIN & 1:
        return []
    return [name for name in needs if not held >> getattr(capability, name) & 1]


def not_permitted(
    doing: str, needs: tuple[str, ...], errno: str = "EPERM", otherwise: str = IN_THE_LAB, *, memory: int = 0
) -> FeatureMissing:
    """Return why ``doing`` something was refused, and what to do about it, or ``otherwise``.

    ``memory`` is how many bytes it takes at least, where kernels that count locked memory count that.
    """
    missing = lacking(needs)
    if missing:
        return _no_capability(doing, missing, otherwise)
    # The weaker mode, integrity, keeps nobody from tracing.
    if system.lockdown() == "confidentiality":
        return FeatureMissing(
            f"{doing}: the kernel is locked down (confidentiality mode) and refuses it even to root",
            f"boot with lockdown=integrity or none, or {otherwise}",
            rule="lockdown",
        )
    refused = filtered() if system.seccomp() else {}
    if refused:
        names = " and ".join(f"{name}(2)" for name in refused)
        return FeatureMissing(
            f"{doing}: a seccomp filter on this process refuses {names}, as in a container",
            f"allow {' and '.join(refused)} in its profile (docker run --security-opt seccomp=unconfined), "
            f"or {otherwise}",
            rule="seccomp",
        )
    if system.in_user_namespace():
        return FeatureMissing(
            f"{doing}: the capabilities of this process hold in its user namespace only, as in a rootless container",
            f"run it as root of the machine, or {otherwise}",
            rule="privilege",
        )
    limit = system.memlock_limit()[1]
    if limit >= 0 and counts_locked_memory():
        takes = f": it takes {memory} bytes or more, and" if memory else ", and"
        return FeatureMissing(
            f"{doing}: this kernel counts it as locked memory{takes} the limit is {limit} bytes for all that this "
            "user has loaded",
            f"raise the limit (as root): ulimit -l unlimited, or {otherwise}",
            rule="memlock",
        )
    # A filter may let some commands of bpf(2) through, and not others.
    who = "the seccomp filter of this process, or a security module," if system.seccomp() else "a security module"
    return FeatureMissing(
        f"{doing}: the kernel refuses it ({errno}), though this process has {' and '.join(needs)}",
        f"{who} may forbid it: see dmesg; or {otherwise}",
        rule="privilege",
    )


def barred(doing: str, number: int, needs: tuple[str, ...] = (), *, memory: int = 0) -> FeatureMissing | None:
    """Return why a command of bpf(2) was refused to this process, whatever it was about; None for other errnos.

    ``needs`` are the capabilities that it takes: none to use what is open.
    """
    if number == ENOSYS and not system.seccomp():
        return FeatureMissing(f"{doing}: this kernel has no bpf(2) (CONFIG_BPF_SYSCALL)", IN_THE_LAB, rule="no-bpf")
    if number in (EPERM, ENOSYS):
        # Before 5.19 what forbids to load and to create forbids all.
        if not needs and lacking(("CAP_BPF",)) and system.version() < (5, 19) and system.unprivileged_bpf_disabled():
            return unprivileged(doing)
        return not_permitted(doing, needs or ("CAP_BPF",), errno_name(number), memory=memory)
    return None


def event_not_permitted(doing: str, errno: str) -> FeatureMissing:
    """Return why a perf event was refused."""
    paranoid = system.perf_event_paranoid() or 0
    # A patch of Debian and Ubuntu; the kernel's own levels end at 2, and do not touch CAP_PERFMON.
    if paranoid > 2 and not lacking(("CAP_PERFMON",)) and lacking(("CAP_SYS_ADMIN",)):
        return FeatureMissing(
            f"{doing}: kernel.perf_event_paranoid is {paranoid}, which asks for CAP_SYS_ADMIN",
            "sysctl kernel.perf_event_paranoid=2 (as root), or run it with sudo",
            rule="perf-event-paranoid",
        )
    return not_permitted(doing, ("CAP_PERFMON",), errno)


def counts_locked_memory() -> bool:
    """Return whether the kernel counts maps and programs as locked memory (before 5.11).

    Where not even a small map is created any more, trying does not tell; then, for the words, the release does.
    """
    from bpfasm.syscall.probe.answer import UNKNOWN, YES
    from bpfasm.syscall.probe.maps import charged_to_memlock

    state = charged_to_memlock().state
    return state == YES or (state == UNKNOWN and system.version() < _NOT_BY_MEMLOCK)


#: The kernel from which on programs and maps are charged to the memory cgroup.
_NOT_BY_MEMLOCK = (5, 11)


def _no_capability(doing: str, missing: list[str], otherwise: str) -> FeatureMissing:
    words = " and ".join(missing)
    if os.geteuid() == 0:
        return FeatureMissing(
            f"{doing} needs {words}, which root does not have here (a container?)",
            f"give the container {words} (docker run --privileged), or {otherwise}",
            rule="privilege",
        )
    return FeatureMissing(
        f"{doing} needs {words}, and this process is not root",
        f"run it with sudo, or {otherwise}",
        rule="privilege",
    )


def unprivileged(doing: str, otherwise: str = IN_THE_LAB) -> FeatureMissing:
    """Return why ``doing`` what needs no capability by itself was refused to a process without any."""
    setting = system.unprivileged_bpf_disabled()
    until = ", until it boots again" if setting == 1 else ""
    change = "" if setting == 1 else "or, as root, sysctl kernel.unprivileged_bpf_disabled=0; "
    return FeatureMissing(
        f"{doing} needs CAP_BPF here, since kernel.unprivileged_bpf_disabled is {setting}{until}; "
        f"and this process is {'root without it' if os.geteuid() == 0 else 'not root'}",
        f"run it with sudo; {change}or {otherwise}",
        rule="unprivileged",
    )


#: The types that need no capability, where the kernel lets everybody load.
UNPRIVILEGED_TYPES = (bpf.BPF_PROG_TYPE_SOCKET_FILTER, bpf.BPF_PROG_TYPE_CGROUP_SKB)
