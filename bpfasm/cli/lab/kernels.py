"""``bpfasm lab kernels``: the kernels there are, on this machine or not."""

from __future__ import annotations

from bpfasm.cli.options import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.lab import Kernel


def main(words: list[str]) -> int:
    """List the kernels of the lab, and what their configurations lack."""
    parser = Parser(
        "lab kernels",
        "List the kernels of the lab, what they take on the disk, and what of BPF their configurations lack.",
        "  bpfasm lab kernels\n  bpfasm lab kernels --json",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    arguments = parser.parse_args(words)
    from bpfasm import lab

    known = lab.everything()
    if arguments.json:
        print_json(known)
        return 0
    print(f"{'KERNEL':11} {'RELEASE':29} {'SIZE':>7}  FROM")
    for kernel in known:
        size = f"{_size(kernel) / 1e6:.0f} MB" if kernel.cached else "-"
        mark = " (default)" if kernel.version == lab.default() else ""
        print(f"{kernel.version:11} {kernel.release or '- not fetched':29} {size:>7}  {kernel.suites[0]}{mark}")
    print(f"\n{'LACKS CONFIG_':24} {'KERNEL':24} WHAT IT GIVES")
    for option, meaning in lab.options().items():
        without = [kernel.version for kernel in known if option in kernel.lacks]
        if without:
            print(f"{option:24} {'all' if len(without) == len(known) else ' '.join(without):24} {meaning}")
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
            "all": kernel.in_all,
            "suites": list(kernel.suites),
            "package": f"linux-image-{kernel.releases}" if kernel.releases else None,
            "vmlinuz": str(kernel.tree.vmlinuz) if kernel.tree else None,
            "busybox": str(kernel.tree.busybox) if kernel.tree and kernel.tree.busybox else None,
            "bytes": _size(kernel),
            "lacks": list(kernel.lacks),
        }
        for kernel in kernels
    ]
    document = {
        "schema": "bpfasm/lab-kernels/1",
        "default": lab.default(),
        "options": lab.options(),
        "kernels": facts,
    }
    print(json.dumps(document, indent=2))


def _size(kernel: Kernel) -> int:
    """Return what a kernel of the matrix takes on the disk, in bytes."""
    from bpfasm.lab import cache, matrix

    return cache.size(matrix.place(kernel.version))
