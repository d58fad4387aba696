"""The command line as a user runs it, from a test."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "bpfasm" / "views" / "schemas"


def bpfasm(*words, given=b"", cwd=ROOT):
    """Run the command as a user does; return the finished process."""
    given = given.encode() if isinstance(given, str) else given
    return subprocess.run(
        [sys.executable, "-m", "bpfasm", *map(str, words)],
        input=given,
        capture_output=True,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )


def output(*words, given=b""):
    """Return the standard output of a command that must succeed."""
    done = bpfasm(*words, given=given)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def document(name, text):
    """Return a JSON document that has been held against its published schema."""
    loaded = json.loads(text)
    jsonschema.validate(loaded, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return loaded
