"""What the verbs' parsers share."""

from __future__ import annotations

import argparse
import sys

from bpfasm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose help begins with examples, and whose errors are ours: two lines, status 2."""

    def __init__(self, verb: str, what: str, examples: str) -> None:
        super().__init__(
            prog=f"bpfasm {verb}",
            usage=argparse.SUPPRESS,
            description="\n".join((*examples.strip("\n").splitlines(), "", what)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help shows what it takes", rule="usage")


def add_output(parser: Parser) -> None:
    """Add ``--out`` and ``--json``."""
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.add_argument("--out", metavar="FILE", help="write there instead of to standard output")


def add_on(parser: Parser) -> None:
    """Add ``--on``."""
    parser.add_argument(
        "--on",
        action="append",
        default=[],
        metavar="WHERE",
        help="auto, live, a version of `bpfasm lab kernels`, or all; several with commas (default: auto)",
    )


def write(data: bytes, path: str | None) -> None:
    """Write output where ``--out`` says."""
    if path is None or path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", "--out FILE names a file that can be written", rule="usage"
        ) from None


def seconds(text: str) -> float:
    """Return a time in seconds from 90, 1.5, 500ms, 30s, 2m or 1h; raise UsageError for anything else."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("", 1)):
        if text.endswith(unit):
            try:
                value = float(text.removesuffix(unit)) * factor
            except ValueError:
                break
            if 0 < value < float("inf"):
                return value
            break
    raise UsageError(f"--timeout: {text!r} is no time", "write seconds (2.5) or a unit: 500ms, 30s, 2m", rule="usage")
