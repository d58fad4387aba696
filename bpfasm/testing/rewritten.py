"""Compile tests for a guest on this machine, as pytest does: with what their assertions say when they fail.

pytest keeps a test's code beside it, checked against a hash of the source, and takes that where it finds it: an
emulated processor is minutes at what this one does in seconds. Run as a program, this file does it for a guest whose
Python is not this one.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bpfasm.lab.image.python import Python

#: How such a file begins behind Python's magic number: checked against the hash of the source, which follows.
_CHECKED = (3).to_bytes(4, "little")


def files(tests: Iterable[Path], runs: Python) -> dict[Path, bytes]:
    """Return what pytest keeps of these sources for the Python ``runs``, each at its place in a guest.

    A test that does not compile is left out: the guest's pytest says why. So are all where nothing here compiles
    for that Python, and the guest's pytest does it then.
    """
    import pytest

    from bpfasm.lab.image import compiled

    sources = {path: path.read_bytes() for path in tests}
    tail = f".{runs.tag}-pytest-{pytest.__version__}.pyc"
    if runs.ours:
        made = {path: _kept(path, tail, data) or code(path, data) for path, data in sources.items()}
    else:
        site = Path(pytest.__file__).parent.parent
        made = compiled.elsewhere(runs.compiler, Path(__file__), sources, str(site)) if runs.compiler else {}
    return {path.parent / "__pycache__" / (path.stem + tail): data for path, data in made.items() if data}


def code(path: Path, source: bytes) -> bytes:
    """Return what pytest keeps of a source; b"" when it does not compile."""
    from _pytest.assertion.rewrite import rewrite_asserts

    try:
        tree = ast.parse(source, filename=str(path))
        rewrite_asserts(tree, source, str(path))
        made = compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return b""
    return _head(source) + marshal.dumps(made)


def _kept(path: Path, tail: str, source: bytes) -> bytes:
    """Return what this machine's pytest has kept of a source; b"" when that is of another, or not there."""
    place = Path(importlib.util.cache_from_source(str(path)))
    try:
        made = place.with_name(path.stem + tail).read_bytes()
    except OSError:
        return b""
    return made if made.startswith(_head(source)) else b""


def _head(source: bytes) -> bytes:
    return importlib.util.MAGIC_NUMBER + _CHECKED + importlib.util.source_hash(source)


def _main(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: code(Path(path), source) for path, source in sources.items()}


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    marshal.dump(_main(marshal.load(sys.stdin.buffer)), sys.stdout.buffer, 2)
