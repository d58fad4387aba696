"""Archives as the guest unpacks them, beside what another reader of the format says."""

import io
import os
import stat
from pathlib import Path

import pytest
from support import newc

from bpfasm.lab.image.cpio import CpioWriter, difference
from bpfasm.lab.image.unpack import entries, unpack


def archive(files, links=()):
    """Return an archive of files (path to bytes) and links (path to target)."""
    out = io.BytesIO()
    cpio = CpioWriter(out)
    for path, data in files.items():
        cpio.file(path, data, 0o755 if path.endswith(".sh") else 0o644)
    for path, target in links:
        cpio.symlink(path, target)
    cpio.close()
    return out.getvalue()


def found(top):
    """Return what is below a folder: files, links and folders, as (mode, content)."""
    everything = {}
    for place, folders, names in os.walk(top):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            state, content = os.lstat(path), b""
            if stat.S_ISLNK(state.st_mode):
                content = os.readlink(path).encode()
            elif stat.S_ISREG(state.st_mode):
                content = Path(path).read_bytes()
            everything[os.path.relpath(path, top)] = (state.st_mode, content)
    return everything


FILES = {"/a/b/c.py": b"print(1)\n", "/a/run.sh": b"#!/bin/sh\n", "/empty": b"", "/large": bytes(range(256)) * 999}


def test_it_makes_what_another_reader_finds(tmp_path):
    data = archive(FILES, [("/a/link", "b/c.py")])
    unpack(data, str(tmp_path))
    assert found(tmp_path) == {name: entry[:2] for name, entry in newc.read(data).items()}


def test_archives_stand_one_after_the_other_and_the_later_wins(tmp_path):
    unpack(archive({"/x": b"old", "/d/y": b"y"}) + archive({"/x": b"new"}), str(tmp_path))
    assert (tmp_path / "x").read_bytes() == b"new"
    assert (tmp_path / "d/y").read_bytes() == b"y"


def test_what_is_there_gives_way(tmp_path):
    (tmp_path / "target").write_bytes(b"untouched")
    (tmp_path / "x").symlink_to("target")
    unpack(archive({"/x": b"new"}), str(tmp_path))
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"untouched"


def test_a_cut_archive_is_no_archive():
    data = archive({"/x": b"0123456789"})
    start = data.index(b"0123456789")
    for size in (*range(1, 116), *range(start, start + 10)):
        with pytest.raises(ValueError, match=r"cpio|ends within|invalid literal"):
            list(entries(data[:size]))


@pytest.mark.parametrize(
    "new",
    [
        FILES,
        FILES | {"/a/b/c.py": b"print(2)\n"},
        FILES | {"/n/e/w": b"x"},
        {**FILES, "/empty": b"filled", "/a/run.sh": b""},
    ],
)
def test_the_difference_makes_the_new_of_the_old(tmp_path, new):
    old, new = archive(FILES), archive(new)
    changed = difference(old, new)
    assert changed is not None
    unpack(old, str(tmp_path / "."))
    unpack(changed, str(tmp_path / "."))
    assert found(tmp_path) == {name: entry[:2] for name, entry in newc.read(new).items()}
    assert len(changed) < len(new)
    assert (changed == b"") == (old == new)


def test_nothing_is_taken_away_by_an_archive():
    assert difference(archive(FILES), archive({"/empty": b""})) is None
