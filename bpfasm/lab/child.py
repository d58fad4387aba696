"""Let a child process end with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1


class DieWithParent:
    """For ``preexec_fn``: in the child, have the kernel kill it when its parent is gone."""

    def __init__(self) -> None:
        # Found before the fork, where finding a library is safe.
        self.prctl = ctypes.CDLL(None).prctl
        self.parent = os.getpid()

    def __call__(self) -> None:
        self.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one that aborts leaves no file behind
        if os.getppid() != self.parent:
            os._exit(1)
