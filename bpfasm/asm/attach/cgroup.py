"""Cgroups: what the processes of one send, receive, open, bind, set."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi import bpf as u

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

#: What programs of a type are attached to, by a word and the attach type.
_ADDRESSES = {
    "bind4": u.BPF_CGROUP_INET4_BIND,
    "bind6": u.BPF_CGROUP_INET6_BIND,
    "connect4": u.BPF_CGROUP_INET4_CONNECT,
    "connect6": u.BPF_CGROUP_INET6_CONNECT,
    "sendmsg4": u.BPF_CGROUP_UDP4_SENDMSG,
    "sendmsg6": u.BPF_CGROUP_UDP6_SENDMSG,
    "recvmsg4": u.BPF_CGROUP_UDP4_RECVMSG,
    "recvmsg6": u.BPF_CGROUP_UDP6_RECVMSG,
    "getpeername4": u.BPF_CGROUP_INET4_GETPEERNAME,
    "getpeername6": u.BPF_CGROUP_INET6_GETPEERNAME,
    "getsockname4": u.BPF_CGROUP_INET4_GETSOCKNAME,
    "getsockname6": u.BPF_CGROUP_INET6_GETSOCKNAME,
    "connect_unix": u.BPF_CGROUP_UNIX_CONNECT,
    "sendmsg_unix": u.BPF_CGROUP_UNIX_SENDMSG,
    "recvmsg_unix": u.BPF_CGROUP_UNIX_RECVMSG,
    "getpeername_unix": u.BPF_CGROUP_UNIX_GETPEERNAME,
    "getsockname_unix": u.BPF_CGROUP_UNIX_GETSOCKNAME,
}
_SOCKETS = {
    "sock_create": u.BPF_CGROUP_INET_SOCK_CREATE,
    "sock_release": u.BPF_CGROUP_INET_SOCK_RELEASE,
    "post_bind4": u.BPF_CGROUP_INET4_POST_BIND,
    "post_bind6": u.BPF_CGROUP_INET6_POST_BIND,
}

#: What the kernel does when there is a program already: both run, a deeper cgroup's replaces it, or neither may.
_ALLOW = {"multi": u.BPF_F_ALLOW_MULTI, "override": u.BPF_F_ALLOW_OVERRIDE, "none": 0}


class Cgroup(Place):
    """What the processes of a cgroup (version 2) do: its folder, or an fd of it, and the word for what.

    ``allow`` is who else may attach there: ``multi``, ``override`` by a cgroup below, ``none``. ``replaces`` is the
    program that gives way, or an fd of it.
    """

    cgroup: str | int
    hook: str
    allow: str = "multi"
    replaces: Any = None

    hooks: ClassVar[dict[str, int]] = {}
    #: Whether the verifier has to know to what it will be attached.
    told: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.cgroup, str | int) or self.cgroup == "":
            raise refuse(
                f"cgroup() takes a cgroup, not {self.cgroup!r}",
                'give its folder: cgroup("/sys/fs/cgroup/mine", "egress"), or a file descriptor of it',
            )
        if self.allow not in _ALLOW:
            raise refuse(f"cgroup(): allow is {self.allow!r}", f"it is one of {', '.join(_ALLOW)}")
        if self.replaces is not None and self.allow != "multi":
            raise refuse("cgroup(): only with allow='multi' a program gives way to another one", "leave allow out")

    @property
    def attach_type(self) -> int:
        """BPF_CGROUP_*."""
        return self.hooks[self.hook]

    @property
    def flags(self) -> int:
        """BPF_F_ALLOW_*."""
        return _ALLOW[self.allow]

    def told_at_load(self) -> dict[str, Any]:
        """Return what it will be attached to, where that decides what it may do."""
        return {"expected_attach_type": self.attach_type} if self.told else {}

    def __str__(self) -> str:
        return f"cgroup {self.cgroup} {self.hook}"


class CgroupSkb(Cgroup):
    """Packets of the cgroup's sockets. What it returns beside 0 and 1 takes egress as the expected attach type."""

    hooks, takes = (
        {"ingress": u.BPF_CGROUP_INET_INGRESS, "egress": u.BPF_CGROUP_INET_EGRESS},
        (u.BPF_PROG_TYPE_CGROUP_SKB,),
    )


class CgroupSock(Cgroup):
    """Sockets, when they are made, bound, and let go."""

    hooks, told, takes = _SOCKETS, True, (u.BPF_PROG_TYPE_CGROUP_SOCK,)


class CgroupSockAddr(Cgroup):
    """Addresses, as they are given to system calls."""

    hooks, told, takes = _ADDRESSES, True, (u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,)


class CgroupSockopt(Cgroup):
    """Options of sockets."""

    hooks, told, takes = (
        {"getsockopt": u.BPF_CGROUP_GETSOCKOPT, "setsockopt": u.BPF_CGROUP_SETSOCKOPT},
        True,
        (u.BPF_PROG_TYPE_CGROUP_SOCKOPT,),
    )


class CgroupDevice(Cgroup):
    """Devices, when they are opened or made."""

    hooks, takes = {"dev": u.BPF_CGROUP_DEVICE}, (u.BPF_PROG_TYPE_CGROUP_DEVICE,)


class CgroupSysctl(Cgroup):
    """Reading and writing sysctls."""

    hooks, takes = {"sysctl": u.BPF_CGROUP_SYSCTL}, (u.BPF_PROG_TYPE_CGROUP_SYSCTL,)


class CgroupSockOps(Cgroup):
    """TCP's states and events."""

    hooks, takes = {"sock_ops": u.BPF_CGROUP_SOCK_OPS}, (u.BPF_PROG_TYPE_SOCK_OPS,)


CLASSES = (CgroupSkb, CgroupSock, CgroupSockAddr, CgroupSockopt, CgroupDevice, CgroupSysctl, CgroupSockOps)


def cgroup(cgroup: str | int, hook: str, *, allow: str = "multi", replace: Any = None) -> Cgroup:
    """Attach to what the processes of a cgroup do, and of those below: ``cgroup("/sys/fs/cgroup/mine", "connect4")``.

    ``hook`` is ``ingress`` or ``egress`` (a program of type CGROUP_SKB); ``sock_create``, ``sock_release``,
    ``post_bind4`` or 6 (CGROUP_SOCK); ``bind4``, ``connect4``, ``sendmsg4``, ``recvmsg4``, ``getpeername4``,
    ``getsockname4``, the same with 6, and but for bind with ``_unix`` (CGROUP_SOCK_ADDR); ``getsockopt``,
    ``setsockopt`` (CGROUP_SOCKOPT); ``dev`` (CGROUP_DEVICE); ``sysctl`` (CGROUP_SYSCTL); ``sock_ops`` (SOCK_OPS).

    ``allow`` other than ``multi``, and ``replace``, are for ``mode="prog_attach"``: with ``override`` a program of a
    cgroup below takes this one's place, with ``none`` there may be none. ``replace`` is the program that gives way.
    (4.10; a link 5.7, ``replace`` 5.6)
    """
    for kind in CLASSES:
        if hook in kind.hooks:
            return kind(cgroup, hook, allow, replace)
    raise refuse(
        f"cgroup(): {hook!r} is nothing to attach to",
        f"it is one of {', '.join(w for k in CLASSES for w in k.hooks)}",
    )
