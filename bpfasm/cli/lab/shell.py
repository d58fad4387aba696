"""``bpfasm lab shell``: boot a kernel, or one after the other, and work in it."""

from __future__ import annotations

import os

from bpfasm.cli.lab import options
from bpfasm.cli.options import Parser
from bpfasm.errors import UsageError


def main(words: list[str]) -> int:
    """Run a shell, or the command, in a guest's terminal and return its status, or one of the lab's own."""
    parser = Parser(
        "lab shell",
        "Boot a kernel and work in it, as root: a shell, or the command, with this terminal. Ctrl-] ends the guest\n"
        "at any time. Nothing of what is done in it stays, but for the folders of --rw.",
        "  bpfasm lab shell --on 6.12\n  bpfasm lab shell --rw . -- python3",
    )
    options.add_rw(parser)
    arguments, command = options.parse(parser, words)
    from bpfasm import lab
    from bpfasm.lab.guest import terminal
    from bpfasm.lab.guest.shares import outermost

    if not os.isatty(0):
        raise UsageError(
            "lab shell needs a terminal, and standard input is none",
            "bpfasm lab run -- COMMAND takes what is piped in",
            rule="lab-terminal",
        )
    shared = outermost(arguments.rw)
    kept = f"only {', '.join(shared)}" if shared else "nothing"
    leave = "end the command" if command else "exit"
    chosen = options.guest(arguments)
    chosen["copy"] += terminal.description()

    def run(kernel: str) -> int:
        with lab.boot(kernel, **chosen) as guest:
            terminal.say(f"Linux {guest.release}; {kept} is kept; to leave: {leave}, or Ctrl-]")
            return guest.shell(command, timeout=arguments.timeout, rw=shared)

    return options.each(arguments, run)
