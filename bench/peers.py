"""What the benchmarks are measured against, where it is there: C with libbpf, and BCC."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def compiled(text: str) -> Any:
    """Return a library of C code with libbpf, compiled here; None where gcc or libbpf-dev is missing."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peer.c"), Path(folder, "peer.so")
        source.write_text(text)
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-lbpf"]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return ctypes.CDLL(str(library))


def bcc(text: str) -> Any:
    """Return BCC's object of a C text; None where this interpreter has no BCC.

    That is Debian's python3-bpfcc; on another kernel than its own it needs BCC_KERNEL_SOURCE, a tree of headers.
    """
    try:
        from bcc import BPF
    except ImportError:
        return None
    return BPF(text=text)
