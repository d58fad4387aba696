"""``bpfasm lab run``: boot a kernel, or one after the other, and run a command in it."""

from __future__ import annotations

import os

from bpfasm.cli.lab import options
from bpfasm.cli.options import Parser


def main(words: list[str]) -> int:
    """Run the command and return its status, or one of the lab's own."""
    parser = Parser(
        "lab run",
        "Boot a kernel and run a command in it, as root. The exit status is the command's; 124: the timeout\n"
        "ended it; 125: the lab itself failed; 130: Ctrl-C. Of several kernels: the last status that is not 0.",
        "  bpfasm lab run -- python3 -c 'print(1)'\n"
        "  bpfasm lab run --on 5.10,6.12 --timeout 10 -- uname -r\n"
        "  bpfasm lab run --rw . -- sh -c 'dmesg > dmesg.txt'",
    )
    options.add_rw(parser)
    arguments, command = options.parse(parser, words)
    from bpfasm import lab

    chosen = options.guest(arguments)
    stdin = None if os.isatty(0) else 0
    start = _position(stdin)

    def run(kernel: str) -> int:
        if start is not None:
            os.lseek(0, start, os.SEEK_SET)  # each kernel's command gets all of it
        return lab.run(kernel, command, timeout=arguments.timeout, stdin=stdin, rw=arguments.rw, **chosen)

    return options.each(arguments, run)


def _position(fd: int | None) -> int | None:
    """Return where a file is read next; None for a pipe, which is read once."""
    try:
        return None if fd is None else os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return None
