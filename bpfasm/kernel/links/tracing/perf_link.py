"""Tying programs to perf events: by a link of the kernel's, or by the ioctl of before 5.15."""

from __future__ import annotations

import os
from errno import EINVAL

from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf, perf_event
from bpfasm.uapi.bpf import BPF_PERF_EVENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.asm.attach import Place
    from bpfasm.kernel.links.tracing.tracefs_event import TracefsEvent
    from bpfasm.kernel.programs.program import LoadedProgram


def bind(
    events: int | Iterable[int],
    program: LoadedProgram,
    where: Place,
    mode: str,
    *,
    cookie: int = 0,
    made: TracefsEvent | None = None,
) -> Link:
    """Let events run a program; return the link. The events are this function's to close, whatever happens.

    ``mode`` is ``link``, ``perf``, ``tracefs``, or ``auto``, the first of these that is there. ``made`` is what was
    made in tracefs for the event, and is undone; with it the mode is ``tracefs``.
    """
    held = [events] if isinstance(events, int) else [*events]
    todo, how = [*held], mode
    try:
        for event in todo:
            fd, how = _tie(event, program, where, how, cookie)
            if fd != event:
                held[held.index(event)] = fd  # the link holds the event
                os.close(event)
        if made:
            return Link(held, program, where, "tracefs", made.remove, made.missed)
        return Link(held, program, where, how)
    except BaseException as error:
        for each in held:
            os.close(each)
        if made:
            made.remove()
        if isinstance(error, OSError) and not hasattr(error, "rule"):
            from bpfasm.kernel.links.refused import not_bound

            raise not_bound(program, where, error.errno or 0) from None
        raise


def _tie(event: int, program: LoadedProgram, where: Place, mode: str, cookie: int) -> tuple[int, str]:
    """Tie a program to an event by a link, or by the ioctl; return the fd that holds both, and how."""
    if mode in {"auto", "link"} or cookie:
        fields = {"perf_event.bpf_cookie": cookie} if cookie else {}
        try:
            return (
                bpf.link_create(prog_fd=program.fd, target_fd=event, attach_type=BPF_PERF_EVENT, **fields),
                "link",
            )
        except OSError as error:
            # EINVAL: before 5.15 there are no such links. The ioctl tells whether it is something else.
            if error.errno != EINVAL:
                raise
            if mode == "link":
                from bpfasm.kernel.features import ask
                from bpfasm.kernel.links.refused import no_perf_link
                from bpfasm.syscall.probe.answer import YES

                if ask("link/perf_event").state == YES:
                    raise
                raise no_perf_link() from None
    if cookie:
        from bpfasm.kernel.links.refused import no_cookie

        raise no_cookie(where, "5.15")
    perf_event.set_bpf(event, program.fd)
    perf_event.enable(event)
    return event, "perf"
