"""docs/programs.rst on the running kernel: its Python examples, and what the commands say of its first program."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bpfasm.asm
from bpfasm.kernel import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "programs.rst"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def blocks(page, language):
    """Return the contents of the page's code blocks of a language."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", page, re.M)
    return ["\n".join(line[3:] for line in block.splitlines()) for block in found]


def test_python_examples(page):
    """What needs a kernel is skipped elsewhere, and run here."""
    parsed = doctest.DocTestParser().get_doctest(page.replace("# doctest: +SKIP", ""), {}, "programs", str(PAGE), 0)
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(parsed)
    assert (result.failed, result.attempted) == (0, 9)


def test_the_first_program(page, capsys):
    exec(compile(blocks(page, "python")[0], str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "42\n"


def test_every_target_is_a_program(page):
    """The lines of the second block are programs, given a body."""
    names = {name: getattr(bpfasm.asm, name) for name in bpfasm.asm.__all__}
    names["body"] = [names["BPF_MOV64_IMM"](0, 0), names["BPF_EXIT_INSN"]()]
    exec(blocks(page, "python")[0], names)
    programs = [eval(line, names) for line in blocks(page, "python")[1].strip().splitlines()]
    assert [each.attach_btf for each in programs] == [
        "vfs_read", "sched_switch", "task", "file_open", "tcp_congestion_ops.ssthresh", "doubled",
    ]  # fmt: skip


def test_sessions(page):
    names = {}
    exec(blocks(page, "python")[0], names)
    pieces = re.split(r"^\$ ", "\n".join(blocks(page, "shell-session")), flags=re.M)[1:]
    assert len(pieces) == 3
    with load(names["doubled"]):
        for piece in pieces:
            command, _, output = piece.partition("\n")
            done = subprocess.run(
                ["sh", "-c", f'bpfasm() {{ "{sys.executable}" -m bpfasm "$@"; }}\n{command}'],
                cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert doctest.OutputChecker().check_output(output, done.stdout, OPTIONS), (done.stdout, done.stderr)
