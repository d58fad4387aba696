"""How the running kernel was built, where that can be found out: what a test must not conclude from a probe."""

import gzip
import os
from pathlib import Path

from bpfasm.lab import cache


def places():
    """Return where the configuration of the running kernel may be."""
    release = os.uname().release
    kernels = cache.root() / "kernels"
    yield Path("/boot", f"config-{release}")
    yield Path("/lib/modules", release, "config")
    yield from kernels.glob(f"*/boot/config-{release}")
    yield from kernels.glob(f"*/usr/lib/modules/{release}/config")


def options():
    """Return the options that are on, None where the configuration is not to be found."""
    try:
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        found = next((place for place in places() if place.exists()), None)
        if found is None:
            return None
        text = found.read_text()
    lines = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name.removeprefix("CONFIG_") for name, _, value in lines if value in {"y", "m"}}
