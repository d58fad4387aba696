"""What the verbs share that boot a guest: their options, and the command after ``--``."""

from __future__ import annotations

from bpfasm import place
from bpfasm.cli import report
from bpfasm.cli.lab import FAILED
from bpfasm.cli.options import Parser, seconds
from bpfasm.errors import LabError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any


def add_rw(parser: Parser) -> None:
    """Add ``--rw``."""
    parser.add_argument(
        "--rw",
        action="append",
        default=[],
        metavar="DIR",
        help="share this folder: the guest has it, and what the command does in it comes back",
    )


def parse(
    parser: Parser, words: list[str], *, default: str = "BPFASM_ON, or 6.1", timed: str = "the command"
) -> tuple[Namespace, list[str]]:
    """Add the options of a guest and the command to a parser; return what ``words`` give, and the command.

    ``default`` says what ``--on`` is, and ``timed`` what ``--timeout`` is for.
    """
    parser.add_argument(
        "--on",
        action="append",
        default=[],
        metavar="V",
        help=f"version, path of a vmlinuz, or all; several with commas (default: {default})",
    )
    parser.add_argument("--timeout", metavar="S", help=f"end the guest when {timed} takes longer: 90, 30s, 2m")
    parser.add_argument(
        "--copy", action="append", default=[], metavar="PATH", help="have this file or folder in the guest"
    )
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="have this kernel module, beside the usual ones"
    )
    parser.add_argument("--fresh", action="store_true", help="boot the kernel; do not go on from a snapshot")
    parser.add_argument(
        "--memory", type=_mebibytes, default=1024, metavar="MIB", help="the guest's memory (default: 1024)"
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="the command and its words, after --")
    # What stands after the first -- is the command's, whatever it looks like.
    split = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:split])
    if arguments.timeout is not None:
        arguments.timeout = seconds(arguments.timeout)
    return arguments, arguments.command + words[split + 1 :]


#: Each kernel of the matrix comes up with it; with 128, 6.1 panics, since there is no room for its files.
_LEAST_MIB = 192


def _mebibytes(text: str) -> int:
    """Return a guest's memory. Raises UsageError for what is no number, or too little."""
    if not text.isdecimal() or int(text[:9]) < _LEAST_MIB:
        raise UsageError(
            f"--memory: {text!r} is no memory for a guest",
            f"write a number of MiB, {_LEAST_MIB} or more",
            rule="usage",
        )
    return int(text)


def each(arguments: Namespace, do: Callable[[str], int]) -> int:
    """Do something with each kernel that ``--on`` names and return the status: the lab's own where the lab fails."""
    return _status(lambda: place.each(place.kernels(arguments.on), lambda kernel: _status(lambda: do(kernel))))


def _status(do: Callable[[], int]) -> int:
    try:
        return do()
    except LabError as error:
        report(error)
        return FAILED


def guest(arguments: Namespace) -> dict[str, Any]:
    """Return the options that ``lab.boot`` takes."""
    from pathlib import Path

    return {
        "copy": [Path(path) for path in arguments.copy],
        "modules": arguments.module,
        "fresh": arguments.fresh,
        "memory_mib": arguments.memory,
    }
