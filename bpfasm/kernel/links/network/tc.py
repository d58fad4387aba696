"""Attaching to network devices as filters of tc, by netlink: on any kernel, on the device's clsact qdisc."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EINVAL, ENODEV, ENOENT

from bpfasm.errors import KernelError
from bpfasm.kernel.links import signature
from bpfasm.kernel.links.network import netlink
from bpfasm.kernel.links.network.device import index, no_device
from bpfasm.kernel.links.placed import PlacedLink
from bpfasm.syscall.owner import this_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.device import Tc
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.links.network.netlink import Filter
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("netlink",)

#: At the end of a filter's name, which begins with its owner's tag: the qdisc is ours, and goes with the last filter.
#: The qdisc itself has no room for a name.
_OURS = "+clsact"


def open_link(program: LoadedProgram, where: Tc, mode: str = "auto") -> Link:
    """Make a filter; it outlives its process. ``link.target`` has the priority and handle that it got.

    Raises FeatureMissing, KernelError.
    """
    at = index(where.device)
    sign = signature.signing("tc", netns=signature.netns(), ifindex=at)
    sign(program)
    try:
        name = _first(at, where, program.fd) or _another(at, where, program.fd)
        # Which priority and handle the kernel picked is read back, and which program is there.
        (got,) = [each for each in netlink.filters(at) if each.name == name]
    except OSError as error:
        raise _refusal(program, where, error.errno or 0) from None
    target = where.replace(priority=got.priority, handle=got.handle)

    def exchange(new: int, _old: int) -> None:
        if current(at, name) is None:
            raise _refusal(program, target, ENOENT)
        _put(at, target, new, name, replace=True)

    return PlacedLink(program, target, "netlink", lambda _: remove(at, name), exchange=exchange, signed=sign)


def _first(at: int, where: Tc, fd: int) -> str:
    """Make the qdisc and its first filter, and return that one's name; "" where there is a qdisc."""
    if netlink.has_clsact(at):
        return ""
    name = this_process().tag() + _OURS
    try:
        netlink.add_clsact_and_filter(at, where.direction, fd, name, priority=where.priority, handle=where.handle)
    except OSError as error:
        if error.errno == EEXIST:  # somebody has made one meanwhile
            mine = current(at, name)
            if mine:
                netlink.remove_filter(mine)
            return ""
        drop_clsact(at)
        raise
    return name


def _another(at: int, where: Tc, fd: int) -> str:
    """Make a filter of a qdisc that is there, and return its name."""
    ours = any(each.name.endswith(_OURS) for each in netlink.filters(at))
    name = this_process().tag() + _OURS * ours
    _put(at, where, fd, name, replace=where.replaces)
    return name


def _put(at: int, where: Tc, fd: int, name: str, *, replace: bool) -> None:
    netlink.add_filter(at, where.direction, fd, name, priority=where.priority, handle=where.handle, replace=replace)


def current(at: int, name: str) -> Filter | None:
    """Return the filter of a name, None where it, or its device, is gone."""
    try:
        return next((each for each in netlink.filters(at) if each.name == name), None)
    except OSError as error:
        if error.errno != ENODEV:
            raise
        return None


def remove(at: int, name: str) -> None:
    """Take a filter away, and with the last one the qdisc if it is ours. Raises OSError."""
    found = current(at, name)
    if found is None:
        return
    if name.endswith(_OURS) and len(netlink.filters(at)) == 1:
        netlink.remove_clsact(at)  # and the filter: a process that is killed between the two would leave a qdisc
    else:
        netlink.remove_filter(found)


def drop_clsact(at: int) -> None:
    """Take the qdisc away where it has no filters."""
    if not netlink.filters(at):
        netlink.remove_clsact(at)


def _refusal(program: LoadedProgram, where: Tc, number: int) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.links.refused import not_attached

    if number == ENODEV:
        return no_device(where.device, number)
    what = f"{program.name} was not attached at {where}"
    if number in (EEXIST, EBUSY):
        return KernelError(
            number,
            f"{what}: there is a filter of this priority and handle, or a qdisc that is not clsact",
            "`tc filter show` and `tc qdisc show` have them; leave the handle out, or take replace=True",
            rule="tc-busy",
        )
    dos = {
        ENOENT: "the kernel is built without clsact or cls_bpf, or the filter is gone: `tc filter show`",
        EINVAL: "there is a filter of this priority that is not a program: take another one",
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
