"""The parts of a guest's file system: what is in them, and when they are built again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.newc import read

from bpfasm.errors import LabError
from bpfasm.lab.image import parts as image, python
from bpfasm.lab.image.busybox import applets
from bpfasm.lab.image.distributions import distributions
from bpfasm.lab.matrix import Tree

ROOT = Path(image.__file__).resolve().parents[3]


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
    for room in ("guest", "image", "kernel"):
        (top / "bpfasm/lab" / room).mkdir(parents=True)
    (top / "bpfasm/lab/guest/init.py").write_text("print('init')\n")
    (top / "bpfasm/lab/guest/folder.py").write_text("print('folder')\n")
    (top / "bpfasm/lab/image/unpack.py").write_text("print('unpack')\n")
    monkeypatch.setattr(image, "project_root", lambda: top)
    monkeypatch.setattr(image, "__file__", str(top / "bpfasm/lab/image/parts.py"))
    for name in image._BUILDERS:
        (top / f"bpfasm/lab/{name}.py").write_text("")
    return top


def names(part: Path) -> dict[str, tuple[int, bytes, tuple[int, int], int]]:
    return read(part.read_bytes())


def test_the_project_keeps_its_place_and_comes_compiled(checkout):
    found = names(image.project(python.here()))
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
    assert found["lab/init"][1][:4] == importlib.util.MAGIC_NUMBER


def test_where_python_keeps_its_pyc_files_here_does_not_matter(checkout, monkeypatch, tmp_path):
    plain = image.project(python.here()).read_bytes()
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    for part in (tmp_path / "cache/bpfasm/image").iterdir():
        part.unlink()
    assert image.project(python.here()).read_bytes() == plain


def test_the_guest_runs_the_code_that_was_compiled_here(checkout, tmp_path):
    """Python takes the .pyc for the source although no time in the archive is right."""
    for name, (mode, data, _, _) in names(image.project(python.here())).items():
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
    first = image.project(python.here())
    assert image.project(python.here()) == first
    (checkout / "bpfasm/__init__.py").touch()
    assert image.project(python.here()) == first
    (checkout / "bpfasm/__init__.py").write_text("ANSWER = 43\n")
    second = image.project(python.here())
    assert second != first
    (checkout / "bpfasm/lab/image/cpio.py").write_text("# another builder\n")
    assert image.project(python.here()) not in {first, second}


def test_old_parts_are_removed(checkout):
    parts = []
    for number in range(6):
        (checkout / "bpfasm/__init__.py").write_text(f"ANSWER = {number}\n")
        parts.append(image.project(python.here()))
        os.utime(parts[-1], (number, number))
    (checkout / "bpfasm/__init__.py").write_text("ANSWER = 99\n")
    last = image.project(python.here())
    assert [part.exists() for part in parts] == [False, False, False, True, True, True]
    assert last.exists()


def test_parts_that_somebody_may_be_about_to_open_are_kept(checkout):
    parts = []
    for number in range(6):
        (checkout / "bpfasm/__init__.py").write_text(f"ANSWER = {number}\n")
        parts.append(image.project(python.here()))
    assert all(part.exists() for part in parts)


def test_only_the_package_where_it_is_installed(checkout):
    (checkout / "pyproject.toml").unlink()
    assert not any("/tests" in name for name in names(image.project(python.here())))


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
        image.base(python.here())
    assert error.value.rule == "lab-ldd"


def test_a_kernel_without_modules_has_no_such_part(checkout, monkeypatch):
    monkeypatch.setattr(image, "base", lambda _: Path("base"))
    monkeypatch.setattr(image, "tools", lambda *_: [])
    parts = image.parts(Tree("9", checkout, None))
    assert parts.all() == [Path("base"), image.project(python.here())]
    with pytest.raises(LabError, match="kernel 9 has no module veth") as error:
        image.parts(Tree("9", checkout, None), more_modules=["veth"])
    assert error.value.rule == "lab-module"
    assert "what is built in" in error.value.do


def test_packages_that_are_not_here_are_left_out():
    assert distributions(("no-such-package-here",)) == {}
    found = distributions(("pytest",))
    assert {"pytest", "pluggy", "iniconfig"} <= found.keys()
    part = names(image.site_packages(found, python.here()))
    assert any(name.endswith("/_pytest/config/__init__.py") for name in part)
    assert any(name.endswith(f"/_pytest/__pycache__/main.{sys.implementation.cache_tag}.pyc") for name in part)


def test_what_the_base_has_no_other_part_brings():
    """Both need the C library; it is large, and a guest unpacks it at each start."""
    base = names(image.base(python.here()))
    packages = names(image.site_packages(distributions(("pytest",)), python.here()))
    assert any(name.endswith("/libc.so.6") for name in base)
    assert not any(stat.S_ISREG(packages[name][0]) for name in base.keys() & packages.keys())


def test_the_guest_has_busyboxs_commands():
    (tools,) = image.tools(busybox())
    found = names(tools)
    assert found["lab/bin/busybox"][:2] == (stat.S_IFREG | 0o755, busybox().read_bytes())
    bins = os.path.realpath("/bin").lstrip("/")
    for name in applets(busybox().read_bytes()):
        assert found[f"{bins}/{name}"][:2] == (stat.S_IFLNK | 0o777, b"/lab/bin/busybox")
    for path in ("/usr/bin/env", "/sbin/modprobe"):
        folder, _, name = path.rpartition("/")
        assert f"{os.path.realpath(folder).lstrip('/')}/{name}" in found


def test_this_machines_busybox_stands_in():
    assert image.tools(None) == image.tools(busybox())


def test_without_a_busybox_a_few_programs_of_this_machine_go_along(tmp_path, monkeypatch):
    for name in ("sh", "cat", "ldd"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tools,) = image.tools(None)
    found = names(tools)
    shell = os.path.realpath("/bin/sh").lstrip("/")
    assert found[shell][0] == stat.S_IFREG | 0o755
    assert any(Path(name).name.startswith("libc.") for name in found)
    assert "lab/bin/busybox" not in found


def test_another_machines_guest_gets_none_of_this_machines_programs(tmp_path):
    assert image.tools(None, tmp_path) == []
    (tools,) = image.tools(busybox(), tmp_path)
    found = names(tools)
    # Its own may have a busybox.
    (tmp_path / "usr/bin").mkdir(parents=True)
    shutil.copy(busybox(), tmp_path / "usr/bin")
    (own,) = image.tools(None, tmp_path)
    assert names(own) == found
    # Debian's folders, whatever this machine has.
    assert found["bin"][:2] == (stat.S_IFLNK | 0o777, b"usr/bin")
    assert found["usr/bin/sh"][1] == b"/lab/bin/busybox"
    assert found["sbin"][1] == b"usr/sbin"
    assert found["usr/sbin/modprobe"][1] == b"/lab/bin/busybox"


def busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("busybox is not installed")
    return Path(found)
