"""Attaching to network devices, where packets arrive (XDP): by a link (from kernel 5.9 on), or by netlink."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.network.device import index, no_device
from bpfasm.kernel.links.placed import PlacedLink
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_XDP
from bpfasm.uapi.if_link import (
    XDP_FLAGS_DRV_MODE,
    XDP_FLAGS_HW_MODE,
    XDP_FLAGS_REPLACE,
    XDP_FLAGS_SKB_MODE,
    XDP_FLAGS_UPDATE_IF_NOEXIST,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.device import Xdp
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "netlink")

_FLAGS = {"": 0, "skb": XDP_FLAGS_SKB_MODE, "drv": XDP_FLAGS_DRV_MODE, "hw": XDP_FLAGS_HW_MODE}


def open_link(program: LoadedProgram, where: Xdp, mode: str = "auto") -> Link:
    """Attach to a device; ``auto`` takes a link where there are such, and nothing is to be replaced.

    By netlink the program outlives its process. ``link.target.via`` is then how it runs, which was read back.
    Raises FeatureMissing, KernelError.
    """
    at = index(where.device)
    if mode == "link" and where.replaces is not None:
        raise FeatureMissing(
            f"{where}: a link replaces nothing but its own program, by update()",
            'leave replace out, or attach with mode="netlink"',
            rule="xdp-link",
        )
    if mode != "netlink" and where.replaces is None:
        try:
            fd = bpf.link_create(prog_fd=program.fd, target_ifindex=at, attach_type=BPF_XDP, flags=_FLAGS[where.via])
            return Link(fd, program, where, "link")
        except OSError as error:
            number = error.errno or 0
        if number != EINVAL or mode == "link" or _links():
            raise _refusal(program, where, number)
    return _by_netlink(program, where, at)


def _links() -> bool:
    """Return whether this kernel has links of XDP."""
    from bpfasm.kernel.features import ask
    from bpfasm.syscall.probe.answer import NO

    return ask("link/xdp").state != NO


def _by_netlink(program: LoadedProgram, where: Xdp, at: int) -> Link:
    """Attach by netlink, where nothing is yet, or what is to be replaced."""
    from bpfasm.kernel.links import signature
    from bpfasm.kernel.links.network import netlink

    sign = signature.signing("xdp", netns=signature.netns(), ifindex=at)
    sign(program)
    old = where.replaces if where.replaces is None or isinstance(where.replaces, int) else where.replaces.fd
    how = XDP_FLAGS_UPDATE_IF_NOEXIST if old is None else XDP_FLAGS_REPLACE
    try:
        netlink.set_xdp(at, program.fd, _FLAGS[where.via] | how, old)
    except OSError as error:
        raise _refusal(program, where, error.errno or 0) from None
    # Taking a program away without saying how it runs succeeds, and leaves it: so it is asked how.
    mine = program.info().id
    via = next((via for via, id in netlink.xdp(at).get(at, {}).items() if id == mine), where.via)
    flags = _FLAGS[via] | XDP_FLAGS_REPLACE

    def exchange(new: int, old: int) -> None:
        try:
            netlink.set_xdp(at, new, flags, old)
        except OSError as error:
            raise _refusal(program, where.replace(replaces=old), error.errno or 0) from None

    def undo(fd: int) -> None:
        take_away(at, via, fd)

    return PlacedLink(program, where.replace(via=via), "netlink", undo, exchange=exchange, signed=sign)


def take_away(at: int, via: str, fd: int) -> None:
    """Take a program that runs ``via`` a way off a device, if it is the one that is there. Raises OSError."""
    from bpfasm.kernel.links.network import netlink

    try:
        netlink.set_xdp(at, -1, _FLAGS[via] | XDP_FLAGS_REPLACE, fd)
    except OSError as error:
        # Somebody else's program is there by now, or none, or the device is gone.
        if error.errno not in (EEXIST, ENODEV, ENOENT):
            raise


def _refusal(program: LoadedProgram, where: Xdp, number: int) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.links.refused import not_attached

    if number == ENODEV:
        return no_device(where.device, number)
    what = f"{program.name} was not attached at {where}"
    if number == EBUSY or (number == EEXIST and where.replaces is None):
        return KernelError(
            number,
            f"{what}: another program is there already",
            "`bpfasm prog list` and `ip link show` say which; one that was attached by netlink gives way to replace=",
            rule="xdp-busy",
        )
    if number == EEXIST:
        return KernelError(
            number,
            f"{what}: the program there is not the one that was to give way, or runs otherwise (skb, drv)",
            "`ip link show` says which program it is, and how it runs",
            rule="xdp-busy",
        )
    dos = {
        EOPNOTSUPP: 'the driver of the device has no XDP: xdp(..., via="skb") runs on any device',
        EINVAL: 'the device cannot run it so, by its MTU or its settings (dmesg may tell): try xdp(..., via="skb")',
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
