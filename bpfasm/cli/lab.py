"""``bpfasm lab``: list the kernels, get one, run a command on one."""

from __future__ import annotations

import argparse
import json
import os
import sys

from bpfasm.errors import BpfasmError, LabError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.lab import Kernel

_EXAMPLES = """\
examples:
  bpfasm lab run -- python3 -c 'print(1)'
  bpfasm lab run --on 6.12 --timeout 10 -- uname -r
"""


def main(argv: list[str]) -> int:
    """Do ``bpfasm lab ARGV`` and return its exit status.

    The status of ``run`` is the command's own, 124 when the timeout ended it, 125 when the lab itself failed.
    """
    # What stands after the first -- is the command's, whatever it looks like.
    split = argv.index("--") if "--" in argv else len(argv)
    arguments = _parser().parse_args(argv[:split])
    if split < len(argv) and arguments.verb == "run":
        arguments.command += argv[split + 1 :]
    failed = 125 if arguments.verb == "run" else 3
    try:
        return int(arguments.do(arguments))
    except UsageError as error:
        return _tell(error, arguments, 2)
    except LabError as error:
        return _tell(error, arguments, failed)
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about that again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


def seconds(text: str) -> float:
    """Return a time limit given in seconds, or with a unit: 90, 1.5, 500ms, 30s, 2m, 1h."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("", 1)):
        if text.endswith(unit):
            number = text.removesuffix(unit) if unit else text
            try:
                value = float(number) * factor
            except ValueError:
                break
            if 0 < value < float("inf"):
                return value
            break
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a time: write seconds (2.5) or a unit (500ms, 30s, 2m, 1h)"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bpfasm lab",
        description="Run a command on another kernel, in a virtual machine. No root is needed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="kernels|fetch|run")

    kernels = verbs.add_parser("kernels", help="list the kernels, on this machine or not")
    kernels.add_argument("--json", action="store_true", help="print JSON")
    kernels.set_defaults(do=_kernels)

    fetch = verbs.add_parser("fetch", help="bring a kernel to this machine")
    fetch.add_argument("version", nargs="+", metavar="VERSION", help="one of `lab kernels`, or all")
    fetch.add_argument("--renew", action="store_true", help="get the newest package again")
    fetch.add_argument("--json", action="store_true", help="print JSON")
    fetch.set_defaults(do=_fetch)

    run = verbs.add_parser("run", help="boot a kernel and run a command in it", epilog=_EXAMPLES)
    run.formatter_class = argparse.RawDescriptionHelpFormatter
    run.add_argument("--on", metavar="V", help="version, or path of a vmlinuz (default: 6.1, or BPFASM_ON)")
    run.add_argument(
        "--timeout", type=seconds, metavar="S", help="end the guest after S seconds (status 124)"
    )
    run.add_argument("--copy", action="append", default=[], metavar="PATH", help="have this in the guest too")
    run.add_argument(
        "--memory", type=int, default=1024, metavar="MIB", help="memory of the guest (default: 1024)"
    )
    run.add_argument("command", nargs="*", metavar="COMMAND", help="the command and its words, after --")
    run.set_defaults(do=_run, json=False)
    return parser


def _kernels(arguments: argparse.Namespace) -> int:
    from bpfasm import lab

    known = lab.kernels()
    if arguments.json:
        _print_json(
            {"schema": "bpfasm/lab-kernels/1", "default": lab.default(), "kernels": list(map(_facts, known))}
        )
        return 0
    print(f"{'KERNEL':8} {'RELEASE':28} FROM")
    for kernel in known:
        mark = " (default)" if kernel.version == lab.default() else ""
        print(f"{kernel.version:8} {kernel.release or '- not fetched':28} {kernel.suites[0]}{mark}")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from bpfasm import lab

    versions = (
        [kernel.version for kernel in lab.kernels()] if arguments.version == ["all"] else arguments.version
    )
    found = [lab.fetch(version, renew=arguments.renew) for version in versions]
    if arguments.json:
        _print_json(
            {"schema": "bpfasm/lab-kernels/1", "default": lab.default(), "kernels": list(map(_facts, found))}
        )
        return 0
    for kernel in found:
        print(f"{kernel.version}: {kernel.release}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from bpfasm import lab

    given = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.fileno()
    return lab.run(
        arguments.on or os.environ.get("BPFASM_ON") or None,
        arguments.command,
        timeout=arguments.timeout,
        stdin=given,
        copy=[Path(path) for path in arguments.copy],
        memory_mib=arguments.memory,
    )


def _facts(kernel: Kernel) -> dict[str, object]:
    return {
        "version": kernel.version,
        "release": kernel.release,
        "cached": kernel.cached,
        "arch": kernel.arch,
        "suites": list(kernel.suites),
        "package": kernel.package,
        "vmlinuz": str(kernel.tree.vmlinuz) if kernel.tree else None,
    }


def _print_json(document: dict[str, object]) -> None:
    print(json.dumps(document, indent=2))


def _tell(error: BpfasmError, arguments: argparse.Namespace, status: int) -> int:
    """Say what went wrong: on stdout as JSON when that was asked for, else in two lines on stderr."""
    if arguments.json:
        _print_json({"error": {"kind": type(error).__name__, "what": error.what, "do": error.do}})
    else:
        print(error.report(), file=sys.stderr)
    return status
