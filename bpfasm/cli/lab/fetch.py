"""``bpfasm lab fetch``: bring kernels to this machine."""

from __future__ import annotations

from bpfasm.cli.lab.kernels import print_json
from bpfasm.cli.options import Parser


def main(words: list[str]) -> int:
    """Fetch kernels; those that are here stay as they are, without ``--renew``."""
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
        print_json(found)
        return 0
    for kernel in found:
        print(f"{kernel.version}: {kernel.release}")
    return 0
