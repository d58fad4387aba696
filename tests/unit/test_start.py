"""A light start: what is imported with the notation, and what is not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW = {"dataclasses", "enum", "typing", "re", "inspect", "ctypes", "argparse", "pathlib", "collections"}
READERS = ("ringbuf", "perfbuf", "userring")
SYSTEM = {"fcntl", "mmap", "subprocess", "ctypes", "socket", "select", "signal"}


def modules_after(*imports):
    """Return the modules that a bare interpreter has loaded after some imports, without those it starts with."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules)\n"
    code += "".join(f"import {name}\n" for name in imports) + "print(*sys.modules.keys() - before)"
    command = [sys.executable, "-I", "-S", "-c", code]
    return set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def test_the_notation_imports_nothing_slow():
    assert modules_after("bpfasm.asm") & SLOW == set()


def test_what_loads_programs_imports_nothing_slow_either():
    """Besides ctypes, by which it calls bpf(2)."""
    pytest.importorskip("bpfasm.kernel")
    assert modules_after("bpfasm.asm", "bpfasm.kernel") & SLOW <= {"ctypes"}


def test_what_reads_events_imports_little_more():
    pytest.importorskip("bpfasm.kernel")
    loads = modules_after("bpfasm.asm", "bpfasm.kernel")
    reads = modules_after("bpfasm.asm", "bpfasm.kernel", *(f"bpfasm.kernel.readers.{name}" for name in READERS))
    assert {name for name in reads - loads if not name.startswith("bpfasm")} <= {"mmap", "select"}


def test_the_notation_imports_little():
    others = {name for name in modules_after("bpfasm.asm") if not name.startswith("bpfasm")}
    assert others <= {"__future__", "_struct", "struct", "operator", "_operator", "itertools", "_collections_abc"}


@pytest.mark.parametrize("room", ["uapi", "isa", "asm"])
def test_the_lower_rooms_import_on_any_system(room):
    names = [
        f"bpfasm.{'.'.join(path.relative_to(ROOT / 'bpfasm').with_suffix('').parts)}"
        for path in sorted((ROOT / "bpfasm" / room).rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert modules_after(*names) & SYSTEM == set()


def test_importing_the_package_does_nothing():
    assert {name for name in modules_after("bpfasm") if name != "bpfasm"} <= {"__future__"}


def test_errors_too_are_light():
    """The words of a message are found without anything slow; only the guess at a label's name takes its time."""
    run = "from bpfasm.asm import *\ntry: BPF_MOV64_IMM(R0, R1)\nexcept Exception as error: assert error.source"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{run}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True)
    assert set(done.stdout.split()) & SLOW == set()
