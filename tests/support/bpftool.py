"""bpftool's probes, to be set beside ours."""

import json
import shutil
import subprocess
from pathlib import Path

COMMAND = ("bpftool", "-j", "feature", "probe", "kernel")


def files():
    """Return bpftool and the libraries that it loads; empty where it is not installed."""
    program = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin")
    if program is None or shutil.which("ldd") is None:
        return []
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    return [Path(program), *(Path(word) for word in libraries if word.startswith("/"))]


class Found:
    """What ``bpftool feature probe`` has found: program and map types, and helpers by program type."""

    def __init__(self, text):
        data = json.loads(text)
        self.programs = {name[5:-10]: there for name, there in data["program_types"].items()}
        self.maps = {name[5:-9]: there for name, there in data["map_types"].items()}
        self.helpers = {
            name.removesuffix("_available_helpers"): {helper.removeprefix("bpf_") for helper in names}
            for name, names in data["helpers"].items()
        }
        self.misc = data["misc"]
