"""Where programs are attached, whoever attached them: by links, perf events, netlink, BPF_PROG_ATTACH."""

from __future__ import annotations

import os

from bpfasm.errors import BpfasmError
from bpfasm.kernel import query
from bpfasm.kernel.links import where
from bpfasm.kernel.objects import ids
from bpfasm.kernel.objects.select import every
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as u, names
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ATTACH_TYPES = names(u, "bpf_attach_type")
_FD_TYPES = names(u, "bpf_task_fd_type")

#: What is asked of a cgroup for programs of a type: BPF_CGROUP_* but for LSM's, which are many.
_CGROUP_TYPES = {
    u.BPF_PROG_TYPE_CGROUP_SKB: ("INET_INGRESS", "INET_EGRESS"),
    u.BPF_PROG_TYPE_CGROUP_SOCK: ("INET_SOCK_", "INET4_POST_BIND", "INET6_POST_BIND"),
    u.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: ("INET4_", "INET6_", "UDP4_", "UDP6_", "UNIX_"),
    u.BPF_PROG_TYPE_CGROUP_SOCKOPT: ("GETSOCKOPT", "SETSOCKOPT"),
    u.BPF_PROG_TYPE_CGROUP_DEVICE: ("DEVICE",),
    u.BPF_PROG_TYPE_CGROUP_SYSCTL: ("SYSCTL",),
    u.BPF_PROG_TYPE_SOCK_OPS: ("SOCK_OPS",),
}
_ON_SOCKMAPS = {
    u.BPF_PROG_TYPE_SK_SKB: (u.BPF_SK_SKB_STREAM_PARSER, u.BPF_SK_SKB_STREAM_VERDICT, u.BPF_SK_SKB_VERDICT),
    u.BPF_PROG_TYPE_SK_MSG: (u.BPF_SK_MSG_VERDICT,),
}
_ON_EVENTS = {u.BPF_PROG_TYPE_KPROBE, u.BPF_PROG_TYPE_TRACEPOINT, u.BPF_PROG_TYPE_PERF_EVENT}


class AttachedAt(Value):
    """A place that a program is attached to: ``by`` which mechanism, and in words ``where``.

    ``by`` is ``link``, ``perf``, ``netlink`` or ``prog_attach``; ``id`` is the link's, 0 for the others.
    """

    prog_id: int
    by: str
    where: str
    id: int = 0


def attached(types: Iterable[int]) -> dict[int, list[AttachedAt]]:
    """Return where programs of these types (BPF_PROG_TYPE_*) are attached, by the programs' ids.

    Of devices and network namespaces it is this process's namespace, of cgroups what is mounted here. Sockets do not
    say what is attached to them. Raises FeatureMissing, KernelError.
    """
    wanted = set(types)
    found: dict[int, list[AttachedAt]] = {}
    taken: set[tuple[int, str]] = set()  # programs that links have, and where
    for each in _links():
        found.setdefault(each.prog_id, []).append(each)
        taken.add((each.prog_id, each.where))
    for looks, look in _LOOKS:
        if not wanted & looks:
            continue
        try:
            for each in look(wanted):
                if (each.prog_id, each.where) not in taken:
                    found.setdefault(each.prog_id, []).append(each)
        except (BpfasmError, OSError):
            continue  # this kernel, or this process, cannot ask that
    return found


def _links() -> Iterator[AttachedAt]:
    from bpfasm.kernel.links.info import link_info

    folders: dict[int, str] = {}
    for opened in every("link"):
        info = link_info(opened.fd)
        about = info.details
        if info.kind == "cgroup" and about["cgroup_id"]:
            folders = folders or {os.stat(each).st_ino: each for each in query.mounted_cgroups()}
            folder = folders.get(about["cgroup_id"], about["cgroup_id"])
            place = where.cgroup(folder, about["attach_type"])
        elif info.kind in ("xdp", "tcx"):
            place = where.device(about["ifindex"], info.kind, about.get("attach_type", 0))
        elif info.kind == "netns":
            place = where.netns(about["netns_ino"], about["attach_type"])
        elif info.kind == "sockmap":
            place = where.sockmap(about["map_id"], about["attach_type"])
        else:
            words = (about[name] for name in ("func_name", "tp_name", "file_name", "target_name") if about.get(name))
            place = " ".join((info.kind, *words))
        yield AttachedAt(info.prog_id, "link", place, info.id)


def _xdp(_: set[int]) -> Iterator[AttachedAt]:
    from bpfasm.kernel.links.network import netlink

    for ifindex, programs in netlink.xdp().items():
        for prog_id in programs.values():
            yield AttachedAt(prog_id, "netlink", where.device(ifindex, "xdp"))


def _tc(_: set[int]) -> Iterator[AttachedAt]:
    from bpfasm.kernel.links.network import netlink

    for each in netlink.filters():
        if each.prog_id:
            yield AttachedAt(each.prog_id, "netlink", where.tc_filter(each))


def _tcx(_: set[int]) -> Iterator[AttachedAt]:
    from socket import if_nameindex

    for ifindex, _name in if_nameindex():
        for kind in where.TCX:
            for prog_id in query.ask(ifindex, kind).prog_ids:
                yield AttachedAt(prog_id, "prog_attach", where.device(ifindex, "tcx", kind))


def _cgroups(wanted: set[int]) -> Iterator[AttachedAt]:
    starts = tuple(f"BPF_CGROUP_{each}" for type in wanted for each in _CGROUP_TYPES.get(type, ()))
    kinds = [number for number, name in _ATTACH_TYPES.items() if name.startswith(starts)]
    for folder in query.mounted_cgroups():
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it went meanwhile
        try:
            for kind in kinds:
                try:
                    programs = query.ask(fd, kind).prog_ids
                except OSError:
                    continue  # this kernel has no such kind
                for prog_id in programs:
                    yield AttachedAt(prog_id, "prog_attach", where.cgroup(folder, kind))
        finally:
            os.close(fd)


def _flow(_: set[int]) -> Iterator[AttachedAt]:
    from bpfasm.kernel.links.network.netns import netns_fd

    with netns_fd("") as fd:
        number = os.fstat(fd).st_ino
        for prog_id in query.ask(fd, u.BPF_FLOW_DISSECTOR).prog_ids:
            yield AttachedAt(prog_id, "prog_attach", where.netns(number, u.BPF_FLOW_DISSECTOR))


def _sockmaps(wanted: set[int]) -> Iterator[AttachedAt]:
    for opened in every("map"):
        about = ids.info("map", opened.fd)
        if about["type"] not in (u.BPF_MAP_TYPE_SOCKMAP, u.BPF_MAP_TYPE_SOCKHASH):
            continue
        for kind in (each for type in wanted for each in _ON_SOCKMAPS.get(type, ())):
            for prog_id in query.ask(opened.fd, kind).prog_ids:
                yield AttachedAt(prog_id, "prog_attach", where.sockmap(about["id"], kind))


def _events(_: set[int]) -> Iterator[AttachedAt]:
    """Yield what perf events run: those of tracefs and of the probes' PMUs, tied by the ioctl."""
    for pid in system.processes():
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue  # it ended
        for fd in fds:
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") != "anon_inode:[perf_event]":
                    continue
                text = buffer(4096)
                told = bpf.task_fd_query(int(pid), int(fd), text)
            except OSError:
                continue  # it runs no program, or is gone
            kind = _FD_TYPES.get(told["task_fd_query.fd_type"], "").removeprefix("BPF_FD_TYPE_").lower()
            offset = told["task_fd_query.probe_offset"]
            at = f"{ids.text(text.raw)}{f'+{offset:#x}' if offset else ''}"
            yield AttachedAt(told["task_fd_query.prog_id"], "perf", f"{kind} {at} of process {pid}")


#: The types of programs that are attached otherwise than by links, and what looks for them.
_LOOKS: tuple[tuple[set[int], Callable[[set[int]], Iterator[AttachedAt]]], ...] = (
    ({u.BPF_PROG_TYPE_XDP}, _xdp),
    ({u.BPF_PROG_TYPE_SCHED_CLS}, _tc),
    ({u.BPF_PROG_TYPE_SCHED_CLS}, _tcx),
    ({*_CGROUP_TYPES}, _cgroups),
    ({u.BPF_PROG_TYPE_FLOW_DISSECTOR}, _flow),
    ({*_ON_SOCKMAPS}, _sockmaps),
    (_ON_EVENTS, _events),
)
