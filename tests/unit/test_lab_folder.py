"""A folder that host and guest share: what goes, what comes back, and what a hostile guest cannot do."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from bpfasm.lab.guest.folder import PIECE, Folder


class Pair:
    """Two folders on this machine, in the place of the host's and the guest's."""

    def __init__(self, top: Path) -> None:
        self.here, self.there = top / "here", top / "there"
        self.here.mkdir()
        self.there.mkdir()
        self.host = Folder(0, os.fsencode(self.here))
        self.guest = Folder(0, os.fsencode(self.there))

    def go(self) -> list[bytes]:
        """Send all to the guest and return the kinds of the frames."""
        kinds = carry(self.host, self.guest)
        self.guest.remember()
        return kinds

    def come(self) -> list[bytes]:
        """Send what has changed back."""
        return carry(self.guest, self.host)


def carry(one: Folder, other: Folder) -> list[bytes]:
    kinds = []
    for kind, data in one.changes():
        assert data[0] == one.number
        other.take(kind, data[1:])
        kinds.append(kind)
    other.done()
    return kinds


@pytest.fixture
def pair(tmp_path):
    both = Pair(tmp_path)
    yield both
    both.host.close()
    both.guest.close()


def tree(top: Path) -> dict[str, tuple[str, int, object]]:
    """Return what is below a folder, read in another way than the code does."""
    found: dict[str, tuple[str, int, object]] = {}
    for path in sorted(top.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", 0, os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", stat.S_IMODE(mode), None)
        else:
            found[name] = ("file", stat.S_IMODE(mode), (path.read_bytes(), path.stat().st_mtime_ns))
    return found


def fill(top: Path) -> None:
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/b/c/deep").write_bytes(os.urandom(3 * PIECE + 7))
    (top / "empty").write_bytes(b"")
    (top / "caf\u00e9 \n file").write_text("x")
    Path(os.fsdecode(os.fsencode(top) + b"/\xff\xfe")).write_text("no text")
    (top / "tool").write_text("#!/bin/sh\n")
    (top / "tool").chmod(0o750)
    (top / "closed").mkdir(mode=0o700)
    (top / "closed/inside").write_text("1")
    (top / "closed").chmod(0o500)
    (top / "link").symlink_to("a/b")
    (top / "dangling").symlink_to("/no/where")
    os.utime(top / "tool", ns=(1, 1_600_000_000_123_456_789))


def test_all_of_it_goes_with_modes_and_times(pair):
    fill(pair.here)
    pair.go()
    assert tree(pair.there) == tree(pair.here)
    assert tree(pair.there)["tool"][1] == 0o750
    assert pair.guest.lost == []


def test_nothing_comes_back_when_nothing_has_changed(pair):
    fill(pair.here)
    pair.go()
    before = tree(pair.here)
    assert pair.come() == []
    assert tree(pair.here) == before


def change(top: Path) -> None:
    with (top / "a/b/c/deep").open("r+b") as file:
        file.seek(PIECE)
        file.write(b"changed")
    (top / "new/folder").mkdir(parents=True)
    (top / "new/folder/file").write_bytes(b"new")
    (top / "empty").unlink()
    (top / "tool").chmod(0o755)
    (top / "tool").rename(top / "renamed")
    (top / "closed").chmod(0o700)
    (top / "closed/inside").unlink()
    (top / "closed/another").write_text("")
    (top / "closed").chmod(0o550)
    (top / "link").unlink()
    (top / "link").symlink_to("new")
    (top / "a/again").symlink_to("..")


def test_what_was_made_changed_and_removed_comes_back(pair):
    fill(pair.here)
    pair.go()
    change(pair.there)
    pair.come()
    assert tree(pair.here) == tree(pair.there)
    assert (pair.host.aside, pair.host.kept, pair.host.lost, pair.host.left) == ([], [], [], [])


def test_only_what_has_changed_travels(pair):
    for number in range(50):
        (pair.here / f"{number}").write_bytes(bytes(PIECE))
    pair.go()
    (pair.there / "7").write_bytes(b"7")
    assert pair.come() == [b"F", b"B"]


def test_a_file_that_changed_without_its_time_comes_back(pair):
    (pair.here / "f").write_bytes(b"before")
    pair.go()
    state = (pair.there / "f").stat()
    (pair.there / "f").write_bytes(b"after!")
    os.utime(pair.there / "f", ns=(state.st_atime_ns, state.st_mtime_ns))
    pair.come()
    assert (pair.here / "f").read_bytes() == b"after!"


@pytest.mark.parametrize("what", ["file", "folder", "link"])
@pytest.mark.parametrize("becomes", ["file", "folder", "link"])
def test_one_thing_takes_the_place_of_another(pair, what: str, becomes: str):
    def make(path: Path, kind: str, text: str) -> None:
        if kind == "file":
            path.write_text(text)
        elif kind == "folder":
            path.mkdir()
            (path / text).write_text(text)
        else:
            path.symlink_to(text)

    make(pair.here / "x", what, "old")
    pair.go()
    there = pair.there / "x"
    if what == "folder":
        (there / "old").unlink()
        there.rmdir()
    else:
        there.unlink()
    make(there, becomes, "new")
    pair.come()
    assert tree(pair.here) == tree(pair.there)
    assert pair.host.lost == []


def test_a_hole_stays_a_hole(pair):
    with (pair.here / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    pair.go()
    pieces = [data for kind, data in pair.guest.changes() if kind == b"B"]
    assert pieces == []
    with (pair.there / "sparse").open("r+b") as file:
        file.seek(1 << 29)
        file.write(b"middle")
    pair.come()
    state = (pair.here / "sparse").stat()
    assert state.st_size == (1 << 30) + 3
    assert state.st_blocks * 512 < 1 << 20
    with (pair.here / "sparse").open("rb") as file:
        file.seek(1 << 29)
        assert file.read(6) == b"middle"
        file.seek(1 << 30)
        assert file.read() == b"end"


def test_a_file_that_both_have_changed_is_kept_and_the_guests_lies_beside(pair):
    (pair.here / "f").write_text("0")
    pair.go()
    for number in ("1", "2"):
        (pair.here / "f").write_text(f"here {number}")
        (pair.there / "f").write_text(f"there {number}")
        pair.come()
    assert (pair.here / "f").read_text() == "here 2"
    assert (pair.here / "f.guest").read_text() == "there 1"
    assert (pair.here / "f.guest2").read_text() == "there 2"
    assert pair.host.aside == [(b"f", b"f.guest"), (b"f", b"f.guest2")]


def test_a_file_that_both_have_made(pair):
    pair.go()
    (pair.here / "d").mkdir()
    (pair.there / "d").mkdir()
    (pair.here / "d/f").write_text("here")
    (pair.there / "d/f").write_text("there")
    pair.come()
    assert (pair.here / "d/f").read_text() == "here"
    assert (pair.here / "d/f.guest").read_text() == "there"


def test_what_has_changed_here_is_not_removed(pair):
    (pair.here / "d").mkdir()
    (pair.here / "f").write_text("0")
    pair.go()
    (pair.here / "f").write_text("changed")
    (pair.here / "d/added").write_text("")
    (pair.there / "f").unlink()
    (pair.there / "d").rmdir()
    pair.come()
    assert (pair.here / "f").read_text() == "changed"
    assert (pair.here / "d/added").exists()
    assert sorted(pair.host.kept) == [b"d", b"f"]


def test_a_file_in_a_folder_that_is_gone_here_makes_it_again(pair):
    (pair.here / "d").mkdir()
    pair.go()
    (pair.here / "d").rmdir()
    (pair.there / "d/f").write_text("1")
    pair.come()
    assert (pair.here / "d/f").read_text() == "1"


def test_what_is_no_file_is_left_and_said(pair):
    os.mkfifo(pair.here / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(pair.here / "socket"))
    pair.go()
    assert tree(pair.there) == {}
    assert pair.host.left == [b"fifo", b"socket"]
    pair.host.left.clear()
    os.mkfifo(pair.there / "another")
    pair.come()
    assert pair.host.left == [b"another"]
    assert not (pair.here / "another").exists()
    assert (pair.here / "fifo").is_fifo()


def test_the_bits_that_change_the_user_do_not_travel(pair):
    pair.go()
    (pair.there / "shell").write_text("")
    (pair.there / "shell").chmod(0o6755)
    (pair.there / "folder").mkdir()
    (pair.there / "folder").chmod(0o3777)
    pair.come()
    assert tree(pair.here)["shell"][1] == 0o755
    assert tree(pair.here)["folder"][1] == 0o777


def test_a_folders_mode_is_set_when_all_has_come_or_nothing_more_does(pair):
    (pair.here / "d").mkdir(mode=0o500)
    pair.go()
    for kind, data in entry(b"d", b"", stat.S_IFDIR | 0o550) + entry(b"d/f"):
        pair.host.take(kind, data)
    assert tree(pair.here)["d"][1] == 0o700
    pair.host.close()
    assert tree(pair.here) == {"d": ("folder", 0o550, None)}


def test_the_size_is_that_of_whole_pages_without_holes(pair):
    assert pair.host.size() == 0
    (pair.here / "small").write_bytes(b"x")
    (pair.here / "large").write_bytes(bytes(1 << 20))
    with (pair.here / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert (1 << 20) + 4096 <= pair.host.size() <= (1 << 20) + 8192


def test_clear_removes_all_and_follows_no_link(pair, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("")
    fill(pair.here)
    (pair.here / "closed").chmod(0o700)
    (pair.here / "out").symlink_to(tmp_path / "outside")
    pair.host.clear()
    assert list(pair.here.iterdir()) == []
    assert (tmp_path / "outside/kept").exists()


def entry(path: bytes, content: bytes = b"evil", mode: int = stat.S_IFREG | 0o644, target: bytes = b"") -> list:
    """Return the frames that make a path, as a guest may forge them."""
    head = b"\0".join((b"%o" % mode, b"0", b"%d" % len(content), path, target))
    body = [(b"B", bytes(8) + content)] if stat.S_ISREG(mode) else []
    return [(b"F", head), *body]


def receive(folder: Folder, frames: list) -> None:
    for kind, data in frames:
        folder.take(kind, data)
    folder.done()


@pytest.mark.parametrize(
    "path",
    [
        b"../evil",
        b"/etc/evil",
        b"a/../../evil",
        b"..",
        b".",
        b"",
        b"a//b",
        b"./evil",
        b"a/.",
        b"a/..",
        b"/",
        b"//evil",
    ],
)
@pytest.mark.parametrize("mode", [stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777])
def test_a_path_that_leads_elsewhere_is_refused(pair, tmp_path, path: bytes, mode: int):
    (pair.here / "a").mkdir()
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="leads elsewhere"):
        receive(pair.host, entry(path, mode=mode, target=b"x"))
    with pytest.raises(ValueError, match="leads elsewhere"):
        pair.host.take(b"U", path)
    assert tree(tmp_path) == before


def test_a_link_is_not_followed_out(pair, tmp_path):
    """Neither a link that was here, nor one that the guest has just made."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "file").write_text("untouched")
    (pair.here / "link").symlink_to(outside)
    (pair.here / "file").symlink_to(outside / "file")
    pair.go()
    before = tree(outside)
    link = stat.S_IFLNK | 0o777
    target = os.fsencode(outside)
    frames = [
        *entry(b"link/file"),
        *entry(b"link/new/file"),
        *entry(b"file"),
        *entry(b"made", b"", link, target),
        *entry(b"made/file"),
        *entry(b"made/folder", b"", stat.S_IFDIR | 0o777),
        (b"U", b"made/file"),
        (b"U", b"link/file"),
        # A folder whose mode is set at the end, when a link is in its place.
        *entry(b"trap", b"", stat.S_IFDIR | 0o777),
        *entry(b"trap", b"", link, target),
    ]
    receive(pair.host, frames)
    assert tree(outside) == before
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700
    assert (pair.here / "file").read_text() == "evil"  # the link itself was replaced
    assert {path for path, _ in pair.host.lost} >= {b"link/file", b"link/new/file", b"made/file", b"made/folder"}


def test_a_guest_cannot_remove_what_it_was_not_given(pair):
    pair.go()
    (pair.here / "mine").write_text("1")
    receive(pair.host, [(b"U", b"mine")])
    assert (pair.here / "mine").exists()


@pytest.mark.parametrize(
    "frames",
    [
        [(b"F", b"")],
        [(b"F", b"644\0000\0004\0f")],
        [(b"F", b"x\0000\0004\0f\0")],
        [(b"F", b"100644\0x\0004\0f\0")],
        [(b"F", b"100644\0000\0004\0f\0\0more")],
        [(b"F", b"100644\0000\0004\0f\0"), (b"B", bytes(8) + b"12345")],
        [(b"F", b"100644\0000\0004\0f\0"), (b"B", b"\xff" * 8 + b"1")],
        [(b"F", b"100644\0000\000-1\0f\0"), (b"B", bytes(8) + b"1")],
    ],
)
def test_a_frame_that_is_none(pair, frames: list):
    with pytest.raises(ValueError):
        receive(pair.host, frames)
    pair.host.close()
    assert list(pair.here.iterdir()) == []


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"100644\0%d\0001\0f\0" % 10**30, "out of range"),
        (b"100644\0000\0%d\0f\0" % 10**30, "int"),
        (b"100644\0000\000-1\0f\0", "Invalid"),
        (b"%o\0000\0001\0f\0" % 10**30, "int"),
        (b"100644\0000\0001\0" + b"n" * 300 + b"\0", "too long"),
        (b"100644\0000\0001\0d/f\0", "Not a directory"),
    ],
)
def test_what_the_system_refuses_is_lost_and_said(pair, head: bytes, reason: str):
    (pair.here / "d").write_text("a file")
    receive(pair.host, [(b"F", head), *entry(b"next")])
    ((_, words),) = pair.host.lost
    assert reason in words
    assert (pair.here / "next").read_text() == "evil"
    assert sorted(path.name for path in pair.here.iterdir()) == ["d", "next"]


def test_a_file_that_never_is_whole_leaves_nothing(pair):
    for kind, data in entry(b"half"):
        pair.host.take(kind, data)
    assert list(pair.here.iterdir()) == []
    pair.host.close()
    assert list(pair.here.iterdir()) == []


def test_where_a_file_cannot_be_without_a_name(pair, monkeypatch):
    """As on NFS or FAT: it has a name of ours until it is whole."""
    plain = os.open

    def refuses(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return plain(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuses)
    first, second = entry(b"f")
    pair.host.take(*first)
    pair.host.take(*second)
    assert [path.name for path in pair.here.iterdir()] == [f".bpfasm-{os.getpid()}-0"]
    pair.host.done()
    assert tree(pair.here)["f"][2][0] == b"evil"
    pair.host.take(*entry(b"g")[0])
    pair.host.close()
    assert [path.name for path in pair.here.iterdir()] == ["f"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_does_not_go(pair):
    (pair.here / "secret").write_text("")
    (pair.here / "secret").chmod(0)
    (pair.here / "closed").mkdir(mode=0)
    pair.go()
    assert {path for path, _ in pair.host.lost} == {b"secret", b"closed"}
    (pair.here / "closed").chmod(0o700)
