"""Find the shared libraries that programs need: as this machine's loader does, or in a folder of packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab.image.files import HERE, Files
from bpfasm.lab.kernel.objects import needed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Where Debian's loader looks, below the top of a tree.
LIBRARY_FOLDERS = ("lib/*-linux-*", "usr/lib/*-linux-*", "lib", "usr/lib", "lib64", "usr/lib64")

#: Opened by the C library by name, when a thread ends.
_HELPER = "libgcc_s.so.1"


def libraries(files: Files, binaries: Iterable[Path]) -> list[Path]:
    """Return the shared libraries of these programs and libraries of a tree, the loader among them."""
    names = [str(path) for path in binaries]
    if not names:
        return []
    return sorted(_asked(names) if files.top == HERE else _looked_for(files, names))


def _asked(names: list[str]) -> set[Path]:
    """Ask the loader of this machine."""
    try:
        done = subprocess.run(["ldd", *names], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        raise LabError(
            "ldd is not on this machine", "install it: it comes with the C library (libc-bin)", rule="lab-ldd"
        ) from None
    words = {word for line in done.stdout.splitlines() for word in line.split()}
    found = {Path(word) for word in words if word.startswith("/") and not word.endswith(":")}
    helpers = {path.with_name(_HELPER) for path in found if path.name.startswith("libc.")}
    return found | {path for path in helpers if path.exists()}


def _looked_for(files: Files, names: list[str]) -> set[Path]:
    """Read from the files what they need, and look in the folders where Debian's loader looks."""
    places = [place for pattern in LIBRARY_FOLDERS for place in files.top.glob(pattern)]
    folders = [Path("/", place.relative_to(files.top)) for place in places]
    found: set[Path] = set()
    waiting = [Path(name) for name in names]
    while waiting:
        for name in [*needed(files.read(waiting.pop())), _HELPER]:
            # A program names its loader with the path.
            places = [Path(name)] if name.startswith("/") else [folder / name for folder in folders]
            place = next((place for place in places if files.on_disk(place).is_file()), None)
            if place and place not in found:
                found.add(place)
                waiting.append(place)
    return found
