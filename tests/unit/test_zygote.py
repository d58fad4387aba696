"""A process that a zygote forks is what one is that Python is started for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import zygote

ROOT = Path(__file__).parents[2]
PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

SAYS = """
import os, sys
print(__name__, sys.argv[1:], sys.flags.dev_mode, os.getcwd(), sorted(os.environ), os.getppid(), sys.stdin.read())
print("to stderr", file=sys.stderr)
print(sorted(os.listdir("/proc/self/fd")))
kept = open(os.devnull)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def both(tmp_path):
    """Run Python with these words in both ways; return what it came to, which is the same."""

    def run(*words, given=""):
        env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "LC_CTYPE": "C.UTF-8"}
        done = []
        for start in (subprocess.Popen, zygote.Forked):
            with start([sys.executable, "-X", "dev", *words], cwd=tmp_path, env=env, text=True, **PIPES) as process:
                out, err = process.communicate(given)
            err = err.replace("ResourceWarning: Enable tracemalloc to get the object allocation traceback\n", "")
            done.append((out, err, process.returncode))
        assert done[0] == done[1]
        return done[0]

    return run


def test_arguments_files_and_status(both):
    out, err, status = both("-c", SAYS, "one", "7", given="given")
    assert out.startswith("__main__ ['one', '7'] True ")
    assert f" {os.getpid()} given\n" in out
    assert "unclosed file" in err
    assert status == 7


def test_a_command_and_a_file(both, tmp_path):
    assert both("-m", "bpfasm", "asm", "no-such-file")[2] == 2
    (tmp_path / "says.py").write_text(SAYS)
    assert both(str(tmp_path / "says.py"), "two", "0")[2] == 0


def test_a_signal_ends_it():
    with zygote.Forked(["python3", "-X", "dev", "-c", "print('on', flush=True); input()"], **PIPES) as process:
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
