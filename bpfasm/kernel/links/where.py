"""Where programs are attached, in words, as lists and errors say it."""

from __future__ import annotations

from bpfasm.kernel.base.words import attach_type
from bpfasm.uapi.bpf import BPF_TCX_EGRESS, BPF_TCX_INGRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.links.network.netlink import Filter

#: The rows of programs of a device.
TCX = (BPF_TCX_INGRESS, BPF_TCX_EGRESS)


def device(ifindex: int, kind: str, attached: int = 0) -> str:
    """Return ``tcx eth0 ingress``; ``attached`` is a BPF_TCX_*, or nothing that a device needs said."""
    from bpfasm.kernel.links.network.device import name

    if not ifindex:
        return f"{kind} of a device that is gone"
    return f"{kind} {name(ifindex)}" + (f" {attach_type(attached).removeprefix('tcx_')}" if attached in TCX else "")


def tc_filter(found: Filter) -> str:
    """Return ``tc eth0 ingress at 49152``."""
    return f"{device(found.ifindex, 'tc')} {found.direction} at {found.priority}"


def cgroup(folder: str | int, attached: int) -> str:
    """Return ``cgroup /sys/fs/cgroup/a cgroup_inet_ingress``."""
    return f"cgroup {folder} {attach_type(attached)}"


def netns(number: int, attached: int) -> str:
    """Return ``flow_dissector of network namespace 4026531840``."""
    return f"{attach_type(attached)} of network namespace {number}"


def sockmap(map_id: int, attached: int) -> str:
    """Return ``map 12 sk_msg_verdict``."""
    return f"map {map_id} {attach_type(attached)}"
