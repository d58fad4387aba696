"""The command line: finds the verb's module, runs it, and turns what goes wrong into two lines and a status.

Status 0: did the job. 1: the answer is no. 2: usage. 3: it cannot be done here. 130: Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys

from bpfasm.errors import (
    BpfasmError,
    FeatureMissing,
    InputError,
    KernelError,
    LabError,
    UsageError,
    VerifierError,
)
from bpfasm.syscall.files import check_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Each verb: the module and function that runs it, and what it is for. In groups: programs as text and bytes, what is
#: in the kernel, running and learning, this machine.
VERBS = {
    "asm": ("bpfasm.cli.asm", "asm", "turn a program into bytes, hex, an object, text"),
    "disasm": ("bpfasm.cli.asm", "disasm", "show a program as text in any syntax, in words, as a graph"),
    "lint": ("bpfasm.cli.lint", "main", "find mistakes before any kernel is asked"),
    "diff": ("bpfasm.cli.diff", "main", "compare two programs by instruction"),
    "embed": ("bpfasm.cli.embed", "main", "write a Python module that carries an object"),
    "ref": ("bpfasm.cli.ref", "main", "explain a macro, instruction, helper, constant, errno"),
    "prog": ("bpfasm.cli.prog", "main", "list and dump the programs in the kernel"),
    "map": ("bpfasm.cli.map", "main", "list and dump the maps in the kernel"),
    "link": ("bpfasm.cli.link", "main", "list what is attached by links"),
    "btf": ("bpfasm.cli.btf", "main", "show the kernel's types; list the BTF objects in it"),
    "features": ("bpfasm.cli.features", "main", "what this kernel has, found out by trying"),
    "chowncount": ("bpfasm.cli.chowncount", "main", "count fchownat(2) calls in a real kernel"),
    "lab": ("bpfasm.cli.lab", "main", "run a command on another kernel, in QEMU"),
    "lesson": ("bpfasm.cli.lesson", "main", "learn: start, check"),
    "doctor": ("bpfasm.cli.doctor", "main", "what runs here, what is missing, how to get it"),
    "clean": ("bpfasm.cli.clean", "main", "remove what killed processes left"),
}

#: The first verb of each group but the first.
_BEGIN = ("prog", "chowncount", "doctor")

#: The first class that fits decides.
STATUS: tuple[tuple[type[BpfasmError], int], ...] = (
    (VerifierError, 1),
    (KernelError, 3),
    (FeatureMissing, 3),
    (LabError, 3),
    (UsageError, 2),
    (InputError, 2),
    (BpfasmError, 1),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    try:
        try:
            status = _run(words)
        except BpfasmError as error:
            report(error, as_json="--json" in words)
            status = next(status for kind, status in STATUS if isinstance(error, kind))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()  # the reader of a pipe went away, and wants to hear no more
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        _drop_output()
        do = "make room, or write it elsewhere"
        report(FeatureMissing(f"standard output takes no more: {error.strerror}", do, rule="output"))
        return 3


#: What is wrong with an output that was open and does not take what is written to it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _drop_output() -> None:
    """Let nothing be flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    try:
        return _verb(words)
    except BpfasmError:
        raise
    except OSError as error:
        check_files(error.errno, error.filename or "opening a file")  # of a module, or any other
        raise


def _open_streams() -> None:
    """Have standard input, output and error open: the next file would get the number of one that is closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until the process ends


def _verb(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0 if words else 2
    if words[0] == "--version":
        from bpfasm import __version__

        print(f"bpfasm {__version__}")
        return 0
    try:
        module, function, _ = VERBS[words[0]]
    except KeyError:
        from difflib import get_close_matches

        close = get_close_matches(words[0], VERBS, n=1)
        raise UsageError(
            f"there is no verb {words[0]!r}",
            f"did you mean {close[0]}?" if close else f"the verbs are {', '.join(VERBS)}",
            rule="no-verb",
        ) from None
    from importlib import import_module

    status: int = getattr(import_module(module), function)(words[1:])
    return status


def usage() -> str:
    """Return the list of verbs."""
    verbs = "\n".join(f"{chr(10) * (verb in _BEGIN)}  {verb:<11} {what}" for verb, (_, _, what) in VERBS.items())
    return (
        "bpfasm: raw-instruction eBPF, from a macro to a number on the screen\n\n"
        "  bpfasm chowncount --timeout 5\n"
        "  bpfasm disasm examples/chowncount.py\n\n"
        f"{verbs}\n\n"
        "bpfasm VERB --help says more.\n"
    )


def report(error: BpfasmError, *, as_json: bool = False) -> None:
    """Print an error: two lines on stderr, or a JSON document on stdout."""
    if as_json:
        import json

        from bpfasm.views import documents

        print(json.dumps(documents.error(error)))
        return
    print(error.report(), file=sys.stderr)
