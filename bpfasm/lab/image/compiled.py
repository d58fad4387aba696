"""Compile a guest's Python sources on this machine: an emulated processor takes ten times as long.

Code is the same on every processor, and another with each minor version of Python. Run as a program, this file is
the compiler of another Python: bytes in a marshalled dict of paths and sources, and out in one of paths and code.
"""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpfasm.lab.image.python import Python

#: The version of marshal's format that is spoken between Pythons: an old one, which all of them read.
_MARSHAL = 2


def code(sources: Mapping[Path, bytes], runs: Python) -> dict[Path, bytes]:
    """Return the ``.pyc`` of each source for the Python ``runs``; none where nothing here compiles for it.

    What does not compile is left out.
    """
    if runs.ours:
        made = {path: pyc(path, data, _kept(path) if runs.native else b"") for path, data in sources.items()}
    else:
        made = elsewhere(runs.compiler, Path(__file__), sources) if runs.compiler else {}
    return {path: data for path, data in made.items() if data}


def pyc(path: Path, data: bytes, made: bytes = b"") -> bytes:
    """Return the ``.pyc`` of a source, marked as not to be checked against it; b"" when it does not compile."""
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data)
    try:
        return header + (made or marshal.dumps(compile(data, str(path), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return b""


def _kept(path: Path) -> bytes:
    """Return the code that this Python keeps beside a source; b"" when that is older, or not there."""
    state = path.stat()
    fresh = importlib.util.MAGIC_NUMBER + bytes(4) + int(state.st_mtime).to_bytes(8, "little")[:4]
    try:
        made = Path(importlib.util.cache_from_source(str(path))).read_bytes()
    except OSError:
        return b""
    return made[16:] if made[:16] == fresh + (state.st_size & 0xFFFFFFFF).to_bytes(4, "little") else b""


def elsewhere(
    compiler: tuple[str, ...], script: Path, sources: Mapping[Path, bytes], *words: str
) -> dict[Path, bytes]:
    """Have another Python run a script that compiles, this one or its like; say so when it cannot.

    The guest is slower for it. The script takes a marshalled dict of paths and sources, and gives paths and code.
    """
    given = marshal.dumps({str(path): data for path, data in sources.items()}, _MARSHAL)
    argv = [*compiler, "-I", "-S", "-B", str(script), *words]
    done = subprocess.run(argv, input=given, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        print(f"lab: the guest compiles what it imports: {said or compiler[-1]}", file=sys.stderr, flush=True)
        return {}
    return {Path(path): data for path, data in marshal.loads(done.stdout).items()}


def _main() -> None:
    sources = marshal.load(sys.stdin.buffer)
    marshal.dump({path: pyc(Path(path), data) for path, data in sources.items()}, sys.stdout.buffer, _MARSHAL)


if __name__ == "__main__":
    _main()
