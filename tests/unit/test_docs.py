"""Docs and docstrings say what is so: their Python examples are run, and their console examples too."""

import doctest
import importlib
import itertools
import os
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bpfasm

ROOT = Path(__file__).parents[2]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PAGES = [*sorted((ROOT / "docs").glob("*.rst")), ROOT / "README.md"]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(bpfasm.__path__, "bpfasm.") if "__main__" not in module.name
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_of_a_page(page):
    failed, _ = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS, encoding="utf-8")
    assert failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_python_examples_of_a_module(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert failed == 0


def console_blocks(text):
    """Yield the lines of each console block of a page, reST or Markdown, without their indentation."""
    block = None
    for line in [*text.splitlines(), "end"]:
        if block is None:
            if line.strip() in {".. code-block:: console", "```console"}:
                block = []
        elif line and not line.startswith(" ") and not ("```" in text and line != "```"):
            yield textwrap.dedent("\n".join(block)).strip().splitlines()
            block = None
        else:
            block.append(line)


def console_examples():
    """Yield (page, command, output) of every ``$ command`` in the console blocks."""
    for path in PAGES:
        for block in console_blocks(path.read_text(encoding="utf-8")):
            starts = [number for number, line in enumerate(block) if line.startswith("$ ")]
            for start, end in itertools.pairwise([*starts, len(block)]):
                yield path.name, block[start][2:], [line for line in block[start + 1 : end] if line]


@pytest.mark.parametrize(("page", "command", "output"), list(console_examples()))
def test_console_examples(page, command, output):
    shell = f'bpfasm() {{ "{sys.executable}" -m bpfasm "$@"; }}\n{command}'
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == output, done.stderr
