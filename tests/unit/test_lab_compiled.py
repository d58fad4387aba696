"""A guest's sources, compiled here: by this Python, and by another one that is started for it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from bpfasm.lab.image import compiled, python

HERE = python.here()
SOURCES = {
    Path("/p/a.py"): b"x = __file__\n",
    Path("/p/caf\u00e9.py"): b"y = 'caf\xc3\xa9'\n",
    Path("/p/no.py"): b"?",
}


def another(compiler: tuple[str, ...]) -> python.Python:
    """Return a Python of another version, with a compiler."""
    return HERE.replace(top=Path("/nowhere"), ours=False, compiler=compiler)


def test_code_runs_and_names_its_file(tmp_path):
    made = compiled.code(_on(tmp_path), HERE)
    assert {path.name for path in made} == {"a.py", "caf\u00e9.py"}
    for path, data in made.items():
        assert data[:4] == importlib.util.MAGIC_NUMBER
        place = tmp_path / f"{path.stem}.pyc"
        place.write_bytes(data)
        spec = importlib.util.spec_from_file_location(path.stem, place)
        assert spec and spec.loader
        assert spec.loader.get_code(path.stem).co_filename == str(path)


def test_another_python_gives_the_same_code(tmp_path):
    """This one, started as another: what comes back has been marshalled twice."""
    sources = _on(tmp_path)
    assert compiled.code(sources, another((sys.executable,))) == compiled.code(sources, HERE)


def test_without_a_compiler_there_are_sources(tmp_path):
    assert compiled.code(SOURCES, another(())) == {}


def test_a_compiler_that_fails_is_told(tmp_path, capsys):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho 'no such loader' >&2\nexit 1\n")
    program.chmod(0o755)
    assert compiled.code(SOURCES, another((str(program),))) == {}
    assert capsys.readouterr().err == "lab: the guest compiles what it imports: no such loader\n"


@pytest.mark.parametrize("fresh", [True, False])
def test_what_this_python_has_compiled_already_is_used_while_it_is_fresh(fresh: bool, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = tmp_path / "m.py"
    path.write_text("x = 1\n")
    before = compiled.pyc(path, b"kept = 1\n")
    kept = Path(importlib.util.cache_from_source(str(path)))
    kept.parent.mkdir()
    state = path.stat()
    stamp = bytes(4) + int(state.st_mtime).to_bytes(4, "little") + state.st_size.to_bytes(4, "little")
    kept.write_bytes(importlib.util.MAGIC_NUMBER + stamp + before[16:])
    if not fresh:
        os.utime(path, (1, 1))
    made = compiled.code({path: path.read_bytes()}, HERE)[path]
    assert (b"kept" in made) == fresh


def _on(folder: Path) -> dict[Path, bytes]:
    """Write the sources in a folder, and return them with their paths there."""
    found = {folder / path.name: data for path, data in SOURCES.items()}
    for path, data in found.items():
        path.write_bytes(data)
    return found
