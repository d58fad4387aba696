"""``bpfasm doctor``: what runs here, what is missing, and how to get it. Reads only."""

from __future__ import annotations

import os
import sys

from bpfasm.cli.options import Parser
from bpfasm.errors import BpfasmError, FeatureMissing
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What a check may come to: it is there; it is not, and something needs it; neither, but worth knowing.
OK, MISSING, NOTE = "ok", "missing", "note"

#: What the kernel here must have for the main job.
MAIN_JOB = ("bpf", "kprobe")


class Check(Value):
    """What a look came to: ``ok``, ``missing`` or ``note``, what was seen, and how to get what is missing."""

    name: str
    state: str
    what: str
    do: str = ""


def main(argv: list[str]) -> int:
    """Run ``bpfasm doctor``; the status is 1 when the main job runs neither here nor in the lab."""
    parser = Parser(
        "doctor",
        "Say what runs here, what is missing, and how to get it; where files of bpfasm's are, and what killed\n"
        "processes left. Reads only. Exit status 1: the main job (chowncount) runs neither here nor in the lab.",
        """
  bpfasm doctor
  bpfasm doctor --json
""",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    args = parser.parse_args(argv)
    checks = [check for look in LOOKS for check in look()]
    by_name = {check.name: check for check in checks}
    live = all(by_name[name].state == OK for name in ("bpf", "kprobes"))
    lab = by_name["qemu"].state == OK and by_name["kernels"].state != MISSING
    if args.json:
        import json

        rows = [{"name": each.name, "state": each.state, "what": each.what, "do": each.do or None} for each in checks]
        print(json.dumps({"schema": "bpfasm/doctor/1", "runs": {"live": live, "lab": lab}, "checks": rows}, indent=1))
    else:
        for line in _lines(checks):
            print(line)
        places = " and ".join(place for place, runs in (("on this kernel", live), ("in the lab", lab)) if runs)
        print(f"\nthe main job, bpfasm chowncount, runs {places or 'nowhere yet: see what is missing'}")
    return int(not (live or lab))


def _lines(checks: list[Check]) -> Iterator[str]:
    width = max(len(check.name) for check in checks)
    for check in checks:
        yield f"{check.state:8} {check.name:{width}}  {check.what}"
        if check.do:
            yield f"{'':{width + 9}}  {check.do}"


# The machine


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", OK, f"{version}, {sys.executable}")
    from importlib.util import find_spec

    for package, use in (("pyroute2", "programs on network devices"), ("capstone", "native code in dumps")):
        if find_spec(package):
            yield Check(package, OK, use)
        else:
            yield Check(package, NOTE, f"not installed: no {use}", f"pip install {package}")


def _kernel() -> Iterator[Check]:
    uname = os.uname()
    yield Check(
        "system", OK if uname.sysname == "Linux" else NOTE, f"{uname.sysname} {uname.release}, {uname.machine}"
    )
    if uname.sysname != "Linux":
        for name in ("bpf", "kprobes"):
            yield Check(name, MISSING, "this is not Linux", "use the lab on a Linux machine, real or virtual")
        return
    yield _privileges()
    yield from _needs()
    yield from _settings()


def _privileges() -> Check:
    from bpfasm.kernel.base.privilege import lacking

    lacks = lacking(("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"))
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if not lacks:
        return Check("privileges", OK, f"{who}, with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
    return Check(
        "privileges", NOTE, f"{who}, without {', '.join(lacks)}", "run with sudo what is to run on this kernel"
    )


def _needs() -> Iterator[Check]:
    from bpfasm.kernel.needs import missing

    for name, need, what in (
        ("bpf", "bpf", "programs can be loaded"),
        ("kprobes", "kprobe", "programs can be attached to kernel functions"),
    ):
        lack = missing([need])
        yield Check(name, MISSING, lack.what, lack.do) if lack else Check(name, OK, what)


def _settings() -> Iterator[Check]:
    from bpfasm.syscall import system, tracefs
    from bpfasm.syscall.probe.vmlinux import PATH

    there = os.path.exists(PATH)
    yield Check("types", OK if there else NOTE, PATH if there else "the kernel does not show its types (BTF)")
    for name, kind, use, command in (
        ("bpffs", "bpf", "pins", "mount -t bpf bpf /sys/fs/bpf"),
        ("cgroup2", "cgroup2", "programs of cgroups", "mount -t cgroup2 none /sys/fs/cgroup"),
    ):
        found = system.mounts(kind)
        if found:
            yield Check(name, OK, ", ".join(found))
        else:
            yield Check(name, NOTE, f"not mounted: no {use}", f"{command} (as root)")
    root = tracefs.find()
    if root:
        yield Check("tracefs", OK, root)
    else:
        yield Check("tracefs", NOTE, "not mounted", "mount -t tracefs nodev /sys/kernel/tracing (as root)")
    mode = system.lockdown()
    if mode not in {"", "none"}:
        yield Check("lockdown", NOTE, f"{mode}: the kernel keeps some of its memory even from root")


# The lab


def _lab() -> Iterator[Check]:
    from bpfasm import lab
    from bpfasm.lab import cache
    from bpfasm.lab.machine import qemu

    try:
        qemu.check_host()
        program = qemu.find(lab.find(None).arch)
    except BpfasmError as error:
        yield Check("qemu", MISSING, error.what, error.do)
    else:
        kvm = qemu.Kvm()
        speed = "with KVM" if kvm.proven() or kvm.worth_trying() else "by emulation: there is no KVM that works"
        yield Check("qemu", OK, f"{program}, {speed}")
    here = [kernel.version for kernel in lab.everything() if kernel.cached]
    size = f"{cache.size(cache.root()) / 1e6:.0f} MB in {cache.root()}"
    if here:
        yield Check("kernels", OK, f"{', '.join(here)} are here")
    else:
        yield Check("kernels", NOTE, "none is here yet; each is a download of 20 to 40 MB", "bpfasm lab fetch all")
    yield Check("cache", OK, size)


# What is ours


def _ours() -> Iterator[Check]:
    from bpfasm.lesson import progress

    if os.path.isdir(progress.FOLDER):
        yield Check("lessons", OK, f"{os.path.abspath(progress.FOLDER)}, {len(progress.done())} done")
    else:
        yield Check("lessons", NOTE, f"there is no {progress.FOLDER} in this folder", "bpfasm lesson start 1")
    try:
        yield from _left()
    except FeatureMissing:
        return  # not Linux


def _left() -> Iterator[Check]:
    from bpfasm.cli import clean
    from bpfasm.kernel import leftovers

    pins = leftovers.kept_pins()
    if pins:
        yield Check("pins", OK, ", ".join(pins))
    found = clean.items()
    going = [item for item in found if not item.stays]
    if going:
        kinds = ", ".join(sorted({item.kind for item in going}))
        yield Check("leftovers", NOTE, f"{len(going)} of killed processes ({kinds})", "bpfasm clean")
    else:
        seen = " that this user can see" if leftovers.not_seen() else ""
        yield Check("leftovers", OK, f"none of a killed process of this user's{seen}")


LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (_python, _kernel, _lab, _ours)
