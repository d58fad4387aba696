"""``bpfasm lab fetch``: bring kernels to this machine, or into a folder for one without a network."""

from __future__ import annotations

from bpfasm.cli.lab.kernels import print_json
from bpfasm.cli.options import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.lab.packages.bundle import Bundle


def main(words: list[str]) -> int:
    """Fetch kernels; those that are here stay as they are, without ``--renew``."""
    parser = Parser(
        "lab fetch",
        "Bring kernels to this machine, or with --to into a folder that can be carried or served.",
        "  bpfasm lab fetch 6.1\n  bpfasm lab fetch all --to /mnt/lab\n  bpfasm lab fetch all --from /mnt/lab",
    )
    parser.add_argument("version", nargs="+", metavar="VERSION", help="one of `bpfasm lab kernels`, or all")
    parser.add_argument("--renew", action="store_true", help="get the newest package, whatever is here")
    parser.add_argument("--from", dest="mirror", default="", metavar="DIR|URL", help="get them from there")
    parser.add_argument("--to", metavar="DIR", help="make a folder of them, for --from")
    parser.add_argument("--pinned", action="store_true", help="exactly the packages this version of bpfasm pins")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    arguments = parser.parse_args(words)
    from bpfasm import lab
    from bpfasm.lab.packages import bundle

    versions: list[str] = []
    for word in arguments.version:
        versions += [kernel.version for kernel in lab.kernels()] if word == "all" else [word]
    wanted = [lab.find(version) for version in dict.fromkeys(versions)]
    origin = {"mirror": arguments.mirror, "pinned": arguments.pinned}
    if arguments.to:
        bundles = [bundle.of_kernel(kernel) for kernel in wanted]
        bundles += [bundle.of_userland(arch) for kernel in wanted for arch in bundle.userlands(kernel)]
        return _fill(arguments.to, bundles, origin, as_json=arguments.json)
    found = []
    for kernel in wanted:
        found.append(lab.fetch(kernel, renew=arguments.renew, **origin))
        for arch in bundle.userlands(kernel):
            lab.userland(arch, **origin)
    if arguments.json:
        print_json(found)
        return 0
    for kernel in found:
        print(f"{kernel.version}: {kernel.release}")
    return 0


def _fill(folder: str, bundles: list[Bundle], origin: dict[str, Any], *, as_json: bool) -> int:
    """Make or renew a folder, and say what it holds and how it is used."""
    from pathlib import Path

    from bpfasm.lab import cache
    from bpfasm.lab.packages import room

    held = room.fill(Path(folder), bundles, **origin)
    size = cache.size(Path(folder))
    if as_json:
        import json

        document = {
            "schema": "bpfasm/lab-folder/1",
            "folder": str(Path(folder).absolute()),
            "holds": held.holds,
            "suites": held.suites,
            "pinned": held.pinned,
            "bytes": size,
        }
        print(json.dumps(document, indent=2))
        return 0
    print(f"{folder} holds {', '.join(held.holds)}: {size / 1e6:.0f} MB")
    print("carry it, or serve it: python3 -m http.server -d DIR")
    print("where it is needed: bpfasm lab fetch all --from DIR|URL")
    return 0
