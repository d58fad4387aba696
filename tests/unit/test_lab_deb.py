"""Unpacking packages: as dpkg-deb does it, and nothing outside the folder whatever a package holds."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.packages import deb


def ar(*members: tuple[str, bytes]) -> bytes:
    """Return an ar archive (deb(5))."""
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        data += content + b"\n" * (len(content) % 2)
    return data


def tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Return a tar of files, and of members as they are given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def package(path: Path, data: bytes, name: str = "data.tar") -> Path:
    path.write_bytes(ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (name, data)))
    return path


def entries(top: Path) -> dict[str, object]:
    """Return what is below a folder: the type, and the content or the target with the mode and time of files."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(top):
        for name in folders + files:
            path = Path(place, name)
            state = path.lstat()
            key = str(path.relative_to(top))
            if path.is_symlink():
                found[key] = os.readlink(path)
            elif path.is_dir():
                found[key] = "folder"
            else:
                found[key] = (path.read_bytes(), oct(state.st_mode), int(state.st_mtime), state.st_nlink)
    return found


@pytest.mark.parametrize("packed", ["xz", "gzip", "none"])
def test_it_is_what_dpkg_deb_makes(packed: str, tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: a\nVersion: 1\nArchitecture: all\nMaintainer: t\nDescription: t\n")
    (tree / "usr/lib/deep/er").mkdir(parents=True)
    (tree / "usr/lib/deep/er" / ("long" * 50)).write_bytes(os.urandom(3 << 20))
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/tool").write_bytes(b"#!/bin/sh\n")
    (tree / "usr/bin/tool").chmod(0o755)
    (tree / "usr/bin/same").hardlink_to(tree / "usr/bin/tool")
    (tree / "usr/bin/other").symlink_to("tool")
    (tree / "usr/lib/up").symlink_to("../bin/tool")
    (tree / "usr/lib/nowhere").symlink_to("missing")
    (tree / "caf\u00e9 \u2014").write_bytes(b"")
    os.utime(tree / "usr/bin/tool", (1_000_000, 1_000_000))
    made = tmp_path / "a.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", f"-Z{packed}", "-b", tree, made], check=True, capture_output=True
    )
    subprocess.run(["dpkg-deb", "-x", made, tmp_path / "theirs"], check=True)
    deb.unpack(made, tmp_path / "ours")
    assert entries(tmp_path / "ours") == entries(tmp_path / "theirs")


def test_a_link_to_an_absolute_path_stays_in_the_tree(tmp_path):
    data = tar(("etc/real", b"ours"), special("usr/lib/link", tarfile.SYMTYPE, "/etc/real"))
    deb.unpack(package(tmp_path / "a.deb", data), tmp_path / "tree")
    assert os.readlink(tmp_path / "tree/usr/lib/link") == "../../etc/real"
    assert (tmp_path / "tree/usr/lib/link").read_bytes() == b"ours"


def test_modes_that_only_root_gives_a_meaning_are_dropped(tmp_path):
    info = tarfile.TarInfo("su")
    info.mode = 0o6777
    deb.unpack(package(tmp_path / "a.deb", tar(info)), tmp_path / "tree")
    assert (tmp_path / "tree/su").stat().st_mode & 0o7777 == 0o755


def test_a_later_package_replaces_files_and_links(tmp_path):
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").symlink_to(tmp_path / "outside")
    deb.unpack(package(tmp_path / "a.deb", tar(("a", b"new"))), tmp_path / "tree")
    assert (tmp_path / "tree/a").read_bytes() == b"new"
    assert (tmp_path / "outside").read_text() == "untouched"


HOSTILE = {
    "absolute": [("/escaped", b"x")],
    "up": [("../escaped", b"x")],
    "up and down": [("a/../../escaped", b"x")],
    "link out": [special("a", tarfile.SYMTYPE, "../escaped")],
    "link far out": [special("a/b", tarfile.SYMTYPE, "../../../escaped")],
    "through a link": [special("a", tarfile.SYMTYPE, "/"), ("a/escaped", b"x")],
    "through a link in the tree": [("b/c", b""), special("a", tarfile.SYMTYPE, "b"), ("a/escaped", b"x")],
    "folder through a link": [special("a", tarfile.SYMTYPE, "."), special("a/escaped", tarfile.DIRTYPE)],
    "hard link out": [special("a", tarfile.LNKTYPE, "../outside")],
    "hard link to an absolute path": [special("a", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link to a link": [("f", b""), special("a", tarfile.SYMTYPE, "f"), special("b", tarfile.LNKTYPE, "a")],
    "hard link to nothing": [special("b", tarfile.LNKTYPE, "a")],
    "device": [special("a", tarfile.CHRTYPE)],
    "pipe": [special("a", tarfile.FIFOTYPE)],
    "file for the root": [("./", b"x")],
    "file for a folder": [("a/b", b"x"), ("a", b"x")],
    "folder for a file": [("a", b"x"), ("a/b", b"x")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_refused(members, tmp_path):
    (tmp_path / "outside").write_text("untouched")
    with pytest.raises(LabError, match=r"a\.deb is refused") as error:
        deb.unpack(package(tmp_path / "a.deb", tar(*members)), tmp_path / "tree")
    assert error.value.rule == "lab-package"
    assert not list(tmp_path.rglob("escaped"))
    assert not Path("/escaped").exists()
    assert (tmp_path / "outside").stat().st_nlink == 1


def test_damage_anywhere_is_told_or_harmless(tmp_path):
    """Cut short at each of many places, and with each of many bytes changed: an error of ours, or the same files."""
    whole = package(tmp_path / "a.deb", lzma.compress(tar(("a/b", b"content" * 99))), "data.tar.xz").read_bytes()
    cut = [whole[:size] for size in range(0, len(whole), 7)]
    changed = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(0, len(whole), 5)]
    told = 0
    for i, data in enumerate(cut + changed):
        (tmp_path / "b.deb").write_bytes(data)
        try:
            deb.unpack(tmp_path / "b.deb", tmp_path / f"tree{i}")
        except LabError as error:
            assert error.rule == "lab-package"
            told += 1
        else:
            assert (tmp_path / f"tree{i}/a/b").read_bytes() == b"content" * 99
    assert told > len(cut)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no Debian package"),
        (b"PK\x03\x04" + bytes(100), "no Debian package"),
        (ar(("debian-binary", b"2.0\n")), "no files"),
        (ar(("data.tar.zst", b"")), r"packed as data\.tar\.zst"),
        (ar(("data.tar.xz", b"not xz")), "damaged"),
        (ar(("data.tar", bytes(100))), "damaged"),
    ],
)
def test_files_that_are_no_package(data: bytes, why: str, tmp_path):
    (tmp_path / "a.deb").write_bytes(data)
    with pytest.raises(LabError, match=why):
        deb.unpack(tmp_path / "a.deb", tmp_path / "tree")
