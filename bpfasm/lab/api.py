"""Boot a guest and run a command in it: the lab's public verbs."""

from __future__ import annotations

import io
import sys

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.guest import start, wire
from bpfasm.lab.guest.session import Guest, Result
from bpfasm.lab.guest.shares import outermost
from bpfasm.lab.image import ext4, parts as image, python
from bpfasm.lab.machine import qemu
from bpfasm.lab.matrix import Kernel, find
from bpfasm.lab.packages import bundle
from bpfasm.lab.packages.store import fetch, userland

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from bpfasm.lab.guest.errand import Sink
    from bpfasm.lab.image.parts import Maker
    from bpfasm.lab.packages.pool import Progress

#: Python packages that go along when this Python has them.
PACKAGES = ("pyroute2", "capstone")

BOOT_TIMEOUT_S = 120.0
_KVM_TRIAL_S = 15.0


def boot(
    kernel: Kernel | str | None = None,
    *,
    copy: Iterable[Path] = (),
    made: Maker | None = None,
    packages: tuple[str, ...] = PACKAGES,
    modules: Iterable[str] = (),
    disk: bool | None = None,
    memory_mib: int = 1024,
    fresh: bool = False,
    timeout: float = BOOT_TIMEOUT_S,
    progress: Progress | None = None,
) -> Guest:
    """Boot a kernel and return the running guest, a context manager that ends it.

    Arguments as in ``run``; ``timeout`` is for the boot, in seconds. A guest that fails to come up is tried once
    more, and stderr says so. Raise LabError with the console's last lines when that fails too.
    """
    cache.sweep()
    wanted = kernel if isinstance(kernel, Kernel) else find(kernel)
    qemu.check_host()
    has_disk = bool(ext4.find()) if disk is None else disk
    machine = qemu.Machine(
        qemu.find(wanted.arch), "tcg", memory_mib, arch=wanted.arch, disk=ext4.image() if has_disk else None
    )
    found = fetch(wanted, progress=progress)
    assert found.tree is not None
    trees = [userland(arch, progress=progress) for arch in bundle.userlands(wanted)]
    runs = python.below(*trees) if trees else python.here()
    parts = image.parts(found.tree, more_modules=modules, packages=packages, copy=copy, made=made, runs=runs)

    def begin(accel: str, seconds: float) -> Guest:
        way = start.warm if accel == "tcg" and not fresh else start.cold
        return way(machine.replace(accel=accel), found, parts, seconds)

    kvm = qemu.Kvm()
    if runs.native and kvm.proven():
        return begin("kvm", timeout)
    if runs.native and kvm.worth_trying():
        try:
            guest = begin("kvm", _KVM_TRIAL_S)
        except LabError:
            kvm.note(False)
            print(
                "lab: /dev/kvm is here but does not run a guest; going on without it",
                file=sys.stderr,
                flush=True,
            )
        else:
            kvm.note(True)
            return guest
    try:
        return begin("tcg", timeout)
    except LabError as error:
        print(f"lab: {error.what}; trying once more", file=sys.stderr, flush=True)
        fresh = True
        return begin("tcg", timeout)


def run(
    kernel: Kernel | str | None,
    argv: Sequence[str | bytes],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: int | None = None,
    stdout: Sink | None = None,
    stderr: Sink | None = None,
    rw: Iterable[str | os.PathLike[str]] = (),
    **options: Any,
) -> int:
    """Boot ``kernel``, run ``argv`` in it as root, and return its exit status (128 + N when signal N ended it).

    - ``kernel``: a version of the matrix, the path of a vmlinuz, or None for the default; fetched when not here.
    - ``cwd``: a folder of the guest; by default this one when it is in the project or in ``rw``, else the project's.
    - ``env``: variables added to the guest's own few.
    - ``timeout``: seconds from the command's start; past it the guest is ended and the status is 124.
    - ``stdin``: a file descriptor whose bytes the command is given; nothing by default.
    - ``stdout``, ``stderr``: what takes the bytes as they come; this process's own by default.
    - ``rw``: folders to have in the guest at the paths they have here; what the command does in them comes back.
    - ``copy``: files and folders to have in the guest at the paths they have here.
    - ``made``: a function that is given the guest's Python, and returns files by path: what depends on it.
    - ``packages``: Python packages to take along, with what they require.
    - ``modules``: kernel modules to have in the guest beside the usual ones; the kernel loads one when it is used.
    - ``disk``: whether the guest has its disk, an empty ext4 at /mnt/disk; by default where mkfs.ext4 is here.
    - ``fresh``: whether to boot the kernel, where a guest without KVM goes on from a snapshot of one that has booted.
    - ``memory_mib``, ``progress``: the guest's memory, and a callback for what has to be fetched.

    Raise LabError when the lab, not the command, fails: no QEMU, no kernel, a boot that fails, a panic; UsageError
    for a command or a folder that cannot be.
    """
    wire.words(argv)
    rw = outermost(rw)
    with boot(kernel, **options) as guest:
        return guest.run(argv, cwd=cwd, env=env, timeout=timeout, stdin=stdin, stdout=stdout, stderr=stderr, rw=rw)


def capture(kernel: Kernel | str | None, argv: Sequence[str | bytes], **options: Any) -> Result:
    """Do what ``run`` does, with the same options, and return the status with all that was written."""
    out, err = io.BytesIO(), io.BytesIO()
    status = run(kernel, argv, stdout=out, stderr=err, **options)
    return Result(status, out.getvalue(), err.getvalue())
