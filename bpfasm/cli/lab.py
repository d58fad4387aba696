"""``bpfasm lab``: list the kernels, get one, run a command on one."""

from __future__ import annotations

import os

from bpfasm.cli.options import Parser
from bpfasm.errors import LabError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpfasm.lab import Kernel

#: The status of `lab run` when the lab, not the command, failed.
FAILED = 125


def main(argv: Sequence[str]) -> int:
    """Do ``bpfasm lab ARGV`` and return its exit status.

    That of ``run`` is the command's own; 124 when the timeout ended it, 125 when the lab itself failed.
    """
    verbs = {"kernels": _kernels, "fetch": _fetch, "run": _run}
    verb = verbs.get(argv[0]) if argv else None
    if verb:
        return verb(list(argv[1:]))
    if argv and argv[0] in {"-h", "--help"}:
        print(_HELP, end="")
        return 0
    given = f"lab has no verb {argv[0]!r}" if argv else "lab needs a verb"
    raise UsageError(given, "its verbs are kernels, fetch, run; bpfasm lab --help says more", rule="usage")


_HELP = """\
  bpfasm lab run -- python3 -c 'print(1)'
  bpfasm lab kernels

Run a command on another kernel, in a virtual machine. No root is needed.

  kernels   list the kernels, on this machine or not
  fetch     bring a kernel to this machine
  run       boot a kernel and run a command in it

bpfasm lab VERB --help says more.
"""


def _kernels(words: list[str]) -> int:
    parser = Parser(
        "lab kernels", "List the kernels of the lab.", "  bpfasm lab kernels\n  bpfasm lab kernels --json"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    arguments = parser.parse_args(words)
    from bpfasm import lab

    known = lab.kernels()
    if arguments.json:
        _print_json(known)
        return 0
    print(f"{'KERNEL':8} {'RELEASE':28} FROM")
    for kernel in known:
        mark = " (default)" if kernel.version == lab.default() else ""
        print(f"{kernel.version:8} {kernel.release or '- not fetched':28} {kernel.suites[0]}{mark}")
    return 0


def _fetch(words: list[str]) -> int:
    parser = Parser("lab fetch", "Bring kernels to this machine.", "  bpfasm lab fetch 6.1\n  bpfasm lab fetch all")
    parser.add_argument("version", nargs="+", metavar="VERSION", help="one of `bpfasm lab kernels`, or all")
    parser.add_argument("--renew", action="store_true", help="get the newest package, whatever is here")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    arguments = parser.parse_args(words)
    from bpfasm import lab

    everything = arguments.version == ["all"]
    versions = [kernel.version for kernel in lab.kernels()] if everything else arguments.version
    found = [lab.fetch(version, renew=arguments.renew) for version in versions]
    if arguments.json:
        _print_json(found)
        return 0
    for kernel in found:
        print(f"{kernel.version}: {kernel.release}")
    return 0


def _run(words: list[str]) -> int:
    parser = Parser(
        "lab run",
        "Boot a kernel and run a command in it, as root. The exit status is the command's; 124: the timeout\n"
        "ended it; 125: the lab itself failed.",
        "  bpfasm lab run -- python3 -c 'print(1)'\n  bpfasm lab run --on 6.12 --timeout 10 -- uname -r",
    )
    parser.add_argument("--on", metavar="V", help="version or path of a vmlinuz (default: BPFASM_ON, or 6.1)")
    parser.add_argument("--timeout", metavar="S", help="end the guest when the command takes longer: 90, 30s, 2m")
    parser.add_argument("--copy", action="append", default=[], metavar="PATH", help="have this in the guest too")
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB", help="the guest's memory (default: 1024)")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="the command and its words, after --")
    # What stands after the first -- is the command's, whatever it looks like.
    split = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:split])
    command = arguments.command + words[split + 1 :]
    timeout = None if arguments.timeout is None else seconds(arguments.timeout)
    from pathlib import Path

    from bpfasm import lab
    from bpfasm.cli import report

    here = os.environ.get("BPFASM_ON", "")
    try:
        return lab.run(
            arguments.on or (here if here not in {"", "auto", "live"} else None),
            command,
            timeout=timeout,
            stdin=_stdin(),
            copy=[Path(path) for path in arguments.copy],
            memory_mib=arguments.memory,
        )
    except LabError as error:
        report(error)
        return FAILED


def _stdin() -> int | None:
    """Return the file descriptor of what is piped in; None for a terminal, and where there is nothing."""
    try:
        return None if os.isatty(0) or not os.fstat(0) else 0
    except OSError:
        return None


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


def _print_json(kernels: list[Kernel]) -> None:
    import json

    from bpfasm import lab

    facts = [
        {
            "version": kernel.version,
            "release": kernel.release,
            "cached": kernel.cached,
            "arch": kernel.arch,
            "suites": list(kernel.suites),
            "package": kernel.package,
            "vmlinuz": str(kernel.tree.vmlinuz) if kernel.tree else None,
        }
        for kernel in kernels
    ]
    print(json.dumps({"schema": "bpfasm/lab-kernels/1", "default": lab.default(), "kernels": facts}, indent=2))
