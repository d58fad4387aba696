"""The cache: one writer at a time, no half-made file, and nothing left of a process that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.syscall.owner import this_process


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_place(tmp_path, monkeypatch):
    assert cache.root() == tmp_path / "bpfasm"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(cache.root()) == "/home/someone/.cache/bpfasm"


def test_a_user_without_a_home(monkeypatch):
    """As in a container that is run as a number: no HOME, and no line in /etc/passwd."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(LabError, match="no home folder") as error:
        cache.root()
    assert error.value.rule == "lab-cache"


def test_a_work_directory_is_gone_after_use():
    with cache.workdir() as work:
        (work / "file").write_text("x")
        assert cache.sweep() == []  # ours is alive
    assert not work.exists()


def test_publish_replaces_files_and_folders():
    for content in ("one", "two"):
        with cache.workdir() as work:
            (work / "tree").mkdir()
            (work / "tree/file").write_text(content)
            cache.publish(work / "tree", cache.root() / "kernels/6.1")
        with cache.workdir() as work:
            (work / "part").write_text(content)
            cache.publish(work / "part", cache.root() / "image/part")
    assert (cache.root() / "kernels/6.1/file").read_text() == "two"
    assert (cache.root() / "image/part").read_text() == "two"
    assert list((cache.root() / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_removed_at_the_next_start():
    program = (
        "import os, time; from bpfasm.lab import cache\nwith cache.workdir() as w:\n print(w, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    left = child.stdout.readline().strip()
    assert cache.sweep() == []
    child.kill()
    child.communicate()
    assert os.path.isdir(left)
    assert [str(path) for path in cache.sweep()] == [left]
    assert not os.path.exists(left)


def test_a_process_with_the_number_of_a_dead_one_is_another():
    me = this_process()
    ours = cache.directory("tmp") / me.replace(start_time=me.start_time + 1).tag()
    ours.mkdir()
    other = cache.directory("tmp") / "not-ours"
    other.mkdir()
    assert cache.sweep() == [ours]
    assert other.exists()


def test_the_second_waits_for_the_first_and_says_so(capfd):
    program = "from bpfasm.lab import cache\nwith cache.locked('x', 'making it'): print('in', flush=True)"
    with cache.locked("x"):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stderr
        assert child.stderr.readline() == b"lab: waiting: another bpfasm is making it\n"
        assert child.poll() is None
    out, _ = child.communicate()
    assert (out, child.returncode) == (b"in\n", 0)


def test_a_lock_ends_with_its_holder():
    program = "import os; from bpfasm.lab import cache\nwith cache.locked('x'): print(1, flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    child.kill()
    child.communicate()
    with cache.locked("x"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LabError) as error:
        cache.directory("image")
    assert "XDG_CACHE_HOME" in error.value.do
    assert error.value.rule == "lab-cache"
    tmp_path.chmod(0o700)


def test_a_cache_that_is_a_file(tmp_path):
    (tmp_path / "bpfasm").write_text("")
    with pytest.raises(LabError) as error:
        cache.directory("image")
    assert str(tmp_path) in error.value.what
    assert error.value.rule == "lab-cache"


def test_no_space_left():
    with pytest.raises(LabError, match="no space left"), cache.writing(cache.root()):
        raise OSError(28, "No space left on device")


def test_threads_of_one_process_take_turns_without_a_word(capsys):
    inside, most = set(), []

    def hold(name):
        with cache.locked("x", "making it"):
            inside.add(name)
            most.append(len(inside))
            time.sleep(0)
            inside.remove(name)

    threads = [threading.Thread(target=hold, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 20
    assert capsys.readouterr().err == ""
