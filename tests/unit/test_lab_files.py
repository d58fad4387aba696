"""Files on their way into a guest: from this machine, and from a folder that stands for another."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.newc import read

from bpfasm.errors import LabError
from bpfasm.lab.image import python
from bpfasm.lab.image.cpio import CpioWriter
from bpfasm.lab.image.files import HERE, Files, real
from bpfasm.lab.image.libraries import libraries


@pytest.fixture
def tree(tmp_path) -> Path:
    """A tree whose links lead from its own top."""
    top = tmp_path / "tree"
    (top / "usr/bin").mkdir(parents=True)
    (top / "etc").mkdir()
    (top / "usr/bin/tool").write_text("tool\n")
    (top / "usr/bin/tool").chmod(0o755)
    (top / "etc/site.py").write_text("x = 1\n")
    (top / "usr/site.py").symlink_to("/etc/site.py")
    (top / "usr/local").symlink_to("../usr")
    (top / "round").symlink_to("/round")
    return top


def entries(top: Path, *paths: str) -> dict[str, tuple[int, bytes]]:
    out = io.BytesIO()
    cpio = CpioWriter(out)
    for path in paths:
        Files(cpio, top).copy(Path(path))
    cpio.close()
    return {name: entry[:2] for name, entry in read(out.getvalue()).items() if not stat.S_ISDIR(entry[0])}


def test_a_link_to_the_top_stays_in_the_tree(tree):
    assert entries(tree, "/usr/site.py") == {
        "usr/site.py": (stat.S_IFLNK | 0o777, b"/etc/site.py"),
        "etc/site.py": (stat.S_IFREG | 0o644, b"x = 1\n"),
    }


def test_links_above_a_file_are_kept(tree):
    assert entries(tree, "/usr/local/bin/tool") == {
        "usr/local": (stat.S_IFLNK | 0o777, b"../usr"),
        "usr/bin/tool": (stat.S_IFREG | 0o755, b"tool\n"),
    }


def test_the_links_of_a_merged_usr_are_made_where_no_package_has_them(tree):
    found = entries(tree, "/bin/tool")
    assert found == {"bin": (stat.S_IFLNK | 0o777, b"usr/bin"), "usr/bin/tool": (stat.S_IFREG | 0o755, b"tool\n")}
    (tree / "bin").mkdir()
    (tree / "bin/tool").write_text("another\n")
    assert entries(tree, "/bin/tool") == {"bin/tool": (stat.S_IFREG | 0o644, b"another\n")}


def test_a_link_in_a_circle(tree):
    with pytest.raises(LabError, match="circle") as error:
        entries(tree, "/round")
    assert error.value.rule == "lab-copy"


def test_where_a_path_is_on_this_machine():
    assert real(HERE, Path("/bin/sh")) == Path("/bin/sh").resolve()


@pytest.mark.oracle
def test_the_libraries_of_a_tree_are_those_that_the_loader_finds_here(tmp_path):
    """A tree of copies: in it, they are found without the loader."""
    program = Path(shutil.which("gcc") or shutil.which("sh") or "/bin/sh").resolve()
    here = libraries(Files(CpioWriter(io.BytesIO())), [program])
    top = tmp_path / "tree"
    for path in {program, *here}:
        copy = top / path.resolve().relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        if path.name != copy.name:
            (copy.parent / path.name).symlink_to(copy.name)
    found = libraries(Files(CpioWriter(io.BytesIO()), top), [program])
    assert {path.name for path in found} == {path.name for path in here} != set()


def test_no_programs_need_no_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked the loader"))
    assert libraries(Files(CpioWriter(io.BytesIO())), []) == []


def test_the_python_of_a_folder_of_packages(tmp_path):
    with pytest.raises(LabError, match="no Python in") as error:
        python.below(tmp_path)
    assert error.value.rule == "lab-userland"
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    for name in ("python3.9", "python3.11", "python3.11-config", "pydoc3.11"):
        (tmp_path / "usr/bin" / name).write_text("")
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    library = tmp_path / "usr/lib/python3.11"
    (library / "lib-dynload").mkdir(parents=True)
    for name in ("os.py", "turtle.py", "lib-dynload/_ssl.x.so", "lib-dynload/fcntl.x.so", "lib-dynload/_test.x.so"):
        (library / name).write_text("")
    (tmp_path / "etc/sitecustomize.py").write_text("")
    (library / "sitecustomize.py").symlink_to("/etc/sitecustomize.py")
    (library / "dangling.py").symlink_to("/etc/nothing.py")
    found = python.below(tmp_path)
    assert found.executable == found.interpreter == Path("/usr/bin/python3.11")
    assert found.programs() == [Path("/usr/bin/python3.11"), Path("/usr/bin/python3")]
    assert [path.name for path in found.sources()] == ["os.py", "sitecustomize.py"]
    assert found.extensions() == [Path("/usr/lib/python3.11/lib-dynload/fcntl.x.so")]
    assert found.extensions_for_packages() == [Path("/usr/lib/python3.11/lib-dynload/_ssl.x.so")]
    assert found.ours == (sys.version_info[:2] == (3, 11))
    assert not found.native
    assert python.here().native
