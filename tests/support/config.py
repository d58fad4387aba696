"""How the running kernel was built, where that can be found out: what a test must not conclude from a probe."""

import gzip
import os
import tomllib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

#: The lab's list of kernels; to import the lab for it takes a guest seconds.
LIST = Path(__file__).parents[2] / "bpfasm" / "lab" / "kernels.toml"


@cache
def _lacks():
    """Return what a kernel of the lab is known to lack, None on another kernel."""
    release, kernels = os.uname().release, tomllib.loads(LIST.read_text(encoding="utf-8"))["kernel"]
    return next((kernel["lacks"] for kernel in kernels if fnmatch(release, kernel["releases"])), None)


@cache
def _options():
    """Return the options that are on by the kernel's own configuration, None where it is not to be found."""
    release = os.uname().release
    for place in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        try:
            data = Path(place).read_bytes()
        except OSError:
            continue
        text = (gzip.decompress(data) if place.endswith(".gz") else data).decode()
        lines = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
        return {name.removeprefix("CONFIG_") for name, _, value in lines if value in {"y", "m"}}
    return None


def built_with(option):
    """Return whether an option is on; None where that cannot be known.

    Of a kernel of the lab, tests/lab/test_kernels.py has proven what it lacks; it has the rest.
    """
    if _lacks() is not None:
        return option not in _lacks()
    return None if _options() is None else option in _options()
