"""Sockets: what one receives, which of several gets it, what a map of them passes on, and network namespaces'."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi import bpf as u

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class _OnSocket(Place):
    """A socket, or an fd of one."""

    socket: Any

    word: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.socket, int) and not hasattr(self.socket, "setsockopt"):
            raise refuse(f"{self.word}() takes a socket, not {self.socket!r}", "a file descriptor of one does, too")

    @property
    def number(self) -> int:
        """The file descriptor; negative when the socket was closed."""
        return self.socket if isinstance(self.socket, int) else int(self.socket.fileno())

    def __str__(self) -> str:
        return f"{self.word} of fd {self.number}"


class SocketFilter(_OnSocket):
    """What a socket receives."""

    word, takes = "socket_filter", (u.BPF_PROG_TYPE_SOCKET_FILTER,)


class Reuseport(_OnSocket):
    """Which of the sockets that share an address gets a packet or a connection."""

    word, takes = "reuseport", (u.BPF_PROG_TYPE_SK_REUSEPORT, u.BPF_PROG_TYPE_SOCKET_FILTER)


class _OnSockmap(Place):
    """A map of sockets, declared, loaded, or an fd, and what its programs decide."""

    map: Any
    hook: str

    hooks: ClassVar[dict[str, int]] = {}

    @property
    def attach_type(self) -> int:
        """BPF_SK_SKB_*, BPF_SK_MSG_VERDICT."""
        return self.hooks[self.hook]

    def __str__(self) -> str:
        return f"sockmap {getattr(getattr(self.map, 'spec', self.map), 'name', self.map)} {self.hook}"


class SockmapSkb(_OnSockmap):
    """What arrives at the sockets of a map."""

    hooks, takes = (
        {
            "stream_parser": u.BPF_SK_SKB_STREAM_PARSER,
            "stream_verdict": u.BPF_SK_SKB_STREAM_VERDICT,
            "verdict": u.BPF_SK_SKB_VERDICT,
        },
        (u.BPF_PROG_TYPE_SK_SKB,),
    )


class SockmapMsg(_OnSockmap):
    """What is sent by the sockets of a map."""

    hooks, takes = {"msg_verdict": u.BPF_SK_MSG_VERDICT}, (u.BPF_PROG_TYPE_SK_MSG,)


ON_SOCKMAPS: tuple[type[SockmapSkb] | type[SockmapMsg], ...] = (SockmapSkb, SockmapMsg)


class _OnNetns(Place):
    """A network namespace: its name, a path of it, an fd; empty is this process's."""

    netns: str | int = ""

    word: ClassVar[str] = ""
    attach_type: ClassVar[int] = 0

    def __str__(self) -> str:
        return f"{self.word}{f' of {self.netns}' if self.netns else ''}"


class SkLookup(_OnNetns):
    """Which socket gets what arrives."""

    word, attach_type, takes = "sk_lookup", u.BPF_SK_LOOKUP, (u.BPF_PROG_TYPE_SK_LOOKUP,)

    def told_at_load(self) -> dict[str, Any]:
        """Return the one attach type that there is."""
        return {"expected_attach_type": u.BPF_SK_LOOKUP}


class FlowDissector(_OnNetns):
    """What the headers of a packet say."""

    word, attach_type, takes = "flow_dissector", u.BPF_FLOW_DISSECTOR, (u.BPF_PROG_TYPE_FLOW_DISSECTOR,)


def socket_filter(socket: Any) -> SocketFilter:
    """Let the program say how much of each packet a socket receives, 0 nothing: ``socket_filter(sock)``.

    A socket has one. It stays until the link is closed, or the socket. The program's type is
    BPF_PROG_TYPE_SOCKET_FILTER. (3.19)
    """
    return SocketFilter(socket)


def reuseport(socket: Any) -> Reuseport:
    """Let the program choose among the sockets that share an address by SO_REUSEPORT; ``socket`` is one of them.

    A program of type BPF_PROG_TYPE_SK_REUSEPORT calls ``bpf_sk_select_reuseport()``; one of type
    BPF_PROG_TYPE_SOCKET_FILTER returns the index. (4.19; 4.5)
    """
    return Reuseport(socket)


def sockmap(map: Any, hook: str) -> Place:
    """Attach to a map of sockets: ``sockmap(pairs, "stream_verdict")``.

    ``hook`` is ``stream_parser``, ``stream_verdict`` or ``verdict``, without a parser (5.13): programs of type
    BPF_PROG_TYPE_SK_SKB, for what arrives; or ``msg_verdict``, of type BPF_PROG_TYPE_SK_MSG, for what is sent. (4.14;
    a link 6.10)
    """
    for kind in ON_SOCKMAPS:
        if hook in kind.hooks:
            return kind(map, hook)
    raise refuse(
        f"sockmap(): {hook!r} is nothing to attach to",
        f"it is one of {', '.join(w for k in ON_SOCKMAPS for w in k.hooks)}",
    )


def sk_lookup(netns: str | int = "") -> SkLookup:
    """Let the program choose the socket for what arrives in a network namespace: ``bpf_sk_assign()``. (5.9)

    ``netns`` is a name of `ip netns`, a path (``/proc/PID/ns/net``) or a file descriptor; empty is this process's.
    """
    return SkLookup(netns)


def flow_dissector(netns: str | int = "") -> FlowDissector:
    """Let the program read the headers of packets in a network namespace, in the kernel's own place. (4.20)

    Where the first namespace has one, no other may have its own. ``netns`` is as in ``sk_lookup()``.
    """
    return FlowDissector(netns)
