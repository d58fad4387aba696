"""No file left to open: said by what is imported already, since an import takes a file, too."""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE

from bpfasm.errors import KernelError

#: What is said to a process, or on a machine, that has as many files open as there may be.
NO_FILE = (EMFILE, ENFILE)


def check_files(number: int | None, doing: str) -> None:
    """Raise KernelError where an errno says that no file can be opened, whatever it was to be."""
    if number == EMFILE:
        limit = os.sysconf("SC_OPEN_MAX")
        raise KernelError(
            number,
            f"{doing}: this process has as many files open as it may, {limit}",
            f"close what is not used any more, or raise the limit: ulimit -n {2 * limit}",
            rule="open-files",
        ) from None
    if number == ENFILE:
        raise KernelError(
            number,
            f"{doing}: this machine has as many files open as it may",
            "close some; or, as root, raise the limit: sysctl fs.file-max",
            rule="open-files",
        ) from None
