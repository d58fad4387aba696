"""The guest's disk: what mkfs.ext4 makes of it, and a machine without that."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.image import ext4


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def image():
    if ext4.find() is None:
        pytest.skip("mkfs.ext4 is not installed")
    return ext4.image()


def test_it_is_made_once_and_takes_little_room(image):
    assert ext4.image() == image
    state = os.stat(image)
    assert state.st_size == ext4.SIZE_MIB << 20
    assert state.st_blocks * 512 < 8 << 20


@pytest.mark.oracle
def test_it_is_whole_and_the_oldest_kernel_of_the_lab_knows_all_of_it(image):
    e2fsck = shutil.which("e2fsck", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    dumpe2fs = shutil.which("dumpe2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if e2fsck is None or dumpe2fs is None:
        pytest.skip("e2fsck is not installed")
    assert subprocess.run([e2fsck, "-f", "-n", image], capture_output=True, check=False).returncode == 0
    shown = subprocess.run([dumpe2fs, "-h", image], capture_output=True, text=True, check=True).stdout
    (features,) = [line.split()[2:] for line in shown.splitlines() if line.startswith("Filesystem features:")]
    assert {"has_journal", "extent", "metadata_csum"} <= set(features)
    assert not {"orphan_file", "metadata_csum_seed", "casefold"} & set(features)  # of Linux 5.15; of mkfs.ext4 1.47


def test_a_machine_without_mkfs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ext4, "_SBIN", str(tmp_path))
    with pytest.raises(LabError) as error:
        ext4.image()
    assert error.value.rule == "lab-disk"
    assert "e2fsprogs" in error.value.do
    assert len(str(error.value).splitlines()) == 2


def test_a_mkfs_that_fails_is_told_in_its_words(monkeypatch, tmp_path):
    program = tmp_path / "mkfs.ext4"
    program.write_text("#!/bin/sh\necho no such feature: flex >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LabError, match="no such feature: flex"):
        ext4.image()
