"""The lab: run a command on another kernel, in a virtual machine made of this machine's Python and the project.

>>> from bpfasm import lab
>>> lab.default()
'6.1'
>>> [kernel.version for kernel in lab.kernels()]
['5.10', '6.1', '6.12', '7']

``lab.run("6.1", ["python3", "-c", "print(1)"])`` boots that kernel, runs the command in it and returns its status.
No root, nothing installed: the kernel comes from the Debian mirror that apt knows, signatures checked.
"""

from __future__ import annotations

from bpfasm.lab.api import boot, capture, run
from bpfasm.lab.guest.errand import FAILED, INTERRUPTED, TIMED_OUT
from bpfasm.lab.guest.session import Guest, Result
from bpfasm.lab.matrix import Kernel, Tree, default, everything, find, kernels, options
from bpfasm.lab.packages.store import fetch, userland
from bpfasm.lab.parallel import Outcome, each

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "TIMED_OUT",
    "Guest",
    "Kernel",
    "Outcome",
    "Result",
    "Tree",
    "boot",
    "capture",
    "default",
    "each",
    "everything",
    "fetch",
    "find",
    "kernels",
    "options",
    "run",
    "userland",
]
