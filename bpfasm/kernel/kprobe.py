"""Attaching to kernel functions: kprobe and kretprobe, by the kprobe PMU or by tracefs."""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.link import Link
from bpfasm.kernel.words import errno_name
from bpfasm.syscall import bpf, perf_event, system, tracefs
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.owner import this_process
from bpfasm.uapi.bpf import BPF_PERF_EVENT
from bpfasm.uapi.perf_event import PERF_SAMPLE_RAW, PERF_TYPE_TRACEPOINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpfasm.asm.attach import Kprobe
    from bpfasm.kernel.programs import LoadedProgram

    Mode = Literal["auto", "link", "perf", "tracefs"]

#: What a syscall's function is called, by os.uname().machine: since 4.17 the wrapper that takes pt_regs.
SYSCALL_PREFIX = {
    "x86_64": "__x64_sys_",
    "aarch64": "__arm64_sys_",
    "riscv64": "__riscv_sys_",
    "s390x": "__s390x_sys_",
}


def symbols_of(probe: Kprobe) -> list[str]:
    """Return the names to try for what a probe asks for, the likeliest first."""
    call = probe.syscall or probe.symbol.removeprefix("sys_")
    wrapper = f"{SYSCALL_PREFIX.get(os.uname().machine, 'sys_')}{call}"
    if probe.syscall:
        return [wrapper, f"sys_{call}"]
    return [probe.symbol, wrapper] if probe.symbol.startswith("sys_") else [probe.symbol]


def attach_kprobe(program: LoadedProgram, probe: Kprobe, mode: Mode = "auto") -> Link:
    """Attach a program of type KPROBE at a kernel function.

    ``mode`` is the mechanism: ``link`` (kprobe PMU and BPF link, from kernel 5.15 on), ``perf`` (kprobe PMU, the
    program set by ioctl), ``tracefs`` (an event in kprobe_events; it outlives a killed process, so its group names
    the owner), or ``auto``, the first of these that is there. Raises FeatureMissing, KernelError.
    """
    pmu = system.pmu_type("kprobe")
    if mode == "tracefs" or (mode == "auto" and pmu is None):
        return _by_tracefs(program, probe, mode)
    if pmu is None:
        from bpfasm.kernel.kprobe_refused import no_pmu

        raise no_pmu()
    return _bind(_pmu_event(pmu, probe), program, probe, mode)


def _pmu_event(pmu: int, probe: Kprobe) -> int:
    """Open the event of a probe; return its fd."""
    retprobe = 1 << (system.pmu_bit("kprobe", "retprobe") or 0) if probe.retprobe else 0
    failed = 0
    for symbol in symbols_of(probe):
        try:
            return perf_event.perf_event_open(
                cpu=system.online_cpu(),
                type=pmu,
                config=retprobe,
                kprobe_func=buffer(symbol.encode() + b"\0"),
                probe_offset=probe.offset,
            )
        except OSError as error:
            failed = failed or error.errno or 0
            if error.errno not in (ENOENT, EINVAL):
                break
    from bpfasm.kernel.kprobe_refused import refusal

    raise refusal(probe, failed)


def _by_tracefs(program: LoadedProgram, probe: Kprobe, mode: Mode) -> Link:
    """Attach by an event in kprobe_events."""
    from bpfasm.kernel import kprobe_refused

    root = tracefs.find()
    if root is None or not os.path.exists(f"{root}/kprobe_events"):
        raise kprobe_refused.no_tracefs(root)
    failed, said = 0, ""
    for symbol in symbols_of(probe):
        made = TracefsEvent(root, symbol)
        try:
            event = made.open(probe, symbol)
        except OSError as error:
            failed, said = failed or error.errno or 0, said or tracefs.error_of(root, made.group)
            made.remove()
            if error.errno not in (ENOENT, EINVAL):
                break
        except BaseException:
            made.remove()
            raise
        else:
            return _bind(event, program, probe, mode, made)
    raise kprobe_refused.refusal(probe, failed, said)


class TracefsEvent:
    """An event in kprobe_events, in a group that carries its owner. The kernel keeps it until it is removed."""

    def __init__(self, root: str, symbol: str) -> None:
        self.root = root
        self.group = this_process().tag()
        self.event = "".join(c if c.isalnum() else "_" for c in symbol)[:60]
        self.busy_until = 0.0

    def open(self, probe: Kprobe, symbol: str) -> int:
        """Make the event and open it; return its fd."""
        kind = "r" if probe.retprobe else "p"
        offset = f"+{probe.offset:#x}" if probe.offset else ""
        tracefs.add_kprobe_event(self.root, f"{kind}:{self.group}/{self.event} {symbol}{offset}")
        return perf_event.perf_event_open(
            cpu=system.online_cpu(),
            type=PERF_TYPE_TRACEPOINT,
            config=tracefs.event_id(self.root, self.group, self.event),
            sample_type=PERF_SAMPLE_RAW,
            sample_period=1,
            wakeup_events=1,
        )

    def remove(self) -> None:
        """Remove the event; nothing where it was never made. Waits while the kernel still lets go of it."""
        from time import monotonic, sleep

        self.busy_until = self.busy_until or monotonic() + _BUSY_S
        while True:
            try:
                return tracefs.remove_kprobe_event(self.root, self.group, self.event)
            except OSError as error:
                if error.errno == ENOENT:
                    return None
                if error.errno != EBUSY or monotonic() > self.busy_until:
                    raise KernelError(
                        error.errno or 0,
                        f"the event {self.group}/{self.event} stays in {self.root}/kprobe_events: "
                        f"{errno_name(error.errno or 0)}",
                        f"remove it (as root): echo -:{self.group}/{self.event} >> {self.root}/kprobe_events",
                        rule="tracefs-left",
                    ) from None
            sleep(0.001)


#: How long an event may stay busy after its file descriptor was closed: a worker of the kernel finishes the close.
_BUSY_S = 5.0


def _bind(event: int, program: LoadedProgram, probe: Kprobe, mode: Mode, made: TracefsEvent | None = None) -> Link:
    """Let an event run the program; the event is this function's to close, and to remove if it was ``made``."""
    release = made.remove if made else None
    held = {event}
    try:
        fd, how = _tie(event, program, mode)
        held.add(fd)
        link = Link(fd, program, probe, "tracefs" if made else how, release)
    except BaseException as error:
        for each in held:
            os.close(each)
        if release:
            release()
        if isinstance(error, OSError):
            from bpfasm.kernel.kprobe_refused import not_bound

            raise not_bound(program, probe, error.errno or 0) from None
        raise
    if fd != event:
        os.close(event)  # the link holds it
    return link


def _tie(event: int, program: LoadedProgram, mode: Mode) -> tuple[int, str]:
    """Tie a program to an event by a BPF link, or by the ioctl; return the fd that holds both, and how."""
    if mode in {"auto", "link"}:
        try:
            return bpf.link_create(prog_fd=program.fd, target_fd=event, attach_type=BPF_PERF_EVENT), "link"
        except OSError as error:
            # EINVAL: before 5.15 there are no such links. The ioctl tells whether it is something else.
            if error.errno != EINVAL:
                raise
            if mode == "link":
                from bpfasm.kernel.features import ask
                from bpfasm.syscall.probe.answer import YES

                if ask("link/perf_event").state == YES:
                    raise
                raise FeatureMissing(
                    f"this kernel ({system.release()}) has no BPF links on perf events",
                    'they came with 5.15; mode="perf" or "auto" does without',
                    rule="no-perf-link",
                ) from None
    perf_event.set_bpf(event, program.fd)
    perf_event.enable(event)
    return event, "perf"
