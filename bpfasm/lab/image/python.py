"""The Python that a guest runs: this machine's own, or Debian's for a guest with another processor."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab.image.files import HERE, real
from bpfasm.lab.image.libraries import LIBRARY_FOLDERS
from bpfasm.lab.kernel.objects import needed
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Parts of the standard library that a guest has no use for, below the library's folder.
_LEFT_OUT = {
    "__phello__", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "msilib", "pydoc_data", "site-packages",
    "dist-packages", "test", "tests", "tkinter", "turtledemo", "turtle.py", "venv", "__pycache__", "lib-dynload",
}  # fmt: skip
_LEFT_OUT_EXTENSIONS = (
    "_codecs_", "_crypt", "_ctypes_test", "_dbm", "_gdbm", "_test", "_tkinter",
    "_xxtestfuzz", "audioop", "nis", "ossaudiodev", "spwd", "xxlimited",
)  # fmt: skip

#: Extensions whose libraries are as large as Python itself: the packages bring them, which import them whether they
#: use them or not.
_WITH_PACKAGES = ("_ssl", "_hashlib", "_sqlite3")


class Python(Value):
    """A Python: its program, its library and its extensions, as paths in the tree of files that they are in.

    ``ours`` says that it runs what this Python compiles: both have one magic number in their ``.pyc`` files, which
    have ``tag`` in their names. Where it does not, ``compiler`` are the words that start one that does, on this
    machine, if there is one.
    """

    top: Path
    executable: Path
    library: Path
    dynamic: tuple[Path, ...]
    version: str
    tag: str
    ours: bool
    compiler: tuple[str, ...] = ()

    @property
    def native(self) -> bool:
        """Whether it is this machine's."""
        return self.top == HERE

    @property
    def interpreter(self) -> Path:
        """The program itself, where ``executable`` may be a virtual environment's link to it."""
        return Path(os.path.realpath(self.executable)) if self.native else self.executable

    def on_disk(self, path: Path) -> Path:
        """Return where a file of it is on this machine."""
        return self.top / path.relative_to("/")

    def programs(self) -> list[Path]:
        """Return the program under each of its names beside it."""
        beside = [self.executable.with_name(name) for name in ("python3", "python")]
        disk = self.on_disk(self.interpreter)
        return [self.executable, *(path for path in beside if os.path.realpath(self.on_disk(path)) == str(disk))]

    def sources(self) -> Iterator[Path]:
        """Yield the files of the library but for the extensions and what a guest has no use for."""
        for folder, folders, names in os.walk(self.on_disk(self.library)):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
            place = self.library / Path(folder).relative_to(self.on_disk(self.library))
            for name in sorted(names):
                path = place / name
                # Debian's sitecustomize.py is a link into /etc.
                there = self.on_disk(real(self.top, path)).is_file()
                if there and name not in _LEFT_OUT and not name.endswith((".pyc", ".exe", ".a", ".o", ".so")):
                    yield path

    def binaries(self) -> list[Path]:
        """Return the program and the extensions: what shared libraries are needed by."""
        return [self.interpreter, *self.extensions()]

    def extensions(self) -> list[Path]:
        """Return the library's modules that are shared libraries."""
        return [path for path in self._all_extensions() if not path.name.startswith(_WITH_PACKAGES)]

    def extensions_for_packages(self) -> list[Path]:
        """Return those that only packages use, and that are large."""
        return [path for path in self._all_extensions() if path.name.startswith(_WITH_PACKAGES)]

    def _all_extensions(self) -> Iterator[Path]:
        for folder in self.dynamic:
            for path in sorted(self.on_disk(folder).glob("*.so")):
                if not path.name.startswith(_LEFT_OUT_EXTENSIONS):
                    yield folder / path.name


def here() -> Python:
    """Return the Python that runs this."""
    dynamic = tuple(Path(place) for place in sys.path if place.endswith("lib-dynload"))
    tag = sys.implementation.cache_tag or ""
    return Python(HERE, Path(sys.executable), Path(os.__file__).parent, dynamic, sys.version, tag, ours=True)


def below(top: Path, twin: Path | None = None) -> Python:
    """Return the Python of a folder of Debian's packages; raise LabError when there is none.

    ``twin`` is such a folder for this machine's processor, with the Python that compiles for it.
    """
    names = [path.name for path in top.glob("usr/bin/python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    if not names:
        raise LabError(f"there is no Python in {top}", "remove the folder: it is fetched again", rule="lab-userland")
    name = max(names, key=lambda name: int(name.partition(".")[2]))
    library = Path("/usr/lib", name)
    # The magic number changes with the minor version, and stays from its first release on.
    mine = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = name == mine and sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
    tag = "cpython-" + name.removeprefix("python").replace(".", "")
    compiler = _start(below(twin)) if twin else ()
    return Python(top, Path("/usr/bin", name), library, (library / "lib-dynload",), name, tag, ours, compiler)


def _start(found: Python) -> tuple[str, ...]:
    """Return the words that start a Python of a folder on this machine: by its own loader, with its own libraries."""
    program = found.on_disk(found.interpreter)
    loader = real(found.top, Path(needed(program.read_bytes())[0]))
    folders = [str(place) for pattern in LIBRARY_FOLDERS for place in found.top.glob(pattern)]
    return str(found.on_disk(loader)), "--library-path", ":".join(folders), str(program)
