"""The shell sessions of docs/lab.rst, run; ``...`` stands for what differs between machines."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.boots

ROOT = Path(__file__).resolve().parents[2]


def sessions():
    """Yield (command, output) of each ``$ command``."""
    text = (ROOT / "docs/lab.rst").read_text(encoding="utf-8")
    for block in re.findall(r"^\.\. code-block:: shell-session\n\n((?:   .*\n|\n)+)", text, re.M):
        for piece in re.split(r"^   \$ ", block, flags=re.M)[1:]:
            command, _, output = piece.partition("\n")
            yield command, "".join(line[3:] + "\n" for line in output.splitlines() if line)


@pytest.mark.parametrize(("command", "output"), list(sessions()))
def test_session(command, output):
    done = subprocess.run(
        ["sh", "-c", f'bpfasm() {{ "{sys.executable}" -m bpfasm "$@"; }}\n{command}'],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    same = doctest.OutputChecker().check_output(output, done.stdout, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert same, (done.stdout, done.stderr)
