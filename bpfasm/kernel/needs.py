"""What a kernel must have for a command, asked without changing anything."""

from __future__ import annotations

import os

from bpfasm.errors import FeatureMissing
from bpfasm.kernel.base.memlock import with_memory
from bpfasm.kernel.base.privilege import barred, lacking, not_permitted
from bpfasm.kernel.base.words import errno_name
from bpfasm.syscall import bpf, system, tracefs
from bpfasm.uapi.bpf import BPF_MAP_TYPE_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def missing(needs: Iterable[str]) -> FeatureMissing | None:
    """Return the first of the needs that this kernel or process does not meet, None if it meets all.

    ``bpf``: loading programs. ``kprobe``: attaching to kernel functions. Any other is a feature of
    ``bpfasm features``, by its id: ``map/ringbuf``. Raises UsageError for one that there is not.
    """
    checks = {"bpf": _no_bpf, "kprobe": _no_kprobe}
    for need in needs:
        lack = checks[need]() if need in checks else _no_feature(need)
        if lack:
            return lack
    return None


def _no_feature(id: str) -> FeatureMissing | None:
    from bpfasm.kernel.features import lack_of

    return lack_of(id)


def _no_bpf() -> FeatureMissing | None:
    needs = ("CAP_BPF",)
    if lacking(needs):
        return not_permitted("loading programs", needs)
    try:
        os.close(
            with_memory(lambda: bpf.map_create(map_type=BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1))
        )
    except OSError as error:
        number, doing = error.errno or 0, "loading programs"
        return barred(doing, number, needs) or not_permitted(doing, needs, errno_name(number))
    return None


def _no_kprobe() -> FeatureMissing | None:
    from bpfasm.kernel.links.tracing.kprobe_refused import no_tracefs

    needs = ("CAP_PERFMON",)
    if system.pmu_type("kprobe") is None:
        root = tracefs.find()
        if root is None or not os.path.exists(f"{root}/kprobe_events"):
            return no_tracefs(root)
    return not_permitted("attaching kprobes", needs) if lacking(needs) else None
