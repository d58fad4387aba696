"""Network devices: XDP, where a packet has just arrived, and tc, where it comes in to or leaves the stack."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi.bpf import BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP, BPF_TCX_EGRESS, BPF_TCX_INGRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Where in XDP a program may run, by the kernel's word (XDP_FLAGS_*_MODE), and what else it is called.
_VIA = {"skb": "skb", "generic": "skb", "drv": "drv", "native": "drv", "hw": "hw", "offload": "hw", "": ""}
_DIRECTIONS = {"ingress": BPF_TCX_INGRESS, "egress": BPF_TCX_EGRESS}


class _OnDevice(Place):
    """A place on a network device of this network namespace: its name, or its index."""

    device: str | int

    def __post_init__(self) -> None:
        good = bool(self.device) if isinstance(self.device, str) else self.device > 0
        if not good:
            raise refuse(f"{self.device!r} is no network device", 'give its name, "eth0", or its index')


class Xdp(_OnDevice):
    """XDP on a device; ``via`` is ``skb``, ``drv``, ``hw``, or empty: the driver's, where it has one.

    ``replaces`` is the program that is there and gives way, or an fd of it.
    """

    via: str = ""
    replaces: Any = None

    takes = (BPF_PROG_TYPE_XDP,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.via not in _VIA:
            raise refuse(
                f"xdp(): {self.via!r} is none of skb (generic), drv (native), hw (offload)",
                "leave it out, and the driver runs it where it can",
            )
        self._set(via=_VIA[self.via])

    def __str__(self) -> str:
        return f"xdp {self.device}{f' {self.via}' if self.via else ''}"


class _Tc(_OnDevice):
    """Where packets come in (``ingress``) or go out (``egress``)."""

    direction: str

    takes = (BPF_PROG_TYPE_SCHED_CLS,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in _DIRECTIONS:
            raise refuse(f"{self.direction!r} is no direction of tc", 'it is "ingress" or "egress"')


class Tc(_Tc):
    """A filter of the device's clsact qdisc; with ``priority`` and ``handle`` 0 the kernel picks them.

    ``replaces`` puts the program in the place of the filter that has this priority and handle.
    """

    priority: int = 0
    handle: int = 0
    replaces: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.priority < 1 << 16 or not 0 <= self.handle < 1 << 32:
            raise refuse("tc(): a priority has 16 bits, a handle 32", "leave them out, and the kernel picks them")
        if self.replaces and not (self.priority and self.handle):
            raise refuse("tc(): what is replaced has a priority and a handle", "`tc filter show` has them")

    def __str__(self) -> str:
        return f"tc {self.device} {self.direction}{f' at {self.priority}' if self.priority else ''}"


class Tcx(_Tc):
    """A place in a device's row of programs: before or after another one, at its head or its end.

    ``before`` and ``after`` are a program or a link that is there. ``revision`` is the row's number that is expected.
    """

    before: Any = None
    after: Any = None
    first: bool = False
    last: bool = False
    revision: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.before is not None) + (self.after is not None) + self.first + self.last > 1:
            raise refuse("tcx() takes one of before, after, first and last", "without any it is last")

    @property
    def attach_type(self) -> int:
        """BPF_TCX_INGRESS or BPF_TCX_EGRESS."""
        return _DIRECTIONS[self.direction]

    def __str__(self) -> str:
        return f"tcx {self.device} {self.direction}"


def xdp(device: str | int, *, via: str = "", replace: Any = None) -> Xdp:
    """Run the program for each packet that a device has received: ``xdp("eth0")``.

    ``via`` says where: ``"drv"`` (or ``"native"``) in the driver, ``"skb"`` (``"generic"``) in the stack, on any
    device, ``"hw"`` in the device itself; empty is the driver where it can. ``replace`` is the program that is there
    now, and gives way only if it is that one; it takes ``mode="netlink"``. The program's type is BPF_PROG_TYPE_XDP.
    (4.8; a link 5.9, ``replace`` 5.7)
    """
    return Xdp(device, via, replace)


def tc(device: str | int, direction: str, *, priority: int = 0, handle: int = 0, replace: bool = False) -> Tc:
    """Run the program for each packet that comes in or goes out: ``tc("eth0", "ingress")``, by a clsact qdisc.

    The program decides itself (``direct-action``): it returns TC_ACT_OK and its kin. Filters run by ``priority``, the
    lowest number first; an equal ``priority`` and ``handle`` is refused, or with ``replace`` gives way. The qdisc is
    made where there is none, and goes with the last filter. The program's type is BPF_PROG_TYPE_SCHED_CLS. (4.5)
    """
    return Tc(device, direction, priority, handle, replace)


def tcx(
    device: str | int,
    direction: str,
    *,
    before: Any = None,
    after: Any = None,
    first: bool = False,
    last: bool = False,
    revision: int = 0,
) -> Tcx:
    """Run the program for each packet that comes in or goes out, without a qdisc: ``tcx("eth0", "egress")``.

    Programs run in a row, before those of ``tc()``: TCX_NEXT (-1) goes on to the next. ``before`` and ``after`` take
    a loaded program or a link. ``revision`` is that of ``bpfasm.kernel.query.query()``: the row is refused if it has
    changed since. The program's type is BPF_PROG_TYPE_SCHED_CLS. (6.6)
    """
    return Tcx(device, direction, before, after, first, last, revision)
