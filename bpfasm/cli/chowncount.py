"""``bpfasm chowncount``: load a program, attach it to fchownat(2), and watch it count."""

from __future__ import annotations

import os
import sys
import time

from bpfasm import place
from bpfasm.cli.options import Parser, add_on, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from bpfasm.cli.workload import Workload
    from bpfasm.kernel import LoadedMap

#: What a kernel must have for it.
NEEDS = ("bpf", "kprobe")

INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Run ``bpfasm chowncount``; the status is 1 when calls were missed."""
    parser = Parser(
        "chowncount",
        "Load a program of examples/chowncount.py, attach it as a kprobe, and let worker processes call\n"
        "fchownat(2). At the end, what was counted stands beside what was called.",
        """
  bpfasm chowncount --timeout 5
  bpfasm chowncount --on 6.1 --calls 10000 --workers 4 --form percpu
""",
    )
    parser.add_argument(
        "--form", choices=("seed", "labelled", "percpu"), default="labelled", help="which program (default: labelled)"
    )
    parser.add_argument("--calls", type=int, metavar="N", help="make N calls in all, as fast as they go, then stop")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that call (default: 1)")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="seconds to count; 0 is until Ctrl-C, or all calls are made (default: 10, and 0 with --calls)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as a JSON document, one line a kernel")
    add_on(parser)
    args = parser.parse_args(argv)
    if args.timeout is None:
        args.timeout = 10.0 if args.calls is None else 0.0
    if args.workers < 1 or (args.calls is not None and args.calls < 1):
        parser.error("--workers and --calls take a number above 0")
    return place.run(["chowncount", *argv], args.on, NEEDS, lambda: _count(args))


def _seconds(text: str) -> float:
    """Return the time that ``--timeout`` says, 0 for none. Raises UsageError."""
    return 0.0 if text == "0" else seconds(text)


def _count(args: Namespace) -> int:
    """Load, attach, let the workers call, and print the count every second."""
    from bpfasm.cli.workload import Workload
    from bpfasm.inputs import shipped
    from bpfasm.kernel import load
    from bpfasm.kernel.signals import terminable

    program, counts = shipped("examples/chowncount.py")["FORMS"][args.form]
    with terminable(), _a_file() as chown, load(program) as loaded:
        (link,) = loaded.attach()
        table = loaded[counts]
        if not args.json:
            print(f"{program.name} is attached to {link.target} on Linux {os.uname().release}", flush=True)
        with Workload(chown, workers=args.workers, calls=args.calls) as workload:
            # No program runs on a processor while a map is looked up there, and a lookup may be preempted by a worker
            # (kernel/bpf/syscall.c bpf_disable_instrumentation()): nothing is read that nobody is to see.
            interrupted = _watch(workload, args.timeout, None if args.json else lambda: _show(table))
            called = workload.stop()
        counted = _total(table)
    _verdict(args, counted, called)
    if counted < called:
        return 1
    return INTERRUPTED if interrupted else 0


def _watch(workload: Workload, timeout: float, show: Callable[[], None] | None) -> bool:
    """Show the count each second until the workers are done or the time is up; return whether Ctrl-C ended it."""
    start = time.monotonic()
    end = start + timeout if timeout else float("inf")
    due = start + 1
    try:
        while workload.running and time.monotonic() < end:
            time.sleep(max(0.0, min(due, end, time.monotonic() + 0.05) - time.monotonic()))
            if time.monotonic() >= due:
                if show:
                    show()
                due += 1
    except KeyboardInterrupt:
        return True
    return False


def _show(table: LoadedMap) -> None:
    print(f"fchownat(2) count: {_total(table)}", flush=True)


def _total(table: LoadedMap) -> int:
    """Return the count at key 0, summed over the CPUs where each has its own."""
    value = table[0]
    return sum(value) if isinstance(value, list) else int(value)


class _a_file:  # noqa: N801  used like a function
    """A file of our own to change the owner of; gives the call that does it, to the owner it has."""

    def __enter__(self) -> Callable[[], None]:
        from tempfile import mkdtemp

        self._folder = mkdtemp(prefix="bpfasm-")
        self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=self._fd))
        # os.chown(path) would be chown(2); with dir_fd it is fchownat(2).
        return lambda: os.chown("file", -1, -1, dir_fd=self._fd)

    def __exit__(self, *_: object) -> None:
        os.unlink("file", dir_fd=self._fd)
        os.close(self._fd)
        os.rmdir(self._folder)


def _verdict(args: Namespace, counted: int, called: int) -> None:
    """Print what was counted beside what was called."""
    if args.json:
        import json

        document = {"schema": "bpfasm/chowncount/1", "release": os.uname().release, "form": args.form}
        print(json.dumps({**document, "counted": counted, "called": called}))
        return
    difference = abs(counted - called)
    if counted == called:
        words = "equal"
    elif counted > called:
        words = f"{difference} more: other processes call fchownat(2) too"
    else:
        words = f"{difference} were missed"
    print(f"counted {counted}, called {called}: {words}", file=sys.stdout, flush=True)
