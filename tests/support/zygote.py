"""Python processes that start by fork, for tests in emulated guests, where one with bpfasm imported takes seconds.

A zygote is a Python that has imported what tests need, and nothing more: no object of bpfasm's is made in it. Asked
for a process, it forks twice; the one between ends, and what the other is then, is a child of who asked, with the
files, the folder and the environment that it was given. On this machine processes are started as anybody's are.

``python3 -c "from support import zygote; exec(zygote.serve())" NAME``: a zygote that listens at an abstract address.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from bpfasm.syscall import system

ROOT = Path(__file__).parents[2]
IN_GUEST = "rdinit=/lab/" in (system.read("/proc/cmdline") or "")

#: What a zygote imports: what most of its processes need. The rest each imports by itself.
_IMPORTED = (
    "bpfasm.asm",
    "bpfasm.cli.chowncount",
    "bpfasm.cli.features",
    "bpfasm.kernel.attach",
    "bpfasm.kernel.features",
    "bpfasm.kernel.links.tracing.kprobe",
    "bpfasm.kernel.load",
    "bpfasm.kernel.base.privilege",
    "bpfasm.kernel.programs.refused",
    "support.privileges",
    "chowncount",
)

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None).prctl

#: How Python is started: so that it warns of what is never closed. To look at each piece of memory that it gives
#: back, as it does in its development mode, takes a guest too long.
_PYTHON = (sys.executable, *(("-W", "default") if IN_GUEST else ("-X", "dev")))


class Forked(subprocess.Popen):
    """A process of a zygote's: what Popen is asked for a command of Python's, without another start of Python."""

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_
    ):  # fmt: skip
        request = {
            "words": [os.fspath(word) for word in args[len(_PYTHON) :]],
            "cwd": os.fspath(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        theirs = [own if fd < 0 else fd for own, fd in enumerate((p2cread, c2pwrite, errwrite))]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as way:
            way.connect(_zygote())
            _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(way, [json.dumps(request).encode()], theirs)
                self.pid = int(way.recv(16))
            finally:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def python(*words, **options):
    """Start Python with these words: a Popen, whose options these are. It warns of what is never closed."""
    return (Forked if IN_GUEST else subprocess.Popen)([*_PYTHON, *words], **options)


def run(*words, given=None, **options):
    """Run Python with these words to its end, and return what it came to, as subprocess.run does."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python(*words, **pipes, **options) as process:
        out, err = process.communicate(given)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@cache
def _zygote():
    """Start a zygote, and return its address; it ends with this process."""
    name = f"\0bpfasm-zygote-{os.getpid()}"
    ready, say = os.pipe()
    code = "from support import zygote; exec(zygote.serve())"
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}:{ROOT / 'tests'}"}
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, say, 1)]
    os.posix_spawn(_PYTHON[0], [*_PYTHON, "-c", code, name[1:], str(os.getpid())], env, file_actions=files)
    os.close(say)
    assert os.read(ready, 1) == b"r"
    os.close(ready)
    return name


def serve():
    """Fork for who asks; return only in the new process, with the code that it is to run."""
    name, parent = sys.argv[1:]
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        os._exit(0)
    os.closerange(3, 1 << 20)
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        os.write(1, b"r")
        os.dup2(0, 1)
        while True:
            way, _ = listening.accept()
            with way:
                data, fds, _, _ = socket.recv_fds(way, 1 << 18, 3)
                told, tell = os.pipe()
                between = os.fork()
                if not between:
                    child = os.fork()
                    if child:
                        os.write(tell, str(child).encode())
                        os._exit(0)
                    os.close(told)
                    os.close(tell)
                    break
                os.waitpid(between, 0)  # from here on it is the child of who asked
                way.send(os.read(told, 16))
                for fd in (*fds, told, tell):
                    os.close(fd)
    return _become(json.loads(data), fds)


def _become(request, fds):
    """Be the process that was asked for, and return the code that it runs."""
    for own, fd in enumerate(fds):
        os.dup2(fd, own)
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    kind, *words = request["words"]
    if kind == "-c":
        sys.argv[:] = ["-c", *words[1:]]
        return compile(words[0], "<string>", "exec")
    if kind == "-m":
        sys.argv[:] = words
        return "import runpy; runpy.run_module(__import__('sys').argv[0], run_name='__main__', alter_sys=True)"
    sys.argv[:] = [kind, *words]
    sys.path.insert(0, os.path.dirname(kind))
    return "import runpy; runpy.run_path(__import__('sys').argv[0], run_name='__main__')"
