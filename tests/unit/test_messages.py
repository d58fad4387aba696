"""Every message of the notation, as a user sees it: tests/data/messages.txt has the code and what it says."""

from pathlib import Path

import pytest

import bpfasm.asm
from bpfasm.errors import BpfasmError

MESSAGES = Path(__file__).parents[1] / "data" / "messages.txt"


def cases():
    """Yield the code and the two lines of each block; a block that is a comment is a title."""
    for block in MESSAGES.read_text().strip().split("\n\n"):
        code, _, report = block.partition("\nprog.py:")
        if not block.startswith("#"):
            yield code, f"prog.py:{report}"


def run(code):
    """Run code as a file of programs that starts with ``from bpfasm.asm import *``."""
    names = {name: getattr(bpfasm.asm, name) for name in bpfasm.asm.__all__}
    exec(compile(code, "prog.py", "exec"), {**names, "__name__": "prog"})


@pytest.mark.parametrize(("code", "report"), list(cases()))
def test_a_message(code, report):
    with pytest.raises(BpfasmError) as caught:
        run(code)
    assert caught.value.report() == report
    assert caught.value.do
