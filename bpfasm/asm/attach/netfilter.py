"""Netfilter hooks: where packets pass by in the IP layer, in an order of priorities."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi.bpf import BPF_NETFILTER, BPF_PROG_TYPE_NETFILTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What packets are, and where they are met, by the names of the uapi.
_PROTOCOLS = {"ipv4": "NFPROTO_IPV4", "ipv6": "NFPROTO_IPV6"}
_HOOKS = ("pre_routing", "local_in", "forward", "local_out", "post_routing")


class Netfilter(Place):
    """A hook of netfilter: of ``ipv4`` or ``ipv6``, where, and at which ``priority``; the lowest is first.

    ``defrag`` has the fragments of a packet put together before.
    """

    protocol: str
    hook: str
    priority: int
    defrag: bool = False

    takes = (BPF_PROG_TYPE_NETFILTER,)

    def __post_init__(self) -> None:
        for word, known in ((self.protocol, tuple(_PROTOCOLS)), (self.hook, _HOOKS)):
            if word not in known:
                raise refuse(
                    f"netfilter(): {word!r} is none of {', '.join(known)}",
                    'write netfilter("ipv4", "local_in", priority=-128)',
                )

    @property
    def numbers(self) -> tuple[int, int]:
        """NFPROTO_* and NF_INET_*."""
        from bpfasm.uapi import netfilter as uapi

        return getattr(uapi, _PROTOCOLS[self.protocol]), getattr(uapi, f"NF_INET_{self.hook.upper()}")

    def told_at_load(self) -> dict[str, Any]:
        """Return the one attach type that there is."""
        return {"expected_attach_type": BPF_NETFILTER}

    def __str__(self) -> str:
        return f"netfilter {self.protocol} {self.hook} at {self.priority}"


def netfilter(protocol: str, hook: str, *, priority: int, defrag: bool = False) -> Netfilter:
    """Attach at a hook of netfilter, in this network namespace: ``netfilter("ipv4", "local_in", priority=-128)``.

    The program returns NF_DROP (0) or NF_ACCEPT (1). ``hook`` is pre_routing, local_in, forward, local_out or
    post_routing. A priority has one BPF program at most, and is neither the lowest number nor the highest; those of
    iptables' tables are NF_IP_PRI_* of linux/netfilter_ipv4.h. The program's type is BPF_PROG_TYPE_NETFILTER. (6.4)
    """
    return Netfilter(protocol, hook, priority, defrag)
