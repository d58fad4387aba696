"""What a kernel must have for a command, asked without changing anything."""

from __future__ import annotations

import os

from bpfasm.errors import FeatureMissing, UsageError
from bpfasm.kernel.privilege import lacking, not_permitted
from bpfasm.kernel.words import IN_THE_LAB
from bpfasm.syscall import system, tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def missing(needs: Iterable[str]) -> FeatureMissing | None:
    """Return the first of the needs that this kernel or process does not meet, None if it meets all.

    ``bpf``: loading programs. ``kprobe``: attaching to kernel functions.
    """
    checks = {"bpf": _no_bpf, "kprobe": _no_kprobe}
    for need in needs:
        if need not in checks:
            raise UsageError(f"there is no need {need!r}", f"the needs are {', '.join(checks)}")
        lack = checks[need]()
        if lack:
            return lack
    return None


def _no_bpf() -> FeatureMissing | None:
    if os.uname().sysname != "Linux":
        return FeatureMissing("this is not Linux", IN_THE_LAB, rule="no-bpf")
    needs = ("CAP_BPF",)
    return not_permitted("loading programs", needs) if lacking(needs) else None


def _no_kprobe() -> FeatureMissing | None:
    from bpfasm.kernel.kprobe_refused import no_tracefs

    needs = ("CAP_PERFMON",)
    if system.pmu_type("kprobe") is None:
        root = tracefs.find()
        if root is None or not os.path.exists(f"{root}/kprobe_events"):
            return no_tracefs(root)
    return not_permitted("attaching kprobes", needs) if lacking(needs) else None
