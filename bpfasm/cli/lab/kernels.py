"""``bpfasm lab kernels``: the kernels there are, on this machine or not."""

from __future__ import annotations

from bpfasm.cli.options import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.lab import Kernel


def main(words: list[str]) -> int:
    """List the kernels of the lab."""
    parser = Parser(
        "lab kernels", "List the kernels of the lab.", "  bpfasm lab kernels\n  bpfasm lab kernels --json"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    arguments = parser.parse_args(words)
    from bpfasm import lab

    known = lab.everything()
    if arguments.json:
        print_json(known)
        return 0
    print(f"{'KERNEL':10} {'RELEASE':28} FROM")
    for kernel in known:
        mark = " (default)" if kernel.version == lab.default() else ""
        print(f"{kernel.version:10} {kernel.release or '- not fetched':28} {kernel.suites[0]}{mark}")
    return 0


def print_json(kernels: list[Kernel]) -> None:
    """Print the document bpfasm/lab-kernels/1."""
    import json

    from bpfasm import lab

    facts = [
        {
            "version": kernel.version,
            "release": kernel.release,
            "cached": kernel.cached,
            "arch": kernel.arch,
            "suites": list(kernel.suites),
            "package": f"linux-image-{kernel.releases}",
            "vmlinuz": str(kernel.tree.vmlinuz) if kernel.tree else None,
        }
        for kernel in kernels
    ]
    print(json.dumps({"schema": "bpfasm/lab-kernels/1", "default": lab.default(), "kernels": facts}, indent=2))
