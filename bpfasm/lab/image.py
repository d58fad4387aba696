"""Build the guest's file system, in parts that the kernel unpacks one over the other.

``base``     this machine's Python with its libraries and a few tools: built once for each Python
``packages`` the Python packages asked for, from this Python's site-packages
``modules``  the kernel modules that the guest needs: once for each kernel
``project``  the package, examples, lessons and tests, rebuilt whenever a file in them changes

Files keep the paths they have here, so that a message from the guest names a file that exists on the host too.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import marshal
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.cpio import CpioWriter
from bpfasm.lab.matrix import Tree
from bpfasm.lab.modules import closure
from bpfasm.lab.objects import without_debug

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

#: The folder of the guest's own files.
LAB = "/lab"

#: Parts of the standard library that a guest has no use for, below the library's folder.
_LEFT_OUT = {
    "__phello__", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "msilib", "pydoc_data", "site-packages",
    "dist-packages", "test", "tests", "tkinter", "turtledemo", "turtle.py", "venv", "__pycache__",
}  # fmt: skip
_LEFT_OUT_LIBRARIES = (
    "_codecs_", "_crypt", "_ctypes_test", "_dbm", "_gdbm", "_test", "_tkinter",
    "_xxtestfuzz", "audioop", "nis", "ossaudiodev", "spwd", "xxlimited",
)  # fmt: skip

#: Libraries as large as Python itself: they come with the packages, which import them whether they use them or not.
_WITH_PACKAGES = ("_ssl", "_hashlib", "_sqlite3")

#: Programs taken along when this machine has them. The guest needs none of them; people do.
_TOOLS = ("sh", "cat", "env", "ls", "uname", "dmesg", "busybox")

#: What of a checkout goes into the guest.
_PROJECT = ("bpfasm", "examples", "lessons", "tests", "tools", "bench", "pyproject.toml", "README.md")
_TOO_LARGE = 8 << 20


def parts(tree: Tree, modules: Iterable[str], packages: tuple[str, ...], copy: Iterable[Path]) -> list[Path | bytes]:
    """Return the parts of a guest's file system in the order the kernel is to unpack them, built where needed."""
    installed = distributions(packages)
    extra = copies(copy)
    return [
        base(),
        *([site_packages(installed)] if installed else []),
        *([kernel_modules(tree, modules)] if tree.modules else []),
        project(),
        *([extra] if extra else []),
    ]


def base() -> Path:
    """Return the part with Python: the interpreter that runs this, its library, and a few tools."""
    interpreter = Path(os.path.realpath(sys.executable))
    marks: list[object] = [sys.version, sys.executable, sys.base_prefix, *_stamp(interpreter)]
    tools = {name: found for name in _TOOLS if (found := shutil.which(name))}
    for name, found in tools.items():
        marks += [name, found, *_stamp(Path(os.path.realpath(found)))]

    def build(cpio: CpioWriter) -> None:
        _python(cpio, interpreter)
        for found in tools.values():
            _binary(cpio, Path(found))
        _libraries(cpio, [interpreter, *(Path(found) for found in tools.values())])
        _system(cpio)

    return _built("base", marks, build, keep=3)


def site_packages(found: dict[str, importlib.metadata.Distribution]) -> Path:
    """Return the part with these distributions, at the places where this Python has them."""
    marks = [(name, found[name].version, str(found[name].locate_file(""))) for name in sorted(found)]

    def build(cpio: CpioWriter) -> None:
        libraries = [path for name in _WITH_PACKAGES for folder in _dynamic() for path in folder.glob(f"{name}.*so")]
        for path in libraries:
            _binary(cpio, path)
        for distribution in found.values():
            for file in distribution.files or []:
                path = Path(os.path.normpath(str(distribution.locate_file(file))))
                if "__pycache__" in path.parts or not path.is_file():
                    continue
                _copy(cpio, path)
                if path.suffix == ".so":
                    libraries.append(path)
        _libraries(cpio, libraries)

    return _built("packages", [*marks, sys.version, sys.executable], build)


def kernel_modules(tree: Tree, names: Iterable[str]) -> Path:
    """Return the part with these modules and what they depend on, and the list that the guest loads them by."""
    assert tree.modules is not None
    folder, wanted = tree.modules, tuple(names)

    def build(cpio: CpioWriter) -> None:
        found = closure(folder, wanted)
        for module in found:
            cpio.file(f"{LAB}/modules/{module.name}.ko", module.read())
        # In the order they are to be loaded in.
        cpio.file(f"{LAB}/modules/list", "".join(f"{module.name}\n" for module in found).encode())

    marks = [tree.release, wanted, _stamp(folder / "kernel"), _stamp(tree.vmlinuz)]
    return _built("modules", marks, build)


def project() -> Path:
    """Return the part with this project: the checkout's folders, or the package alone where it is installed."""
    top = project_root()
    names = _PROJECT if (top / "pyproject.toml").is_file() else ("bpfasm",)
    files = [path for name in names for path in _walk(top / name) if path.stat().st_size <= _TOO_LARGE]
    digest = hashlib.sha256()
    contents = {}
    for path in files:
        contents[path] = data = path.read_bytes()
        digest.update(os.fsencode(path) + b"\0%d\0" % len(data))
        digest.update(data)

    def build(cpio: CpioWriter) -> None:
        for path, data in contents.items():
            # pytest compiles tests its own way; the rest starts faster when it comes compiled.
            _source(cpio, path, data, compiled="tests" not in path.parts)
        for name, source in (("init", "guest.py"), ("folder", "folder.py")):
            path = Path(__file__).with_name(source)
            cpio.file(f"{LAB}/{name}.pyc", _compiled(path, contents[path]))

    return _built("project", [digest.hexdigest(), str(top), sys.version], build, keep=4)


def project_root() -> Path:
    """Return the folder that holds the package bpfasm."""
    return Path(__file__).resolve().parent.parent.parent


def copies(paths: Iterable[Path]) -> bytes:
    """Return an archive of these files and folders at the paths they have here; b"" for none."""
    wanted = [Path(os.path.abspath(path)) for path in paths]
    if not wanted:
        return b""
    out = _Bytes()
    cpio = CpioWriter(out)
    for path in wanted:
        if not path.exists():
            raise LabError(
                f"there is no {path} to copy into the guest", "name a file or folder that exists", rule="lab-copy"
            )
        for file in _walk(path):
            _copy(cpio, file, compiled=False)
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
    builders = [
        Path(__file__).with_name(f"{name}.py").read_bytes() for name in ("image", "cpio", "modules", "objects")
    ]

    def write(file: BinaryIO) -> None:
        cpio = CpioWriter(file)
        build(cpio)
        cpio.close()

    return cache.built(kind, ".cpio", [hashlib.sha256(b"".join(builders)).hexdigest(), *marks], write, keep=keep)


def _stamp(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _walk(top: Path) -> Iterator[Path]:
    """Yield the files and links at or below ``top`` in a fixed order, without caches and hidden folders."""
    if not top.is_dir():
        if top.is_file():
            yield top
        return
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.endswith(".pyc") and path.is_file():
                yield path


def _reach(cpio: CpioWriter, path: Path) -> Path:
    """Add the folders above ``path``, links kept as links, and return where ``path`` is when they are followed."""
    real = Path("/")
    for part in path.parent.parts[1:]:
        real = _follow(cpio, real / part)
    cpio.directory(str(real))
    return real / path.name


def _follow(cpio: CpioWriter, path: Path, depth: int = 0) -> Path:
    if not path.is_symlink():
        return path
    if depth > 40:
        raise LabError(f"{path} is a link that leads in a circle", "remove it", rule="lab-copy")
    target = os.readlink(path)
    cpio.symlink(str(path), target)
    place = Path(os.path.normpath(path.parent / target))
    return _follow(cpio, _reach(cpio, place), depth + 1)


def _copy(cpio: CpioWriter, path: Path, compiled: bool = True) -> None:
    """Add the file at ``path``, through any links on the way to it."""
    real = _follow(cpio, _reach(cpio, path))
    _source(cpio, real, real.read_bytes(), compiled)


def _source(cpio: CpioWriter, path: Path, data: bytes, compiled: bool) -> None:
    place = _reach(cpio, path)
    cpio.file(str(place), data, 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    if compiled and path.suffix == ".py":
        code = _compiled(path, data)
        if code:
            cpio.file(f"{place.parent}/__pycache__/{place.stem}.{sys.implementation.cache_tag}.pyc", code)


def _compiled(path: Path, data: bytes) -> bytes:
    """Return the ``.pyc`` of a source, marked as not to be checked against it; b"" when it does not compile."""
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data)
    state = path.stat()
    fresh = importlib.util.MAGIC_NUMBER + bytes(4) + int(state.st_mtime).to_bytes(8, "little")[:4]
    try:
        made = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        if made[:16] == fresh + (state.st_size & 0xFFFFFFFF).to_bytes(4, "little"):
            return header + made[16:]
    except OSError:
        pass
    try:
        return header + marshal.dumps(compile(data, str(path), "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return b""


def _python(cpio: CpioWriter, interpreter: Path) -> None:
    _binary(cpio, Path(sys.executable))
    library = Path(os.__file__).parent
    for path in _walk_library(library):
        # Compiled alone: a guest unpacks at each start what it is given, and reads no source of the library.
        code = _compiled(path, path.read_bytes()) if path.suffix == ".py" else b""
        if code:
            cpio.file(str(_reach(cpio, path).with_suffix(".pyc")), code)
        elif path.suffix != ".so":
            _copy(cpio, path, compiled=False)
    libraries = []
    for folder in _dynamic():
        for path in sorted(folder.glob("*.so")):
            if not path.name.startswith(_LEFT_OUT_LIBRARIES + _WITH_PACKAGES):
                libraries.append(path)
                _binary(cpio, path)
    _libraries(cpio, libraries)
    for name in ("python3", "python"):
        cpio.symlink(f"{LAB}/bin/{name}", sys.executable)
        beside = Path(sys.executable).with_name(name)
        if not beside.exists() or beside.resolve() != interpreter:
            continue
        _binary(cpio, beside)
    cpio.symlink(f"{LAB}/python", str(interpreter))
    settings = Path(sys.prefix, "pyvenv.cfg")
    if settings.is_file():
        _copy(cpio, settings)
    cpio.symlink("/usr/bin/python3", sys.executable)  # when that is not what it is


def _dynamic() -> list[Path]:
    """Return the folders of the standard library's modules that are shared libraries."""
    return [Path(place) for place in sys.path if place.endswith("lib-dynload")]


def _walk_library(library: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _LEFT_OUT and not name.startswith("config-") and name != "lib-dynload"
        )
        for name in sorted(names):
            if name not in _LEFT_OUT and not name.endswith((".pyc", ".exe", ".a", ".o")):
                yield Path(folder, name)


def _binary(cpio: CpioWriter, path: Path) -> None:
    real = _follow(cpio, _reach(cpio, path))
    cpio.file(str(real), without_debug(real.read_bytes()), 0o755)


def _libraries(cpio: CpioWriter, binaries: list[Path]) -> None:
    """Add the shared libraries of these programs and libraries, as the loader of this machine finds them."""
    if not binaries:
        return
    try:
        done = subprocess.run(
            ["ldd", *map(str, binaries)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
        )
    except FileNotFoundError:
        raise LabError(
            "ldd is not on this machine", "install it: it comes with the C library (libc-bin)", rule="lab-ldd"
        ) from None
    found: set[str] = set()
    for line in done.stdout.splitlines():
        words = line.split()
        found.update(word for word in words if word.startswith("/") and not word.endswith(":"))
    for name in sorted(found):
        _binary(cpio, Path(name))
        # The C library opens it by name when a thread ends.
        helper = Path(name).with_name("libgcc_s.so.1")
        if os.path.basename(name).startswith("libc.") and helper.exists():
            _binary(cpio, helper)


def _system(cpio: CpioWriter) -> None:
    """Add what a program expects to find in /etc, the links of a merged /usr, and the places to mount on."""
    for name in ("/bin", "/sbin", "/lib", "/lib64"):
        _follow(cpio, Path(name))
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
    if loader_cache.is_file():
        _copy(cpio, loader_cache, compiled=False)


def distributions(names: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return these distributions and those they require, by name; what this Python does not have is left out."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in found[name].requires or []:
            requirement, _, marker = line.partition(";")
            if "extra ==" not in marker:
                wanted.append(_name_of(requirement))
    return found


def _name_of(requirement: str) -> str:
    name = requirement.strip()
    for i, character in enumerate(name):
        if not (character.isalnum() or character in "-_."):
            return name[:i]
    return name
