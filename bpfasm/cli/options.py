"""What the verbs' parsers share."""

from __future__ import annotations

import argparse
import sys

from bpfasm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from _typeshed import SupportsWrite

#: Longer lines are hard to read.
_WIDEST = 112


class Parser(argparse.ArgumentParser):
    """A parser whose help begins with examples, and whose errors are ours: two lines, status 2."""

    def __init__(self, verb: str, what: str, examples: str) -> None:
        super().__init__(
            prog=f"bpfasm {verb}",
            usage=argparse.SUPPRESS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.examples, self.what = examples.strip("\n"), what

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help shows what it takes", rule="usage")

    def format_help(self) -> str:
        """Return the examples, what it does, and the options."""
        self.description = f"{self.examples}\n\n{_filled(self.what)}"
        return super().format_help()

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help; argparse would not say that it could not be written."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()

    def refuse_beside(self, what: str, args: argparse.Namespace, *options: str) -> None:
        """Raise UsageError where one of some options was given beside ``what``, which has no use for it."""
        for option in options:
            if getattr(args, option.strip("-").replace("-", "_")):
                raise self.refuse(f"{what} and {option} do not go together: leave one of them out")

    def refuse(self, what: str) -> UsageError:
        """Return the error for words that do not go together."""
        return UsageError(what, f"{self.prog} --help shows what it takes", rule="usage")


def _filled(text: str) -> str:
    """Return paragraphs broken into lines as the terminal is wide; what is indented stays as it is."""
    from shutil import get_terminal_size
    from textwrap import fill

    width = min(get_terminal_size().columns, _WIDEST) - 2
    return "\n\n".join(
        part if part.startswith(" ") else fill(" ".join(part.split()), width) for part in text.split("\n\n")
    )


def add_input(parser: Parser, *, kernel: bool = True) -> None:
    """Add INPUT and ``--from``; ``kernel`` says that it may be a program that is in the kernel."""
    from bpfasm.inputs import SYNTAXES

    parser.add_argument(
        "input",
        metavar="INPUT",
        help="FILE.py[:NAME], FILE.c[:NAME], FILE.o[:NAME], FILE.o:SECTION, text in any syntax, hex digits, raw "
        "bytes, classic BPF of tcpdump -ddd, - (standard input)"
        + (", id:N, tag:HEX, name:NAME, pinned:PATH" if kernel else ""),
    )
    parser.add_argument(
        "--from", dest="syntax", choices=SYNTAXES, help="what INPUT is (default: by its name and content)"
    )
    add_seccomp(parser)


def add_seccomp(parser: Parser) -> None:
    """Add ``--seccomp``."""
    parser.add_argument(
        "--seccomp",
        action="store_true",
        help="INPUT is a filter of system calls: rows of numbers, or bytes, of classic BPF",
    )


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
        raise UsageError(f"{path}: {error.strerror}", "name a file that can be written", rule="usage") from None


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
