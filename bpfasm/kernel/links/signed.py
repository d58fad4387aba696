"""Programs that outlive their process and carry its name: whether they are still attached, and taking them away."""

from __future__ import annotations

import os

from bpfasm.errors import BpfasmError
from bpfasm.kernel import query
from bpfasm.kernel.links import where
from bpfasm.kernel.objects import ids
from bpfasm.syscall import namespaces
from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpfasm.kernel.links.signature import Signature


class _Found(Value):
    """A program that is there: in words, and what takes it away, given an fd of it."""

    text: str
    prog_id: int
    remove: Callable[[int], None]


def place(signed: Signature) -> tuple[str, int] | None:
    """Return where a signed program is attached, in words, and its id; None where it is not, or cannot be seen."""
    found: list[tuple[str, int]] = []
    try:
        _there(signed, lambda each: found.append((each.text, each.prog_id)))
    except (BpfasmError, OSError):
        return None  # the device is gone, or it is not ours to look at
    return found[0] if found else None


def remove(signed: Signature) -> None:
    """Take a signed program away; another one that is in its place stays. Raises OSError."""

    def take(found: _Found) -> None:
        fd = ids.open_id("prog", found.prog_id)
        if fd is not None:
            try:
                found.remove(fd)
            finally:
                os.close(fd)

    _there(signed, take)


def _there(signed: Signature, use: Callable[[_Found], None]) -> None:
    """Find a program and use what was found, in its network namespace."""
    find = _FIND.get(signed.kind)
    if find is None:
        return  # of a later bpfasm
    if signed.kind == "cgroup":
        _use(find(signed), signed, use)
        return
    path = namespaces.netns_path(signed.where["netns"])
    if path is not None:
        with namespaces.inside(path):
            _use(find(signed), signed, use)


def _use(candidates: Iterable[_Found], signed: Signature, use: Callable[[_Found], None]) -> None:
    for each in candidates:
        if _has(each.prog_id, signed.map_id):
            return use(each)


def _has(prog_id: int, map_id: int) -> bool:
    """Return whether a program has the map that was bound to it."""
    from bpfasm.kernel.programs.info import prog_info

    fd = ids.open_id("prog", prog_id)
    if fd is None:
        return False
    try:
        return map_id in prog_info(fd).map_ids
    finally:
        os.close(fd)


def _xdp(signed: Signature) -> Iterable[_Found]:
    from bpfasm.kernel.links.network import netlink
    from bpfasm.kernel.links.network.xdp import take_away

    at = signed.where["ifindex"]
    for via, prog_id in netlink.xdp(at).get(at, {}).items():
        yield _Found(f"{where.device(at, 'xdp')} {via}", prog_id, lambda fd, via=via: take_away(at, via, fd))  # type: ignore[misc]


def _tc(signed: Signature) -> Iterable[_Found]:
    from bpfasm.kernel.links.network import netlink, tc

    at = signed.where["ifindex"]
    for each in netlink.filters(at):
        yield _Found(where.tc_filter(each), each.prog_id, lambda _, called=each.name: tc.remove(at, called))  # type: ignore[misc]


def _flow(signed: Signature) -> Iterable[_Found]:
    from bpfasm.kernel.links.network.flow_dissector import undo
    from bpfasm.kernel.links.network.netns import netns_fd

    with netns_fd("") as fd:
        found = query.ask(fd, bpf.BPF_FLOW_DISSECTOR).prog_ids
    for prog_id in found:
        yield _Found(where.netns(signed.where["netns"], bpf.BPF_FLOW_DISSECTOR), prog_id, undo)


def _cgroup(signed: Signature) -> Iterable[_Found]:
    from bpfasm.kernel.links.cgroup import detach

    kind = signed.where["attach_type"]
    for folder in query.mounted_cgroups():
        try:
            if os.stat(folder).st_ino != signed.where["cgroup"]:
                continue
            fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it went meanwhile
        try:
            for prog_id in query.ask(fd, kind).prog_ids:
                yield _Found(
                    where.cgroup(folder, kind),
                    prog_id,
                    lambda prog, fd=fd: detach(fd, kind, prog),  # type: ignore[misc]
                )
        finally:
            os.close(fd)


_FIND: dict[str, Callable[[Signature], Iterable[_Found]]] = {
    "xdp": _xdp,
    "tc": _tc,
    "flow": _flow,
    "cgroup": _cgroup,
}
