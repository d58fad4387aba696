"""Programs on network devices by rtnetlink: XDP, and tc's filters; by pyroute2, and the only importer of it.

Everything is of the network namespace that the process is in when it asks. Raises OSError with the kernel's errno,
and FeatureMissing without pyroute2.
"""

from __future__ import annotations

from contextlib import contextmanager
from errno import EINVAL, ENOENT
from os import strerror
from socket import AF_NETLINK, SOCK_RAW, socket
from struct import unpack_from

from bpfasm.errors import FeatureMissing
from bpfasm.uapi import if_link, pkt_cls
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: The flag of each way to run XDP, and the attribute that has the program of it, where there are several.
VIA = {
    "skb": (if_link.XDP_FLAGS_SKB_MODE, "IFLA_XDP_SKB_PROG_ID"),
    "drv": (if_link.XDP_FLAGS_DRV_MODE, "IFLA_XDP_DRV_PROG_ID"),
    "hw": (if_link.XDP_FLAGS_HW_MODE, "IFLA_XDP_HW_PROG_ID"),
}

#: The parents of tc's filters: TC_H_CLSACT with the minor numbers TC_H_MIN_INGRESS, _EGRESS (linux/pkt_sched.h).
_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}

#: ETH_P_ALL in network byte order, as a filter has it.
_ALL_PROTOCOLS = 0x0300

#: struct nlmsghdr, before an answer's errno; and room for an answer, which has the request in it.
_HEADER_BYTES = 16
_ANSWER_BYTES = 1 << 16

#: Length and type, before an attribute's value.
_ATTRIBUTE_HEADER = 4


class Filter(Value):
    """A filter of tc that is a program: where it is, which program, and what it is called."""

    ifindex: int
    direction: str
    priority: int
    handle: int
    prog_id: int
    name: str


def _pyroute2() -> Any:
    """Return the package; raise FeatureMissing where it is not installed."""
    try:
        import pyroute2
    except ImportError:
        raise FeatureMissing(
            "netlink is spoken by pyroute2, which is not installed",
            "pip install pyroute2; links need none of it: xdp() from 5.9 on, tcx() from 6.6 on",
            rule="no-pyroute",
        ) from None
    return pyroute2


@contextmanager
def _iproute() -> Iterator[Any]:
    """Open rtnetlink; the errors of pyroute2 become OSError."""
    package = _pyroute2()
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with package.IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        raise OSError(error.code, f"netlink: {error}") from None


@contextmanager
def _one_message() -> Iterator[Any]:
    """Collect requests of rtnetlink and send them together: who is killed has made all of them, or none."""
    with _pyroute2().IPBatch() as ip:
        yield ip
        data = bytes(ip.batch)
    with socket(AF_NETLINK, SOCK_RAW) as kernel:
        kernel.send(data)
        while data:
            # An answer for each, in order; the kernel goes on after one that it refuses.
            (number,) = unpack_from("=i", kernel.recv(_ANSWER_BYTES), _HEADER_BYTES)
            if number:
                raise OSError(-number, f"netlink: {strerror(-number)}")
            data = data[unpack_from("=I", data)[0] :]


# XDP


def set_xdp(ifindex: int, fd: int, flags: int, expected: int | None = None) -> None:
    """Put a program on a device, or take it away (``fd`` -1); ``flags`` are XDP_FLAGS_*, ``expected`` is an fd."""
    attributes: list[Any] = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", flags)]
    if expected is not None:
        attributes.append(("IFLA_XDP_EXPECTED_FD", expected))
    with _iproute() as ip:
        # Before 0.9, which is later than Debian 13's, pyroute2 writes the flags as two bytes in network byte order.
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        ifinfmsg.xdp.xdp_flags.fields = [("value", "I")]
        ip.link("set", index=ifindex, xdp={"attrs": attributes})


def xdp(ifindex: int | None = None) -> dict[int, dict[str, int]]:
    """Return the programs of XDP by device and how it is run (``skb``, ``drv``, ``hw``): the id of each."""
    found = {}
    with _iproute() as ip:
        for link in ip.get_links(*([] if ifindex is None else [ifindex])):
            said = link.get_attr("IFLA_XDP")
            programs = _xdp(said) if said is not None else {}
            if programs:
                found[link["index"]] = programs
    return found


def _xdp(said: Any) -> dict[str, int]:
    # Older kernels have one program, and a number for how it is run; newer ones name that of each.
    several = {via: said.get_attr(name) for via, (_, name) in VIA.items() if said.get_attr(name)}
    one = said.get_attr("IFLA_XDP_PROG_ID")
    how = {"xdp": "drv", "xdpgeneric": "skb", "xdpoffload": "hw"}.get(said.get_attr("IFLA_XDP_ATTACHED"))
    return several or ({how: one} if how and one else {})


# tc


def has_clsact(ifindex: int) -> bool:
    """Return whether a device has a clsact qdisc."""
    with _iproute() as ip:
        return any(each.get_attr("TCA_KIND") == "clsact" for each in ip.get_qdiscs(index=ifindex))


def add_clsact(ifindex: int) -> None:
    """Make a device's clsact qdisc; EEXIST where there is one."""
    with _iproute() as ip:
        ip.tc("add", "clsact", ifindex)


def remove_clsact(ifindex: int) -> None:
    """Take away a device's clsact qdisc."""
    try:
        with _iproute() as ip:
            ip.tc("del", "clsact", ifindex)
    except OSError as error:
        if error.errno not in (ENOENT, EINVAL):
            raise


def filters(ifindex: int | None = None) -> list[Filter]:
    """Return the filters of a device, or of all, that are programs; other kinds have a ``prog_id`` of 0."""
    found = []
    with _iproute() as ip:
        for device in [link["index"] for link in ip.get_links()] if ifindex is None else [ifindex]:
            for direction, parent in _PARENTS.items():
                try:
                    messages = list(ip.get_filters(index=device, parent=parent))
                except Exception as error:  # pyroute2's own class, which has the errno
                    if getattr(error, "code", 0) not in (EINVAL, ENOENT):
                        raise
                    continue  # without a clsact qdisc
                found += [_filter(each, direction) for each in messages if each["handle"]]
    return found


def _filter(message: Any, direction: str) -> Filter:
    options = message.get_attr("TCA_OPTIONS")
    program = message.get_attr("TCA_KIND") == "bpf" and options is not None
    return Filter(
        message["index"],
        direction,
        message["info"] >> 16,
        message["handle"],
        _program_of(options) if program else 0,
        (options.get_attr("TCA_BPF_NAME") or "") if program else "",
    )


def _program_of(options: Any) -> int:
    """Return the id of a filter's program; pyroute2 0.9 has no name for the attribute, and leaves its bytes."""
    for name, value in options["attrs"]:
        if name == "TCA_BPF_ID":
            return int(value)
        if name == "UNKNOWN" and value["header"]["type"] == pkt_cls.TCA_BPF_ID:
            return int(unpack_from("=I", value.data, value.offset + _ATTRIBUTE_HEADER)[0])
    return 0


def add_filter(
    ifindex: int, direction: str, fd: int, name: str, *, priority: int, handle: int, replace: bool = False
) -> None:
    """Make a filter that is a program and decides itself; ``priority`` and ``handle`` 0 are the kernel's choice."""
    with _iproute() as ip:
        _filter_request(
            ip, "replace-filter" if replace else "add-filter", ifindex, direction, fd, name, priority, handle
        )


def add_clsact_and_filter(ifindex: int, direction: str, fd: int, name: str, *, priority: int, handle: int) -> None:
    """Make a device's clsact qdisc and its first filter, in one go; EEXIST: only the filter, the qdisc was there."""
    with _one_message() as ip:
        ip.tc("add", "clsact", ifindex)
        _filter_request(ip, "add-filter", ifindex, direction, fd, name, priority, handle)


def _filter_request(
    ip: Any, command: str, ifindex: int, direction: str, fd: int, name: str, priority: int, handle: int
) -> None:
    ip.tc(
        command,
        "bpf",
        ifindex,
        handle,
        parent=_PARENTS[direction],
        info=priority << 16 | _ALL_PROTOCOLS,
        fd=fd,
        name=name,
        flags=pkt_cls.TCA_BPF_FLAG_ACT_DIRECT,
    )


def remove_filter(found: Filter) -> None:
    """Take a filter away."""
    with _iproute() as ip:
        ip.tc(
            "del-filter",
            "bpf",
            found.ifindex,
            found.handle,
            parent=_PARENTS[found.direction],
            info=found.priority << 16 | _ALL_PROTOCOLS,
        )
