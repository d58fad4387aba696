"""``bpfasm lab run``: boot a kernel and run a command in it."""

from __future__ import annotations

import os

from bpfasm.cli.lab import FAILED
from bpfasm.cli.options import Parser, seconds
from bpfasm.errors import LabError


def main(words: list[str]) -> int:
    """Run the command and return its status, or one of the lab's own."""
    parser = Parser(
        "lab run",
        "Boot a kernel and run a command in it, as root. The exit status is the command's; 124: the timeout\n"
        "ended it; 125: the lab itself failed.",
        "  bpfasm lab run -- python3 -c 'print(1)'\n  bpfasm lab run --on 6.12 --timeout 10 -- uname -r",
    )
    parser.add_argument("--on", metavar="V", help="version or path of a vmlinuz (default: BPFASM_ON, or 6.1)")
    parser.add_argument("--timeout", metavar="S", help="end the guest when the command takes longer: 90, 30s, 2m")
    parser.add_argument("--copy", action="append", default=[], metavar="PATH", help="have this in the guest too")
    parser.add_argument("--module", action="append", default=[], metavar="NAME", help="have this kernel module too")
    parser.add_argument("--disk", action="store_true", help="have a disk, an empty ext4 at /mnt/disk")
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
            modules=arguments.module,
            disk=arguments.disk,
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
