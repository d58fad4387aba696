"""System calls that a seccomp filter refuses, found out by calls that cannot be refused for another reason."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from bpfasm.syscall.libc import NR, buffer, errno, syscall
from bpfasm.uapi.bpf import BPF_MAP_CREATE

#: More than a page, which no kernel takes, and says so before it asks who calls.
_TOO_LARGE = 1 << 20


def filtered() -> dict[str, int]:
    """Return the system calls that do not reach the kernel, with the errno that they are answered with.

    Asked by who has the privileges for them: kernels before 5.19 look at these first.
    """
    memory = buffer(8)
    answers = {
        "bpf": (NR["__NR_bpf"], (BPF_MAP_CREATE, memory, _TOO_LARGE), E2BIG),
        # All flags at once, most of which there are not.
        "perf_event_open": (NR["__NR_perf_event_open"], (memory, 0, -1, -1, 0xFFFFFFFF), EINVAL),
    }
    found = {}
    for name, (number, arguments, expected) in answers.items():
        if syscall(number, *arguments) < 0 and errno() != expected:
            found[name] = errno()
    return found
