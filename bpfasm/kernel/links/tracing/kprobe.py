"""Attaching to kernel functions: kprobe and kretprobe, by the kprobe PMU or by tracefs."""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT

from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.tracing.perf_link import bind
from bpfasm.kernel.links.tracing.tracefs_event import TracefsEvent
from bpfasm.syscall import perf_event, system, tracefs
from bpfasm.syscall.libc import buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import Kprobe
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "perf", "tracefs")

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


def generic(symbol: str) -> str:
    """Return the name of a system call's function for ``sys_NAME``, of any other its own."""
    return f"{SYSCALL_PREFIX.get(os.uname().machine, 'sys_')}{symbol[4:]}" if symbol.startswith("sys_") else symbol


def open_link(program: LoadedProgram, where: Kprobe, mode: str = "auto") -> Link:
    """Attach a program of type KPROBE at a kernel function.

    ``mode`` is the mechanism: ``link`` (kprobe PMU and BPF link, from kernel 5.15 on), ``perf`` (kprobe PMU, the
    program set by ioctl), ``tracefs`` (an event in kprobe_events; it outlives a killed process, so its group names
    the owner), or ``auto``, the first of these that is there. Raises FeatureMissing, KernelError.
    """
    pmu = system.pmu_type("kprobe")
    # Only tracefs takes how many calls may be under way.
    if mode == "tracefs" or (mode == "auto" and (pmu is None or where.maxactive)):
        return _by_tracefs(program, where, mode)
    if pmu is None or where.maxactive:
        from bpfasm.kernel.links.tracing.kprobe_refused import no_maxactive, no_pmu

        raise no_pmu() if pmu is None else no_maxactive(where, mode)
    return bind(_pmu_event(pmu, where), program, where, mode, cookie=where.cookie)


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
    from bpfasm.kernel.links.tracing.kprobe_refused import refusal

    raise refusal(probe, failed)


def _by_tracefs(program: LoadedProgram, probe: Kprobe, mode: str) -> Link:
    """Attach by an event in kprobe_events."""
    from bpfasm.kernel.links.tracing import kprobe_refused

    root = tracefs.find()
    if root is None or not os.path.exists(f"{root}/kprobe_events"):
        raise kprobe_refused.no_tracefs(root)
    failed, said = 0, ""
    for symbol in symbols_of(probe):
        made = TracefsEvent(root, "kprobe", symbol)
        kind = f"r{probe.maxactive or ''}" if probe.retprobe else "p"
        try:
            event = made.open(kind, f"{symbol}+{probe.offset:#x}" if probe.offset else symbol)
        except OSError as error:
            failed, said = failed or error.errno or 0, said or tracefs.error_of(root, made.group)
            made.remove()
            if error.errno not in (ENOENT, EINVAL):
                break
        except BaseException:
            made.remove()
            raise
        else:
            return bind(event, program, probe, mode, cookie=probe.cookie, made=made)
    raise kprobe_refused.refusal(probe, failed, said)
