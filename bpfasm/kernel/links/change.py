"""What can be done to a link that is there: another program put into it, the program taken out, misses counted."""

from __future__ import annotations

from errno import EINVAL, ENOLINK, EOPNOTSUPP, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.words import errno_name
from bpfasm.syscall import bpf, system
from bpfasm.syscall.layout import end
from bpfasm.uapi.bpf import BPF_F_REPLACE, struct_bpf_link_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.links.link import KernelLink
    from bpfasm.kernel.programs.program import KernelProgram

#: Links whose program can be exchanged, and links that can be detached while they stay (``struct bpf_link_ops``).
UPDATED = ("cgroup", "iter", "netkit", "netns", "sockmap", "tcx", "xdp")
DETACHED = ("cgroup", "netfilter", "netkit", "netns", "sockmap", "struct_ops", "tcx", "xdp")


def update(link: KernelLink, program: KernelProgram, expected: KernelProgram | None) -> None:
    """Put another program into a link. Raises FeatureMissing, KernelError."""
    fields = {"link_fd": link.fd, "new_prog_fd": program.fd}
    if expected is not None:
        fields |= {"flags": BPF_F_REPLACE, "old_prog_fd": expected.fd}
    try:
        return bpf.link_update(**fields)
    except OSError as error:
        number = error.errno or 0
    kind = link.info().kind
    if kind not in UPDATED:
        raise FeatureMissing(
            f"the kernel does not exchange the program of a {kind} link",
            f"attach the new program, then close this link; {_list(UPDATED)} links can",
            rule="link-update",
        )
    what, do = f"{program.name} was not put into {link!r}: {errno_name(number)}", "dmesg may tell more"
    if number == EPERM and expected is not None:
        what = f"{program.name} was not put into {link!r}: the program there is not {expected.name}"
        do = "somebody exchanged it meanwhile: link.info().prog_id says which it is now"
    elif number == EINVAL:
        do = "give a program of the same type and expected attach type"
    elif number == ENOLINK:
        do = "what it was attached to is gone, or it was detached: attach the program anew"
    raise KernelError(number, what, do, rule="link-update")


def detach(link: KernelLink) -> None:
    """Take the program out of a link. Raises FeatureMissing, KernelError."""
    try:
        return bpf.link_detach(link.fd)
    except OSError as error:
        number = error.errno or 0
    if number == EOPNOTSUPP:
        raise FeatureMissing(
            f"this kernel ({system.release()}) does not detach a {link.info().kind} link that is open",
            f"close it wherever it is open, and remove its pins; {_list(DETACHED)} links can be detached",
            rule="link-detach",
        )
    raise KernelError(
        number, f"{link!r} was not detached: {errno_name(number)}", "dmesg may tell more", rule="link-detach"
    )


def missed(link: KernelLink) -> int | None:
    """Return how often a place was reached and the program was not run, None where nobody counts."""
    info = link.info()
    field = {"kprobe_multi": "kprobe_multi.missed", "perf_event": "perf_event.kprobe.missed"}.get(info.kind, "")
    count: int | None = info.details.get("missed")
    # Where the kernel's struct ends before the field, it was not the kernel that said 0.
    return count if field and bpf.info_size(link.fd) >= end(struct_bpf_link_info, field) else None


def _list(kinds: tuple[str, ...]) -> str:
    return f"{', '.join(kinds[:-1])} and {kinds[-1]}"
