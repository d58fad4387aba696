"""The folders of ``--rw``: which can be, and what is said of them."""

from __future__ import annotations

import os
import stat

import pytest

from bpfasm.errors import LabError, UsageError
from bpfasm.lab.guest.shares import Shares, outermost


def test_folders_are_whole_paths_and_none_is_within_another(tmp_path, monkeypatch):
    for name in ("a/b", "ab", "c"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert outermost(["c", "a", "a/b", "ab/../ab", "a"]) == [f"{tmp_path}/{name}" for name in ("a", "ab", "c")]
    assert outermost([]) == []
    assert outermost([".", "a"]) == [str(tmp_path)]


@pytest.mark.parametrize("path", ["/", "/proc", "/sys/kernel", "/dev/shm", "//proc"])
def test_what_each_guest_has_of_its_own(path: str):
    with pytest.raises(UsageError, match="has its own") as error:
        outermost([path])
    assert error.value.rule == "lab-rw"


def test_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "none"):
        with pytest.raises(UsageError, match="no such folder"):
            outermost([tmp_path / name])


def test_too_many(tmp_path):
    for number in range(257):
        (tmp_path / f"{number}").mkdir()
    with pytest.raises(UsageError, match="more than 256"):
        outermost(tmp_path.iterdir())


def test_a_folder_that_does_not_fit(tmp_path):
    (tmp_path / "f").write_bytes(bytes(3_000_000))
    with Shares([tmp_path]) as shares:
        ((_, folder),) = shares.offers()
        with pytest.raises(LabError) as error:
            list(shares.contents(folder, 1_000_000, 1024))
        assert f"{tmp_path} holds 3 MB, and a guest of 1024 MiB has room for 1" in error.value.what
        assert "--memory 1280" in error.value.do
        assert list(shares.contents(folder, 4_000_000, 1024))


def test_what_does_not_go_is_said(tmp_path, capsys):
    for number in range(7):
        os.mkfifo(tmp_path / f"fifo{number}")
    with Shares([tmp_path]) as shares:
        ((_, folder),) = shares.offers()
        list(shares.contents(folder, 1 << 20, 1024))
    assert capsys.readouterr().err.splitlines() == [
        *(f"lab: {tmp_path}/fifo{n} is neither file, folder nor link: the guest does not have it" for n in range(5)),
        f"lab: so it is with 2 more of {tmp_path}",
    ]


def entry(path: bytes, mode: int) -> bytes:
    return b"\0%o\0000\0000\0%b\0" % (mode, path)


def test_a_name_that_would_write_to_the_terminal_is_told_in_ascii(tmp_path, capsys):
    with Shares([tmp_path]) as shares:
        list(shares.offers())
        shares.take(b"F", entry(b"\x1b[2J\xff", stat.S_IFIFO))
        shares.done()
    assert capsys.readouterr().err == (
        f"lab: '{tmp_path}/\\x1b[2J\\udcff' is neither file, folder nor link, and stays in the guest\n"
    )


def test_what_cannot_be_written_here_is_an_error(tmp_path):
    (tmp_path / "f").write_text("")
    with Shares([tmp_path]) as shares:
        list(shares.offers())
        for name in (b"f/a", b"f/b"):
            shares.take(b"F", entry(name, stat.S_IFREG | 0o644))
        with pytest.raises(LabError, match=r"f/a: Not a directory \(and 1 more\)") as error:
            shares.done()
    assert error.value.rule == "lab-rw"


def test_what_has_not_come_back_is_said(tmp_path, capsys):
    with Shares([tmp_path]) as shares:
        list(shares.offers())
        shares.abandon()
        assert capsys.readouterr().err == ""  # the command has not had it
        shares.gone()
        shares.abandon()
        assert capsys.readouterr().err == f"lab: nothing of what the command did in {tmp_path} has come back\n"
        shares.take(b"U", b"\0x")
        shares.abandon()
        assert capsys.readouterr().err == f"lab: not all of what the command did in {tmp_path} has come back\n"
        shares.done()
        shares.abandon()
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"\1x", b"\xff"])
def test_a_folder_that_is_not_shared(tmp_path, data: bytes):
    with Shares([tmp_path]) as shares:
        list(shares.offers())
        with pytest.raises(ValueError, match="not shared"):
            shares.take(b"U", data)


def test_the_guest_says_why_it_cannot_have_a_folder(tmp_path):
    with Shares([tmp_path]) as shares:
        error = shares.refused(f"{tmp_path}/f: No space left on device", 1024)
    assert error.rule == "lab-rw"
    assert "--memory 2048" in error.do
