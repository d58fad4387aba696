"""A command in a guest when things are not at their best: readers that are slow or gone, files that are closed."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import ROOT, gone, lab_process, machines_of, until

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab import cache

pytestmark = pytest.mark.boots

LAB = [sys.executable, "-m", "bpfasm", "lab", "run"]


def in_sh(script: str, *words: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of sh in which "$@" is ``bpfasm lab run WORDS``."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *LAB, *words],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_slow_reader_gets_every_byte_and_costs_the_command_no_time():
    """The command is over in a moment; what it wrote is read long after the timeout."""
    program = "import sys; sys.stdout.write('x' * 4_000_000); sys.exit(3)"
    process = lab_process("--timeout", "3", "--", "python3", "-c", program)
    assert process.stdout
    assert process.stderr
    read = 0
    select.select([process.stdout], [], [], 60)
    until(lambda: _blocked(process.pid), 60)
    deadline = time.monotonic() + 4
    until(lambda: time.monotonic() > deadline)
    while data := os.read(process.stdout.fileno(), 1 << 16):
        read += len(data)
    assert process.wait(60) == 3
    assert read == 4_000_000
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


def _blocked(pid: int) -> bool:
    """Whether a process waits for room in a pipe."""
    with contextlib.suppress(OSError):
        return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text()
    return False


def test_a_reader_that_goes_away_ends_the_guest_quietly():
    process = lab_process("--", "python3", "-c", "while 1: print('y')")
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"y\n"
    (machine,) = machines_of(process.pid)
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert gone(machine)


def test_a_disk_that_is_full_is_told_in_two_lines():
    done = in_sh('"$@" > /dev/full', "--", "python3", "-c", "print(1)")
    assert done.returncode == 125
    assert done.stderr.splitlines()[-2:] == [
        b"error: what the command writes cannot be written here: No space left on device [lab-output]",
        b"make room, or send it elsewhere",
    ]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_files_that_are_closed(closed: str):
    """The lab's own next file has the number of the closed one, and must not be taken for it."""
    program = "import sys; print(repr(sys.stdin.read())); print('err', file=sys.stderr); sys.exit(6)"
    done = in_sh(f'"$@" {closed}', "--", "python3", "-c", program)
    assert done.returncode == 6
    assert done.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else b"''\n")
    assert done.stderr == (b"" if "2>&-" in closed else b"err\n")


def test_a_folder_that_is_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    show = "import os; print(os.getcwd())"
    done = in_sh('cd gone; rmdir ../gone; "$@"', "--", "python3", "-c", show, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, os.fsencode(ROOT) + b"\n")
    done = in_sh('mkdir gone; cd gone; rmdir ../gone; "$@"', "--rw", ".", "--", "true", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: --rw .: the folder this was started in is gone [lab-rw]\n")


def test_two_labs_at_the_same_time():
    both = [lab_process("--", "python3", "-c", f"print({number})") for number in (1, 2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [(process.returncode, out) for process, (out, _) in zip(both, outputs, strict=True)] == [
        (0, b"1\n"),
        (0, b"2\n"),
    ]


def test_a_cache_that_cannot_be_written_is_read(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this process may mount nothing")
    lab.capture(None, ["true"])
    mount = 'mount --bind "$PLACE" "$PLACE" && mount -o remount,ro,bind "$PLACE" && exec "$@"'
    done = in_sh(f"unshare -m sh -c '{mount}' sh \"$@\"", "--", "python3", "-c", "print(1)", PLACE=str(cache.root()))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


def test_what_runs_on_in_the_background_does_not_hold_the_end_up(guest):
    """It has the command's output open, and a session of its own."""
    program = """if 1:
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        print("parent", flush=True)
    """
    started = time.monotonic()
    done = guest.capture(["python3", "-c", program], timeout=60)
    assert (done.status, done.stdout) == (0, b"parent\n")
    assert time.monotonic() - started < 30


def test_words_as_long_as_linux_takes_and_longer(guest):
    count = "import sys; print(sum(map(len, sys.argv[1:])))"
    longest = (128 << 10) - 1  # MAX_ARG_STRLEN, with its NUL

    def run(*words: str, **options) -> lab.Result:
        return guest.capture(["python3", "-c", count, *words], timeout=60, **options)

    too_long = lab.Result(126, b"", b"lab: cannot run python3: Argument list too long\n")
    assert run("x" * longest) == lab.Result(0, b"%d\n" % longest, b"")
    assert run("x" * (longest + 1)) == too_long
    assert run(*["x" * 100_000] * 20) == lab.Result(0, b"2000000\n", b"")
    assert run(*["x" * 100_000] * 40) == too_long
    assert run(env={"LONG": "x" * (longest - len("LONG="))}).status == 0
    assert run(env={"LONG": "x" * longest}) == too_long


def test_input_and_output_at_once_do_not_wait_for_each_other(guest):
    """Each way has more on the way than any buffer holds."""
    size = 8 << 20
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        with os.fdopen(write, "wb") as file:
            file.write(bytes(size))
        os._exit(0)
    os.close(write)
    program = """if 1:
        import os
        while data := os.read(0, 1 << 16):
            for fd in (1, 2): os.write(fd, data)
    """
    done = guest.capture(["python3", "-c", program], stdin=read, timeout=120)
    os.close(read)
    os.wait()
    assert (done.status, len(done.stdout), len(done.stderr)) == (0, size, size)


def test_several_kernels_one_after_the_other(tmp_path):
    (tmp_path / "in").write_text("input\n")
    program = (
        "import os, sys; print(os.uname().release.split('.')[:2], input()); sys.exit('6.1.' in os.uname().release)"
    )
    done = in_sh('"$@" < ' + str(tmp_path / "in"), "--on", "6.1,5.10", "--on", "6.12", "--", "python3", "-c", program)
    assert done.stdout == b"['6', '1'] input\n['5', '10'] input\n['6', '12'] input\n"
    assert done.stderr == b"== 6.1\n== 5.10\n== 6.12\n"
    assert done.returncode == 1


def test_a_kernel_on_which_the_lab_fails_is_one_of_several(tmp_path):
    (tmp_path / "none").write_bytes(bytes(1 << 16))
    done = in_sh('"$@"', "--on", f"6.1,{tmp_path}/none", "--", "python3", "-c", "print(1)")
    assert (done.returncode, done.stdout) == (125, b"")  # found out before anything is booted
    assert b"none is not a bootable kernel image" in done.stderr


def test_an_exception_of_a_sink_ends_the_guest():
    class Refuses:
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    with lab.boot() as guest:
        with pytest.raises(ZeroDivisionError):
            guest.run(["python3", "-c", "print(1)"], stdout=Refuses(), timeout=60)
        with pytest.raises(LabError, match="is over"):
            guest.run(["true"])
