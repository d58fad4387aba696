"""``bpfasm lab matrix``: run a command, or the live tests, on every kernel."""

from __future__ import annotations

import sys

from bpfasm.cli.lab import FAILED, options
from bpfasm.cli.options import Parser, add_output, write
from bpfasm.errors import FeatureMissing, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

#: What pytest's own exit status is when Ctrl-C ended it.
_PYTEST_INTERRUPTED = 2


def main(words: list[str]) -> int:
    """Run it on each kernel, several at a time, and show one table; the status is 0 when all went well."""
    parser = Parser(
        "lab matrix",
        "Run a command on each kernel of the lab, several at a time, as processors and memory allow; without a\n"
        "command: the live tests, in a checkout. Exit status 0: all did it; 1: a command or a test failed;\n"
        "125: the lab itself failed on some kernel.",
        "  bpfasm lab matrix -- uname -r\n  bpfasm lab matrix --on 5.10,7 --timeout 60 -- python3 -c 'print(1)'",
    )
    parser.add_argument("--verbose", action="store_true", help="show what was written where all went well, too")
    add_output(parser)
    arguments, command = options.parse(parser, words, default="all", timed="the command, or one test,")
    from bpfasm.views import matrix

    kernels = _command(arguments, command) if command else _tests(arguments)
    document = matrix.document(command or None, kernels)
    if arguments.json:
        import json

        text = json.dumps(document, indent=2)
    else:
        text = "\n".join(matrix.text(document, verbose=arguments.verbose))
    write(text.encode() + b"\n", arguments.out)
    results = {kernel["result"] for kernel in kernels}
    return FAILED if matrix.LAB_FAILED in results else int(results != {matrix.OK})


def _command(arguments: Namespace, command: list[str]) -> list[dict[str, Any]]:
    """Run a command on each kernel, and say on stderr when one is done; return what came of it, in their order."""
    from bpfasm import lab, place
    from bpfasm.views import matrix

    places = dict.fromkeys(place.choose(arguments.on or ["all"], []))
    if any(each.live for each in places):
        raise UsageError(
            "a command of `lab matrix` runs in guests, and this kernel is none",
            "leave live out of --on; `lab matrix` without a command runs the live tests here, too",
            rule="on",
        )
    kernels = [lab.find(each.kernel) for each in places]
    done = {}
    for outcome in lab.each(kernels, command, timeout=arguments.timeout, **options.guest(arguments)):
        found = done[outcome.kernel.version] = matrix.of_outcome(outcome)
        print(f"lab: {matrix.progress(found)}", file=sys.stderr, flush=True)
    return [done[kernel.version] for kernel in kernels]


def _tests(arguments: Namespace) -> list[dict[str, Any]]:
    """Run the live tests on each kernel by pytest, whose words go to stderr; return what they came to."""
    import contextlib
    import json
    import tempfile
    from importlib.util import find_spec
    from pathlib import Path

    from bpfasm import lab
    from bpfasm.lab.image.parts import project_root
    from bpfasm.views import matrix

    top = project_root()
    if not (top / "tests" / "live").is_dir():
        raise FeatureMissing(
            "the live tests are in a checkout of bpfasm, and this is the installed package",
            "run it in a checkout, or name a command: lab matrix -- COMMAND",
            rule="lab-tests",
        )
    if not find_spec("pytest"):
        raise FeatureMissing(
            "the live tests need pytest, and this Python is without it",
            "pip install pytest, or name a command: lab matrix -- COMMAND",
            rule="lab-tests",
        )
    import pytest

    words = ["-q", "--no-header", "-rfE", "-m", "lab", "--on", ",".join(arguments.on or ["all"]), f"--rootdir={top}"]
    words += ["-c", str(top / "pyproject.toml"), "-p", "no:cacheprovider"]
    words += [] if arguments.timeout is None else [f"-olab_timeout={arguments.timeout}"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        report = Path(folder, "report.json")
        status = pytest.main([*words, "--lab-report", str(report), str(top / "tests" / "live")])
        if status == _PYTEST_INTERRUPTED:
            raise KeyboardInterrupt
        results = json.loads(report.read_text())["kernels"] if report.exists() else []
    lacks = {kernel.version: kernel.lacks for kernel in lab.everything()}
    return [matrix.of_tests(kernel, lacks.get(kernel["kernel"], ())) for kernel in results]
