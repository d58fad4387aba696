"""``doctor`` and ``clean`` without a kernel's help: the lab's half-made folders, the question, the status."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from bpfasm.cli import main
from bpfasm.lab import cache
from bpfasm.syscall.owner import this_process

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A cache with a folder of a dead process, one of a living process, and one of nobody's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    me = this_process()
    made = [cache.directory("tmp") / name for name in (me.replace(pid=1 << 22).tag(), me.tag(), "mine")]
    for folder in made:
        folder.mkdir()
        (folder / "half").write_text("made")
    return made


def test_a_folder_of_the_dead_goes(folders, capsys):
    dead = folders[0]
    assert main(["clean"]) == 1
    out, err = capsys.readouterr()
    assert f"folder {dead}, of process {1 << 22}\n" in out
    assert err == "nothing was removed: --yes removes what does not stay\n"
    assert main(["clean", "--json"]) == 1
    assert dead.exists()
    capsys.readouterr()
    assert main(["clean", "--yes", "--json"]) == 0
    (item,) = (item for item in json.loads(capsys.readouterr().out)["items"] if item["kind"] == "folder")
    assert (item["name"], item["pid"], item["removed"], item["stays"]) == (str(dead), 1 << 22, True, None)
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert main(["clean"]) == 0


@pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, False), ("\n", 1, True), ("no\n", 1, True)])
def test_on_a_terminal_it_asks(folders, tmp_path, answer, status, left):
    terminal, end = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bpfasm", "clean"],
        stdin=end, stdout=subprocess.PIPE, stderr=end, env=environment, cwd=ROOT,
    )  # fmt: skip
    os.close(end)
    with process:
        said = b""
        while b"[y/N] " not in said:
            said += os.read(terminal, 100)
        assert said == b"remove this? [y/N] "
        os.write(terminal, answer.encode())
        process.communicate(timeout=60)
    os.close(terminal)
    assert (process.returncode, folders[0].exists()) == (status, left)


def test_what_cannot_be_removed_is_told(folders, capsys, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    assert main(["clean", "--yes"]) == 1
    assert capsys.readouterr().err == f"{folders[0]} stays: EACCES, Permission denied\n"


def doctor(capsys):
    """Return the document of doctor, and its status."""
    status = main(["doctor", "--json"])
    return json.loads(capsys.readouterr().out), status


def test_the_status_says_whether_the_main_job_runs_anywhere(folders, capsys, monkeypatch):
    document, status = doctor(capsys)
    assert status == int(not any(document["runs"].values()))
    checks = {row["name"]: row for row in document["checks"]}
    assert (checks["python"]["state"], checks["leftovers"]["do"]) == ("ok", "bpfasm clean")
    assert str(cache.root()) in checks["cache"]["what"]
    assert main(["doctor"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:-2] if not line.startswith(" ")] == list(checks)
    assert folders[0].exists()  # it only reads

    monkeypatch.setenv("PATH", "/nonexistent")
    document, status = doctor(capsys)
    assert document["runs"]["lab"] is False
    assert status == int(not document["runs"]["live"])
    (qemu,) = (row for row in document["checks"] if row["name"] == "qemu")
    assert (qemu["state"], qemu["what"]) == (
        "missing",
        "the lab boots kernels with QEMU, and qemu-system-x86_64 is not on this machine",
    )
    main(["doctor"])
    last = capsys.readouterr().out.splitlines()[-1]
    expected = "on this kernel" if document["runs"]["live"] else "nowhere yet: see what is missing"
    assert last == f"the main job, bpfasm chowncount, runs {expected}"


def test_what_the_learner_has(folders, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bpfasm-lessons").mkdir()
    (tmp_path / "bpfasm-lessons" / "progress.txt").write_text("01_first_instruction done 2026-01-01\n")
    checks = {row["name"]: row for row in doctor(capsys)[0]["checks"]}
    assert checks["lessons"]["what"] == f"{tmp_path}/bpfasm-lessons, 1 done"
