"""The parts of a guest's file system: what is in them, and when they are built again."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.newc import read

from bpfasm.errors import LabError
from bpfasm.lab import image
from bpfasm.lab.matrix import Tree

ROOT = Path(image.__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A small project in place of ours."""
    top = tmp_path / "caf\u00e9 project"
    (top / "bpfasm/__pycache__").mkdir(parents=True)
    (top / "tests").mkdir()
    (top / "pyproject.toml").write_text("")
    (top / "bpfasm/__init__.py").write_text("ANSWER = 42\n")
    (top / "bpfasm/broken.py").write_text("this is no Python\n")
    (top / "bpfasm/data.toml").write_text("a = 1\n")
    (top / "bpfasm/__pycache__/old.pyc").write_bytes(b"")
    (top / "tests/test_one.py").write_text("x = 1\n")
    (top / "bpfasm/lab").mkdir()
    (top / "bpfasm/lab/guest.py").write_text("print('init')\n")
    (top / "bpfasm/lab/folder.py").write_text("print('folder')\n")
    monkeypatch.setattr(image, "project_root", lambda: top)
    monkeypatch.setattr(image, "__file__", str(top / "bpfasm/lab/image.py"))
    for name in ("image", "cpio", "modules", "objects"):
        (top / f"bpfasm/lab/{name}.py").write_text("")
    return top


def names(part: Path) -> dict[str, tuple[int, bytes, tuple[int, int], int]]:
    return read(part.read_bytes())


def test_the_project_keeps_its_place_and_comes_compiled(checkout):
    found = names(image.project())
    top = str(checkout).lstrip("/")
    assert found[f"{top}/bpfasm/__init__.py"][1] == b"ANSWER = 42\n"
    tag = sys.implementation.cache_tag
    code = found[f"{top}/bpfasm/__pycache__/__init__.{tag}.pyc"][1]
    assert code[:4] == importlib.util.MAGIC_NUMBER
    assert code[4:8] == b"\1\0\0\0"  # a hash, not to be checked
    assert f"{top}/bpfasm/__pycache__/broken.{tag}.pyc" not in found
    assert f"{top}/bpfasm/__pycache__/old.pyc" not in found
    assert f"{top}/tests/test_one.py" in found
    assert not any(name.startswith(f"{top}/tests/__pycache__") for name in found)
    assert found["lab/init.pyc"][1][:4] == importlib.util.MAGIC_NUMBER


def test_where_python_keeps_its_pyc_files_here_does_not_matter(checkout, monkeypatch, tmp_path):
    plain = image.project().read_bytes()
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    for part in (tmp_path / "cache/bpfasm/image").iterdir():
        part.unlink()
    assert image.project().read_bytes() == plain


def test_the_guest_runs_the_code_that_was_compiled_here(checkout, tmp_path):
    """Python takes the .pyc for the source although no time in the archive is right."""
    for name, (mode, data, _, _) in names(image.project()).items():
        path = tmp_path / "guest" / name
        if stat.S_ISDIR(mode):
            path.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISREG(mode):
            path.write_bytes(data)
            os.utime(path, (0, 0))
    top = tmp_path / "guest" / str(checkout).lstrip("/")
    done = subprocess.run(
        [sys.executable, "-v", "-c", "import bpfasm; print(bpfasm.ANSWER)"],
        env={"PYTHONPATH": str(top)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "42\n"
    assert "matches" in done.stderr


def test_a_part_is_built_again_when_a_file_changes_and_only_then(checkout):
    first = image.project()
    assert image.project() == first
    (checkout / "bpfasm/__init__.py").touch()
    assert image.project() == first
    (checkout / "bpfasm/__init__.py").write_text("ANSWER = 43\n")
    second = image.project()
    assert second != first
    (checkout / "bpfasm/lab/cpio.py").write_text("# another builder\n")
    assert image.project() not in {first, second}


def test_old_parts_are_removed(checkout):
    parts = []
    for number in range(6):
        (checkout / "bpfasm/__init__.py").write_text(f"ANSWER = {number}\n")
        parts.append(image.project())
        os.utime(parts[-1], (number, number))
    (checkout / "bpfasm/__init__.py").write_text("ANSWER = 99\n")
    last = image.project()
    assert [part.exists() for part in parts] == [False, False, False, True, True, True]
    assert last.exists()


def test_only_the_package_where_it_is_installed(checkout):
    (checkout / "pyproject.toml").unlink()
    assert not any("/tests" in name for name in names(image.project()))


def test_links_on_the_way_are_links_in_the_guest(tmp_path):
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "real/deep/file").write_text("x")
    (tmp_path / "real/deep/alias").symlink_to("file")
    (tmp_path / "short").symlink_to("real/deep")
    found = read(image.copies([tmp_path / "short/alias"]))
    top = str(tmp_path).lstrip("/")
    assert found[f"{top}/short"][:2] == (stat.S_IFLNK | 0o777, b"real/deep")
    assert found[f"{top}/real/deep/alias"][:2] == (stat.S_IFLNK | 0o777, b"file")
    assert found[f"{top}/real/deep/file"][:2] == (stat.S_IFREG | 0o644, b"x")


def test_a_folder_is_copied_whole_with_modes(tmp_path):
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/tool").write_text("#!/bin/sh\n")
    (tmp_path / "d/e/tool").chmod(0o755)
    (tmp_path / "d/.hidden").mkdir()
    (tmp_path / "d/.hidden/x").write_text("")
    (tmp_path / "d/dangling").symlink_to("nowhere")
    found = read(image.copies([tmp_path / "d"]))
    top = str(tmp_path).lstrip("/")
    assert found[f"{top}/d/e/tool"][0] == stat.S_IFREG | 0o755
    assert not any(".hidden" in name or "dangling" in name for name in found)


def test_what_cannot_be_copied(tmp_path):
    assert image.copies([]) == b""
    with pytest.raises(LabError, match="there is no"):
        image.copies([tmp_path / "nothing"])
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(LabError) as error:
        image.copies([tmp_path / "round"])
    assert error.value.rule == "lab-copy"


def test_a_machine_without_ldd(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        image.base()
    assert error.value.rule == "lab-ldd"


def test_a_kernel_without_modules_has_no_such_part(checkout, monkeypatch):
    monkeypatch.setattr(image, "base", lambda: Path("base"))
    parts = image.parts(Tree("9", checkout, None), ("virtio",), (), [])
    assert parts == [Path("base"), image.project()]


def test_packages_that_are_not_here_are_left_out():
    assert image.distributions(("no-such-package-here",)) == {}
    found = image.distributions(("pytest",))
    assert {"pytest", "pluggy", "iniconfig"} <= found.keys()
    part = names(image.site_packages(found))
    assert any(name.endswith("/_pytest/config/__init__.py") for name in part)
    assert any(name.endswith(f"/_pytest/__pycache__/main.{sys.implementation.cache_tag}.pyc") for name in part)
