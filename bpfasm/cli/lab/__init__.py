"""``bpfasm lab``: run a command on another kernel. One module a verb, each with a ``main(words)``."""

from __future__ import annotations

from bpfasm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The status of `lab run` when the lab, not the command, failed.
FAILED = 125

#: Each verb, the module it is in, and what it is for.
VERBS = {
    "kernels": "list the kernels, on this machine or not",
    "fetch": "bring a kernel to this machine",
    "run": "boot a kernel and run a command in it",
    "shell": "boot a kernel and work in it",
    "matrix": "run a command, or the live tests, on every kernel",
}


def main(argv: Sequence[str]) -> int:
    """Do ``bpfasm lab ARGV`` and return its exit status.

    That of ``run`` is the command's own; 124 when the timeout ended it, 125 when the lab itself failed.
    """
    if argv and argv[0] in VERBS:
        from importlib import import_module

        status: int = import_module(f"bpfasm.cli.lab.{argv[0]}").main(list(argv[1:]))
        return status
    if argv and argv[0] in {"-h", "--help"}:
        print(_help(), end="")
        return 0
    given = f"lab has no verb {argv[0]!r}" if argv else "lab needs a verb"
    raise UsageError(given, f"its verbs are {', '.join(VERBS)}; bpfasm lab --help says more", rule="usage")


def _help() -> str:
    verbs = "\n".join(f"  {verb:<9} {what}" for verb, what in VERBS.items())
    return (
        "  bpfasm lab run -- python3 -c 'print(1)'\n"
        "  bpfasm lab kernels\n\n"
        "Run a command on another kernel, in a virtual machine. No root is needed.\n\n"
        f"{verbs}\n\n"
        "bpfasm lab VERB --help says more.\n"
    )
