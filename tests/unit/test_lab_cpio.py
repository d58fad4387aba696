"""The cpio writer, read back by a reader of our own and by the cpio of this machine where there is one."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess

import pytest
from support.newc import read

from bpfasm.lab.image.cpio import BLOCK, CpioWriter


def archive() -> bytes:
    out = io.BytesIO()
    cpio = CpioWriter(out)
    cpio.file("/etc/passwd", b"root\n")
    cpio.file("etc/empty", b"", 0o600)
    cpio.file("/bin/run", bytes(range(256)) * 5, 0o755)
    cpio.symlink("/lib", "usr/lib")
    cpio.directory("/tmp", 0o1777)
    cpio.device("/dev/console", 5, 1)
    cpio.file("/etc/passwd", b"a second one is not taken")
    cpio.file("/caf\udce9", b"a name that is not UTF-8")
    cpio.close()
    return out.getvalue()


def test_entries_are_read_back():
    entries = read(archive())
    assert list(entries) == [
        "etc", "etc/passwd", "etc/empty", "bin", "bin/run", "lib", "tmp", "dev", "dev/console", "caf\udce9",
    ]  # fmt: skip
    assert entries["etc/passwd"][:2] == (stat.S_IFREG | 0o644, b"root\n")
    assert entries["etc/empty"][:2] == (stat.S_IFREG | 0o600, b"")
    assert entries["bin/run"][:2] == (stat.S_IFREG | 0o755, bytes(range(256)) * 5)
    assert entries["lib"][:2] == (stat.S_IFLNK | 0o777, b"usr/lib")
    assert entries["tmp"][0] == stat.S_IFDIR | 0o1777
    assert entries["dev/console"][:3] == (stat.S_IFCHR | 0o600, b"", (5, 1))


def test_each_entry_has_an_inode_of_its_own():
    inodes = [entry[3] for entry in read(archive()).values()]
    assert len(set(inodes)) == len(inodes)


def test_equal_input_is_equal_bytes_in_whole_blocks():
    assert archive() == archive()
    assert len(archive()) % BLOCK == 0


def test_an_empty_archive_is_a_trailer():
    out = io.BytesIO()
    CpioWriter(out).close()
    assert read(out.getvalue()) == {}


@pytest.mark.oracle
@pytest.mark.parametrize("reader", [["cpio"], ["busybox", "cpio"]], ids=["cpio", "busybox"])
def test_this_machines_cpio_reads_it(reader: list[str], tmp_path):
    if shutil.which(reader[0]) is None:
        pytest.skip(f"{reader[0]} is not installed")
    out = io.BytesIO()
    cpio = CpioWriter(out)
    for length in range(9):
        cpio.file(f"/d/{'n' * (length + 1)}", b"x" * length)
    cpio.symlink("/d/link", "n")
    cpio.close()
    done = subprocess.run(
        [*reader, "-i", "-d", "-H", "newc"] if reader == ["cpio"] else [*reader, "-i", "-d"],
        input=out.getvalue(), cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for length in range(9):
        assert (tmp_path / "d" / ("n" * (length + 1))).read_bytes() == b"x" * length
    assert (tmp_path / "d/link").readlink().name == "n"
