"""The machine and its settings, as BPF sees them: what is mounted, switched on, or locked away."""

from __future__ import annotations

import os

from bpfasm.syscall import system, tracefs
from bpfasm.syscall.probe import maps
from bpfasm.syscall.probe.answer import Answer, no, unknown, yes
from bpfasm.syscall.probe.feature import Feature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _sysctl(path: str, meanings: dict[int, str], there: Callable[[int], bool]) -> Callable[[], Answer]:
    """Return a probe of a number that the kernel shows; ``meanings`` are what its values stand for."""

    def probe() -> Answer:
        value = system.number(f"/proc/sys/{path}")
        name = path.replace("/", ".")
        if value is None:
            return unknown("the kernel does not show it", f"there is no /proc/sys/{path}")
        said = f"{name} is {value}{f': {meanings[value]}' if value in meanings else ''}"
        return yes(said) if there(value) else no(said, said)

    return probe


def _mounted(kind: str, where: str) -> Callable[[], Answer]:
    def probe() -> Answer:
        found = system.mounts(kind)
        if found:
            return yes(f"{', '.join(found)}")
        return no(f"no {kind} is mounted: mount -t {kind} {kind} {where}", "/proc/self/mountinfo has none")

    return probe


def _pmu(name: str) -> Callable[[], Answer]:
    def probe() -> Answer:
        number = system.pmu_type(name)
        path = f"{system.PMUS}/{name}/type"
        if number is not None:
            return yes(f"{path} is {number}")
        if not os.path.isdir(system.PMUS):
            return unknown("sysfs is not mounted", f"there is no {system.PMUS}")
        return no(f"the kernel was built without {name}s", f"there is no {path}")

    return probe


def _events(file: str) -> Callable[[], Answer]:
    def probe() -> Answer:
        root = tracefs.find()
        if root is None:
            return unknown("tracefs is not mounted")
        path = f"{root}/{file}"
        return (
            yes(f"{path} is there") if os.path.exists(path) else no("the kernel was built without it", f"no {path}")
        )

    return probe


def _lockdown() -> Answer:
    mode = system.lockdown()
    if not mode:
        return unknown("the kernel does not say (securityfs is not mounted, or there is no lockdown)")
    said = f"lockdown is {mode}"
    return no(said, said) if mode == "none" else yes(said)


def _lsm() -> Answer:
    text = system.read("/sys/kernel/security/lsm")
    if text is None:
        return unknown("securityfs is not mounted, or cannot be read", "there is no /sys/kernel/security/lsm")
    said = f"/sys/kernel/security/lsm is {text.strip()}"
    return (
        yes(said) if "bpf" in text.strip().split(",") else no("bpf is not in the list: boot with lsm=...,bpf", said)
    )


def _symbols() -> Answer:
    text = system.read_start("/proc/kallsyms", 4096)
    if not text:
        return unknown("/proc/kallsyms cannot be read")
    addresses = {line.split()[0].strip("0") for line in text.splitlines()[:-1]}
    if addresses - {""}:
        return yes("/proc/kallsyms has addresses")
    return no("the kernel hides its addresses (kernel.kptr_restrict)", "the addresses in /proc/kallsyms are 0")


#: (name, what it is, probe)
_ROWS: tuple[tuple[str, str, Callable[[], Answer]], ...] = (
    ("jit", "programs become machine code",
     _sysctl("net/core/bpf_jit_enable", {0: "off", 1: "on", 2: "on, and shown in the kernel's log"}, bool)),
    ("jit_hardened", "constants in programs are hidden in the machine code",
     _sysctl("net/core/bpf_jit_harden", {0: "off", 1: "for the unprivileged", 2: "for all"}, bool)),
    ("unprivileged", "programs are loaded without privilege",
     _sysctl("kernel/unprivileged_bpf_disabled", {0: "anybody", 1: "with CAP_BPF, for good", 2: "with CAP_BPF"},
             lambda value: not value)),
    ("stats", "run times of programs are counted", _sysctl("kernel/bpf_stats_enabled", {}, bool)),
    ("perf_events", "perf events without privilege",
     _sysctl("kernel/perf_event_paranoid", {}, lambda value: value < 1)),
    ("symbols", "addresses of the kernel's symbols", _symbols),
    ("lockdown", "the kernel keeps secrets even from root", _lockdown),
    ("lsm", "BPF is among the security modules", _lsm),
    ("memlock", "maps count as locked memory, which is limited", maps.charged_to_memlock),
    ("bpffs", "a file system for pins", _mounted("bpf", "/sys/fs/bpf")),
    ("tracefs", "a file system for events", _mounted("tracefs", "/sys/kernel/tracing")),
    ("cgroup2", "the tree of cgroups that programs attach to", _mounted("cgroup2", "/sys/fs/cgroup")),
    ("kprobe_pmu", "kprobes by perf", _pmu("kprobe")),
    ("uprobe_pmu", "uprobes by perf", _pmu("uprobe")),
    ("kprobe_events", "kprobes by tracefs", _events("kprobe_events")),
    ("uprobe_events", "uprobes by tracefs", _events("uprobe_events")),
)  # fmt: skip

FEATURES = tuple(Feature("machine", name, what, "", probe) for name, what, probe in _ROWS)
