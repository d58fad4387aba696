"""What the host compiles of tests for guests, against what pytest keeps of them itself."""

import importlib.util
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfasm.lab.image import python
from bpfasm.testing import rewritten

SOURCE = '''
"""A test."""
def double(x):
    return 2 * x

def test_double():
    assert double(2) == 4, "a message"
    assert [double(n) for n in range(3)] == [0, 2, 4]
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "test_made.py"
    path.write_text(SOURCE)
    return path


def kept_by_pytest(module, **env):
    """Let a pytest collect a module; return what it keeps of it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | env
    env.pop("PYTHONPYCACHEPREFIX", None)
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(module)]
    subprocess.run(words, env=env, check=True, capture_output=True, cwd=module.parent)
    return {path: path.read_bytes() for path in module.parent.glob("__pycache__/*-pytest-*.pyc")}


def test_it_is_what_pytest_keeps(module):
    made = rewritten.files([module], python.here())
    (path, data), *more = kept_by_pytest(module).items()
    assert more == []
    assert list(made) == [path]
    assert made[path][:16] == data[:16]
    assert marshal.loads(made[path][16:]) == marshal.loads(data[16:])


def test_pytest_takes_it(module):
    """In place of the source's own: a file that says something else for the same source."""
    other = module.with_name("test_other.py")
    other.write_text(SOURCE.replace("== 4", "== 5"))
    code = rewritten.code(other, other.read_bytes())
    (path,) = rewritten.files([module], python.here())
    path.parent.mkdir()
    path.write_bytes(rewritten.code(module, module.read_bytes())[:16] + code[16:])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"},
        capture_output=True, text=True, check=False, cwd=module.parent,
    )  # fmt: skip
    assert done.returncode == 1
    assert "assert 4 == 5" in done.stdout


def test_what_pytest_has_kept_is_taken_while_it_is_of_this_source(module, monkeypatch):
    monkeypatch.setattr(sys, "pycache_prefix", None)
    kept = kept_by_pytest(module)
    monkeypatch.setattr(rewritten, "code", lambda *_: b"compiled")
    assert rewritten.files([module], python.here()) == kept
    module.write_text(SOURCE + "# longer\n")
    assert rewritten.files([module], python.here()) == dict.fromkeys(kept, b"compiled")


def test_what_does_not_compile_is_left_out(module):
    module.write_text("def test(:\n")
    assert rewritten.files([module], python.here()) == {}


def test_another_python_compiles_for_its_own_kind(module, monkeypatch):
    """Another Python is started without its site-packages: pytest comes from those here."""
    other = python.here().replace(ours=False, tag="other-9", compiler=(sys.executable,))
    made = rewritten.files([module], other)
    ((path, data),) = made.items()
    assert path.name == f"test_made.other-9-pytest-{pytest.__version__}.pyc"
    assert data == rewritten.code(module, module.read_bytes())
    assert rewritten.files([module], other.replace(compiler=())) == {}


def test_the_hash_is_of_the_source(module):
    data = rewritten.code(Path("x.py"), b"assert 1")
    assert data[8:16] == importlib.util.source_hash(b"assert 1")
