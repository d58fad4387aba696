"""The guest's disk: an empty ext4, made once and given to each guest as a copy in memory."""

from __future__ import annotations

import os
import shutil
import subprocess

from bpfasm.errors import LabError
from bpfasm.lab import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

#: What is not written takes no memory.
SIZE_MIB = 256

#: Named one by one, for a kernel as old as 5.10: this machine's defaults may be newer.
_FEATURES = (
    "none", "has_journal", "ext_attr", "dir_index", "filetype", "extent", "64bit", "flex_bg",
    "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum",
)  # fmt: skip

#: Kept out of users' PATH on many systems.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def image() -> Path:
    """Return the image of an empty disk; raise LabError where there is no mkfs.ext4."""
    program = find()
    if program is None:
        raise LabError(
            "the guest's disk is made with mkfs.ext4, which is not on this machine",
            "install it: apt install e2fsprogs (or your system's package of that name)",
            rule="lab-disk",
        )
    words = [
        program, "-q", "-F", "-b", "4096", "-N", "4096", "-O", ",".join(_FEATURES), "-m", "0", "-L", "lab",
        "-U", "b0fa5000-0000-4000-8000-000000000000", "-E", "lazy_itable_init=0,lazy_journal_init=1,nodiscard",
    ]  # fmt: skip

    def write(file: BinaryIO) -> None:
        done = subprocess.run(
            [*words, file.name, f"{SIZE_MIB}M"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
            raise LabError(f"mkfs.ext4 failed: {said}", "is it as old as 1.43?", rule="lab-disk")

    return cache.built("disk", ".ext4", [words, SIZE_MIB], write, keep=1)


def find() -> str | None:
    """Return the path of mkfs.ext4, or None."""
    return shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:{_SBIN}")
