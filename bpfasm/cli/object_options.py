"""How an INPUT becomes an object file, for the verbs that write one."""

from __future__ import annotations

from bpfasm.elf.object_write import write_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from bpfasm.cli.options import Parser
    from bpfasm.inputs import Input


def add_options(parser: Parser) -> None:
    """Add the options of writing an object."""
    parser.add_argument(
        "--byteorder",
        choices=("little", "big"),
        default=None,
        help="elf: of the machine it is for (default: this one)",
    )
    parser.add_argument(
        "--leave-initial", action="store_true", help="elf: leave to the loader what maps are to hold from the start"
    )


def written(given: Input, args: Namespace) -> bytes:
    """Return the bytes of an object with all programs of an INPUT."""
    import sys

    return write_object(*given.whole(), byteorder=args.byteorder or sys.byteorder, leave_initial=args.leave_initial)
