"""The door: what ./run says where something is missing."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POSIX_TOOLS = ("sh", "dirname", "cat", "cksum", "tr", "id", "mkdir", "printf", "date", "find", "head")


@pytest.fixture
def tools(tmp_path):
    """Make a folder that has POSIX's tools and those that are named, and nothing else."""

    def make(*names):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in (*POSIX_TOOLS, *names):
            found = next((p for p in (Path("/usr/bin", name), Path("/bin", name)) if p.exists()), None)
            if found:
                (folder / name).symlink_to(found)
        return folder

    return make


def run(*words, path, tmp_path, **environ):
    """Run the door with a path of its own; no terminal."""
    return subprocess.run(
        [str(ROOT / "run"), *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": str(path), "HOME": str(tmp_path), **environ},
        check=False,
    )


def test_without_python_it_says_how_to_get_one(tools, tmp_path):
    done = run(path=tools(), tmp_path=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "error: bpfasm needs Python 3.11 or newer, and there is none here",
        "apt-get install python3 (Debian 12 and newer), dnf install python3, brew install python3",
    ]


def test_a_verb_of_the_standard_library_needs_python_alone(tools, tmp_path):
    done = run("disasm", "--help", path=tools("python3"), tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("  echo b7")


@pytest.mark.parametrize("words", [["--version"], ["asm", "--help"], ["lesson", "list"]])
def test_words_are_passed_on(tools, tmp_path, words):
    done = run(*words, path=tools("python3"), tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_qemu_it_names_the_package(tools, tmp_path):
    done = run("chowncount", "--on", "6.1", path=tools("python3"), tmp_path=tmp_path)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (3, "", 2)
    assert "QEMU" in lines[0]
    assert "qemu" in lines[1]
