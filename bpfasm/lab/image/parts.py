"""Build the guest's file system, in parts that the kernel unpacks one over the other.

``base``     Python with its libraries: built once for each Python
``tools``    busybox and its commands, or a few of this machine's where there is no busybox
``packages`` the Python packages asked for, from this Python's site-packages
``modules``  the kernel modules that the guest may need: once for each kernel
``project``  the package, examples, lessons and tests, rebuilt whenever a file in them changes

Files keep the paths they have here, so that a message from the guest names a file that exists on the host too.
A guest with another processor has Debian's Python in place of this machine's, and Debian's folders.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from types import MappingProxyType

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.image import compiled, python
from bpfasm.lab.image.busybox import applets
from bpfasm.lab.image.cpio import CpioWriter
from bpfasm.lab.image.distributions import distributions, fitting, paths
from bpfasm.lab.image.files import HERE, Files, walk
from bpfasm.lab.image.libraries import libraries
from bpfasm.lab.kernel import modules
from bpfasm.lab.kernel.objects import needed
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import Distribution
    from typing import BinaryIO

    from bpfasm.lab.image.python import Python
    from bpfasm.lab.matrix import Tree

    Maker = Callable[[Python], Mapping[Path, bytes]]

#: The folder of the guest's own files.
LAB = "/lab"

#: Programs of this machine that are taken along when there is no busybox. The guest needs none; people do.
_TOOLS = ("sh", "cat", "env", "ls", "uname", "dmesg")

#: Commands that are looked for at another path than /bin: by the first line of scripts, and by the kernel.
_ELSEWHERE = {"env": ("/usr/bin",), "modprobe": ("/sbin",)}

#: What of a checkout goes into the guest.
_PROJECT = ("bpfasm", "examples", "lessons", "tests", "tools", "bench", "pyproject.toml", "README.md")
_TOO_LARGE = 8 << 20

#: The modules of the lab that make the parts.
_BUILDERS = (
    "image/parts",
    "image/busybox",
    "image/compiled",
    "image/cpio",
    "image/distributions",
    "image/files",
    "image/libraries",
    "image/python",
    "kernel/modules",
    "kernel/objects",
    "kernel/packed",
)


class Parts(Value):
    """A guest's file system: what all guests of a kernel have, the project, and an archive of what was copied."""

    common: tuple[Path, ...]
    project: Path
    copies: bytes

    def all(self) -> list[Path | bytes]:
        """Return them in the order the kernel is to unpack them."""
        return [*self.common, self.project, *([self.copies] if self.copies else [])]


def parts(
    tree: Tree,
    *,
    more_modules: Iterable[str] = (),
    packages: Iterable[str] = (),
    copy: Iterable[Path] = (),
    made: Maker | None = None,
    runs: Python | None = None,
) -> Parts:
    """Return the parts of a guest's file system, built where needed; ``runs`` is its Python, by default this one.

    ``made`` makes further files for that Python.
    """
    runs = runs or python.here()
    installed = fitting(distributions(packages), runs)
    return Parts(
        (
            base(runs),
            *tools(tree.busybox, runs.top),
            *([site_packages(installed, runs)] if installed else []),
            *kernel_modules(tree, more_modules, runs.top),
        ),
        project(runs),
        copies(copy, made(runs) if made else {}),
    )


def base(runs: Python) -> Path:
    """Return the part with Python, its libraries, and the folders that every system has."""

    def build(cpio: CpioWriter) -> None:
        files = Files(cpio, runs.top)
        for path in (*runs.programs(), *runs.extensions(), *libraries(files, runs.binaries())):
            files.binary(path)
        code = compiled.code({path: files.read(path) for path in runs.sources() if path.suffix == ".py"}, runs)
        for path in runs.sources():
            # Compiled alone: a guest unpacks at each start what it is given, and reads no source of the library.
            if path in code:
                cpio.file(str(files.reach(path).with_suffix(".pyc")), code[path])
            else:
                files.copy(path)
        for name in ("python3", "python"):
            cpio.symlink(f"{LAB}/bin/{name}", str(runs.executable))
        cpio.symlink(f"{LAB}/python", str(runs.interpreter))
        cpio.symlink("/usr/bin/python3", str(runs.executable))  # when that is not what it is
        settings = runs.executable.parent.parent / "pyvenv.cfg"
        if runs.on_disk(settings).is_file():
            files.copy(settings)
        _system(files)

    return _built("base", _marks(runs), build, keep=3)


def tools(busybox: Path | None, top: Path = HERE) -> list[Path]:
    """Return the part with a busybox and its commands, or with a few of this machine's programs; none if it has none.

    ``top`` is the tree whose folders the guest has; without a busybox, that tree's is taken.
    """
    if busybox is None and (found := shutil.which("busybox", path=None if top == HERE else f"{top}/usr/bin")):
        busybox = Path(found)
    names = applets(busybox.read_bytes()) if busybox else []
    if busybox and names:
        return [_busybox(busybox, names, top)]
    return [_programs()] if top == HERE else []


def site_packages(found: dict[str, Distribution], runs: Python) -> Path:
    """Return the part with these distributions, at the places where this Python has them."""
    marks = [(name, found[name].version, str(found[name].locate_file(""))) for name in sorted(found)]

    def build(cpio: CpioWriter) -> None:
        here, files = Files(cpio), Files(cpio, runs.top)
        for path in runs.extensions_for_packages():
            files.binary(path)
        installed = [path for distribution in found.values() for path in paths(distribution)]
        code = compiled.code({path: here.read(path) for path in installed if path.suffix == ".py"}, runs)
        for path in installed:
            here.copy(path)
            if path in code:
                here.add_code(path, code[path], runs.tag)
        if not runs.native:
            # Another Python looks in its own folders; a .pth file there names more.
            folders = sorted({str(distribution.locate_file("")) for distribution in found.values()})
            cpio.file("/usr/lib/python3/dist-packages/lab.pth", "".join(f"{place}\n" for place in folders).encode())
        own = [path for path in installed if path.suffix == ".so"]
        needs = libraries(files, [*runs.extensions_for_packages(), *own])
        for path in sorted(set(needs) - set(libraries(files, runs.binaries()))):
            files.binary(path)

    return _built("packages", [*marks, *_marks(runs)], build)


def kernel_modules(tree: Tree, more: Iterable[str], top: Path = HERE) -> list[Path]:
    """Return the part with the modules that guests need, and ``more``; none when this kernel has no modules here."""
    asked = tuple(more)
    modules.check(tree.release, tree.modules, asked)
    folder = tree.modules
    if folder is None:
        return []

    def build(cpio: CpioWriter) -> None:
        place = Files(cpio, top).reach(Path("/lib/modules", tree.release))
        found = modules.closure(folder, (*modules.LOADED, *modules.DISK, *modules.ON_DEMAND, *asked))
        for module in found:
            cpio.file(f"{place}/{module.name}.ko", module.data)
        for name, text in modules.index(found).items():
            cpio.file(f"{place}/{name}", text.encode())
        builtin = folder / "modules.builtin"
        if builtin.is_file():
            cpio.file(f"{place}/{builtin.name}", builtin.read_bytes())
        for name, loaded in (("modules", modules.LOADED), ("modules.disk", modules.DISK)):
            # In the order they are to be loaded in.
            paths = [f"{place}/{module.name}.ko\n" for module in modules.closure(folder, loaded)]
            cpio.file(f"{LAB}/{name}", "".join(paths).encode())

    marks = [tree.release, asked, str(top), _stamp(folder / "kernel"), _stamp(tree.vmlinuz)]
    return [_built("modules", marks, build)]


def project(runs: Python) -> Path:
    """Return the part with this project: the checkout's folders, or the package alone where it is installed."""
    top = project_root()
    names = _PROJECT if (top / "pyproject.toml").is_file() else ("bpfasm",)
    found = [path for name in names for path in walk(top / name) if path.stat().st_size <= _TOO_LARGE]
    digest = hashlib.sha256()
    contents = {}
    for path in found:
        contents[path] = data = path.read_bytes()
        digest.update(os.fsencode(path) + b"\0%d\0" % len(data))
        digest.update(data)

    def build(cpio: CpioWriter) -> None:
        files = Files(cpio)
        # What starts faster when it comes compiled: all but tests, of which pytest has code of its own.
        own = ("test_", "conftest.")
        sources = [path for path in found if path.suffix == ".py" and not path.name.startswith(own)]
        code = compiled.code({path: contents[path] for path in sources}, runs)
        for path, data in contents.items():
            files.file(path, data)
            if path in code:
                files.add_code(path, code[path], runs.tag)
        # The guest's own. Its init has no suffix: Python looks at the first bytes to see whether it is compiled.
        for name in ("guest/init", "guest/folder", "image/unpack"):
            path = _module(name)
            place = "init" if path.stem == "init" else f"{path.stem}.pyc" if path in code else path.name
            cpio.file(f"{LAB}/{place}", code.get(path, contents[path]))

    return _built("project", [digest.hexdigest(), str(top), *_marks(runs)], build, keep=4)


def project_root() -> Path:
    """Return the folder that holds the package bpfasm."""
    return Path(__file__).resolve().parents[3]


def copies(wanted: Iterable[Path], made: Mapping[Path, bytes] = MappingProxyType({})) -> bytes:
    """Return an archive of files and folders at the paths they have here, and of files ``made``; b"" for none."""
    absolute = [Path(os.path.abspath(path)) for path in wanted]
    if not (absolute or made):
        return b""
    out = _Bytes()
    cpio = CpioWriter(out)
    files = Files(cpio)
    for path in absolute:
        if not path.exists():
            raise LabError(
                f"there is no {path} to copy into the guest", "name a file or folder that exists", rule="lab-copy"
            )
        for file in walk(path):
            files.copy(file)
    for path, data in made.items():
        cpio.file(str(files.reach(path)), data)
    cpio.close()
    return b"".join(out.chunks)


class _Bytes:
    """The one method of a file that CpioWriter needs, into memory."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.chunks.append(data)


def _built(kind: str, marks: Iterable[object], build: Callable[[CpioWriter], None], keep: int = 8) -> Path:
    """Return the part of this content from the cache, built when it is not there."""
    # A part built by other code than this is another part.
    builders = [_module(name).read_bytes() for name in _BUILDERS]

    def write(file: BinaryIO) -> None:
        cpio = CpioWriter(file)
        build(cpio)
        cpio.close()

    return cache.built(kind, ".cpio", [hashlib.sha256(b"".join(builders)).hexdigest(), *marks], write, keep=keep)


def _module(name: str) -> Path:
    """Return the file of one of the lab's modules."""
    return Path(__file__).parents[1] / f"{name}.py"


def _marks(runs: Python) -> list[object]:
    places = [*map(str, runs.programs()), str(runs.library), *runs.compiler]
    return [runs.version, *places, _stamp(runs.on_disk(runs.interpreter))]


def _stamp(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _busybox(binary: Path, names: list[str], top: Path) -> Path:
    def build(cpio: CpioWriter) -> None:
        files, data = Files(cpio, top), binary.read_bytes()
        cpio.file(f"{LAB}/bin/busybox", data, 0o755)
        for name in names:
            for folder in ("/bin", *_ELSEWHERE.get(name, ())):
                cpio.symlink(str(files.reach(Path(folder, name))), f"{LAB}/bin/busybox")
        # This machine's own may not be a static one.
        for path in libraries(files, [binary]) if needed(data) else []:
            files.binary(path)

    return _built("tools", [str(top), _stamp(binary)], build)


def _programs() -> Path:
    found = [Path(path) for name in _TOOLS if (path := shutil.which(name))]

    def build(cpio: CpioWriter) -> None:
        files = Files(cpio)
        for path in (*found, *libraries(files, found)):
            files.binary(path)

    return _built("tools", map(_stamp, found), build)


def _system(files: Files) -> None:
    """Add what a program expects to find in /etc, the links of a merged /usr, and the places to mount on."""
    cpio = files.cpio
    for name in ("/bin", "/sbin", "/lib", "/lib64"):
        files.follow(Path(name))
    for folder in ("/dev", "/proc", "/sys", "/run", "/root", "/etc", "/var/tmp", "/mnt"):
        cpio.directory(folder)
    cpio.directory("/tmp", 0o1777)
    cpio.device("/dev/console", 5, 1)
    cpio.device("/dev/null", 1, 3, 0o666)
    cpio.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    cpio.file("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    cpio.file("/etc/hosts", b"127.0.0.1 localhost lab\n::1 localhost\n")
    cpio.file("/etc/hostname", b"lab\n")
    loader_cache = Path("/etc/ld.so.cache")
    if files.on_disk(loader_cache).is_file():
        files.copy(loader_cache)
