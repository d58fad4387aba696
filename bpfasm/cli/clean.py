"""``bpfasm clean``: list what killed processes of this user left, and remove it."""

from __future__ import annotations

import os
import sys
from functools import partial

from bpfasm.cli.options import Parser
from bpfasm.kernel import leftovers
from bpfasm.kernel.base.words import errno_name
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.kernel.leftovers import Leftover
    from bpfasm.syscall.owner import Owner


class Item(Value):
    """Something that outlived a process: its kind and name, its owner if it is tagged, and how it is removed.

    ``stays`` is why it is left alone, empty for what goes.
    """

    kind: str
    name: str
    owner: Owner | None
    stays: str
    remove: Callable[[], None]


def main(argv: list[str]) -> int:
    """Run ``bpfasm clean``; the status is 1 when something is left that could go."""
    parser = Parser(
        "clean",
        "List what outlived its process: events in tracefs, pins in a folder of their process, structs of\n"
        "functions that are still registered, programs that are still attached, half-made files of the lab. What is\n"
        "this user's, and whose process is dead, is removed after a question. What lives stays, and so does what\n"
        "cannot be seen from this pid namespace. Exit status 1: something is left that could go.",
        """
  bpfasm clean
  bpfasm clean --yes
""",
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    parser.add_argument("--pins", action="store_true", help="remove this user's pins, too, that were made to stay")
    parser.add_argument("--json", action="store_true", help="print a JSON document; only --yes removes then")
    args = parser.parse_args(argv)
    found = items(pins=args.pins)
    going = [item for item in found if not item.stays]
    unseen = leftovers.not_seen()
    if not args.json:
        _list(found, unseen)
    agreed = bool(going) and (args.yes or (not args.json and _agreed(len(going))))
    errors = _remove(going) if agreed else {}
    if args.json:
        kept = errors if agreed else dict.fromkeys((item.name for item in going), "not asked to")
        _print_json(found, kept, unseen)
    else:
        for name, error in errors.items():
            print(f"{name} stays: {error}", file=sys.stderr)
    return int(bool(going) and (not agreed or bool(errors)))


def items(*, pins: bool = False) -> list[Item]:
    """Return all that has an owner's tag, the living's too; with ``pins`` also those that were made to stay."""
    from shutil import rmtree

    from bpfasm.lab import cache

    found = [Item(left.kind, left.name, left.owner, _why(left), left.remove) for left in leftovers.find()]
    found += [Item("folder", str(path), owner, "", partial(rmtree, path)) for path, owner in cache.stale()]
    for path in leftovers.kept_pins() if pins else []:
        stays = "" if os.lstat(path).st_uid == os.geteuid() else "another user's"
        found.append(Item("pin", path, None, stays, partial(os.unlink, path)))
    return found


def _why(left: Leftover) -> str:
    """Return why something stays."""
    if left.alive:
        return f"process {left.owner.pid} runs"
    if left.alive is None:
        return "its process is of another pid namespace, and cannot be seen from here"
    return "" if left.owner.ours else f"it is user {left.owner.uid}'s"


def _list(found: list[Item], unseen: list[str]) -> None:
    for item in found:
        of = f", of process {item.owner.pid}" if item.owner else ""
        print(f"{item.kind:7}{item.name}{of}{f': stays, {item.stays}' if item.stays else ''}")
    if not found:
        print("nothing that this user can see is left" if unseen else "nothing is left of any process")
    elif all(item.stays for item in found):
        print("nothing to remove")
    for each in unseen:
        print(f"not seen: {each}")
    if unseen:
        print("sudo bpfasm clean looks at all of it")
    sys.stdout.flush()


def _agreed(count: int) -> bool:
    """Ask on a terminal; elsewhere say how to go on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print("nothing was removed: --yes removes what does not stay", file=sys.stderr)
        return False
    print(f"remove {'this' if count == 1 else f'these {count}'}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _remove(going: list[Item]) -> dict[str, str]:
    """Remove what is to go; return what did not, and why."""
    errors = {}
    for item in going:
        try:
            item.remove()
        except OSError as error:
            errors[item.name] = f"{errno_name(error.errno or 0)}, {error.strerror}"
    return errors


def _print_json(found: list[Item], errors: dict[str, str], unseen: list[str]) -> None:
    """Print the document bpfasm/clean/1."""
    import json

    rows: list[dict[str, Any]] = [
        {
            "kind": item.kind,
            "name": item.name,
            "pid": item.owner.pid if item.owner else None,
            "uid": item.owner.uid if item.owner else None,
            "stays": item.stays or None,
            "removed": not item.stays and item.name not in errors,
            "error": errors.get(item.name),
        }
        for item in found
    ]
    print(json.dumps({"schema": "bpfasm/clean/1", "items": rows, "not_seen": unseen}, indent=1))
