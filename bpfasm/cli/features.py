"""``bpfasm features``: what kernels have, found out by trying."""

from __future__ import annotations

import json
import os

from bpfasm import place
from bpfasm.cli.options import Parser, add_on, add_output, write
from bpfasm.errors import LabError
from bpfasm.isa.helpers import HELPERS
from bpfasm.kernel import features
from bpfasm.syscall.probe.answer import YES
from bpfasm.syscall.probe.table import GROUPS
from bpfasm.views import features as view
from bpfasm.views.features import HELPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from typing import Any

    from bpfasm.lab import Kernel
    from bpfasm.place import Place


def main(argv: list[str]) -> int:
    """Run ``bpfasm features``; the status is 1 where a feature that was named is not there."""
    parser = Parser(
        "features",
        "Show what the kernel has: yes, no (proven), or ? (it could not be told, and why). Every answer comes from\n"
        "trying; nothing is left behind. With several kernels: what they differ in.",
        """
  bpfasm features
  bpfasm features map helper/ringbuf_output --on 5.10,6.1
""",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"a group ({', '.join(view.TITLES)}), or a feature: GROUP/NAME"
    )
    parser.add_argument(
        "--prog-type", metavar="T", help="which helpers programs of this type may call: xdp, kprobe, tracing ..."
    )
    parser.add_argument(
        "--full", action="store_true", help="ask for helpers too that make the kernel warn, or switch an event on"
    )
    add_output(parser)
    add_on(parser)
    args = parser.parse_args(argv)
    groups, names = _asked(args)
    # The question is about this kernel, whatever it cannot do.
    places = place.choose(place.asked(args.on) or ["live"], ["bpf"])
    document = view.document(_everywhere(places, argv, lambda: _here(args, groups, names)))
    if args.json:
        text = json.dumps(document)
    else:
        text = "\n".join(view.text(document, groups, names))
    write(f"{text}\n".encode(), args.out)
    found = [row for kernel in document["kernels"] for row in kernel["features"] if row["id"] in names]
    return int(any(row["state"] != YES for row in found))


def _asked(args: Namespace) -> tuple[list[str], list[str]]:
    """Return the groups and the single features that were asked for. Raises UsageError."""
    groups = [word for word in args.names if word in view.TITLES]
    names = [word for word in args.names if word not in view.TITLES]
    for name in names:
        if name.startswith(f"{HELPER}/"):
            features.helper_number(name.partition("/")[2])
        else:
            features.find(name)
    if args.prog_type:
        features.program_number(args.prog_type)
        asked = [*groups, *(name.partition("/")[0] for name in names)]
        groups = groups if HELPER in asked else [*groups, HELPER]
    return groups, [name.replace("/bpf_", "/", 1) if name.startswith(HELPER) else name for name in names]


# This kernel


def _here(args: Namespace, groups: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Ask this kernel."""
    everything = not groups and not names
    types = [features.program_number(args.prog_type)] if args.prog_type else []
    rows: list[dict[str, Any]] = []
    lacks: dict[str, str] = {}
    for group in GROUPS:
        if everything or group in groups:
            rows += [view.row(feature, answer) for feature, answer in features.survey(group)]
    rows += [view.row(features.find(name), features.ask(name)) for name in names if not name.startswith(HELPER)]
    if everything:
        rows += [view.helper_row(number, answer) for number, answer in features.some_program().items()]
    for name in names:
        if name.startswith(HELPER):
            number = features.helper_number(name.partition("/")[2])
            rows += view.helper_rows([number], features.helper(HELPERS[number], types, loud=args.full))
    if HELPER in groups:
        found = features.helpers(types, loud=args.full)
        rows += view.helper_rows(HELPERS, found)
        lacks = {each.label: each.lack.reason for each in found if each.lack}
    uname = os.uname()
    unique = {row["id"]: row for row in rows}
    return {
        "release": uname.release,
        "machine": uname.machine,
        "features": list(unique.values()),
        "not_asked": lacks,
    }


# Other kernels


def _everywhere(places: Sequence[Place], argv: list[str], here: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask each kernel; those of the lab several at a time."""
    kernels: dict[str, Kernel] = {}
    if any(not each.live for each in places):
        from bpfasm import lab

        kernels = {each.kernel: lab.find(each.kernel) for each in places if not each.live}
    answers = _in_the_lab(list(kernels.values()), argv) if kernels else {}
    return [here() if each.live else answers[kernels[each.kernel].version] for each in places]


def _in_the_lab(kernels: Sequence[Kernel], argv: list[str]) -> dict[str, dict[str, Any]]:
    from bpfasm import lab

    words = ["python3", "-m", "bpfasm", "features", *_without_output(place.without_on(argv))]
    found = {}
    for outcome in lab.each(kernels, [*words, "--json", "--on", "live"]):
        if outcome.error:
            raise outcome.error
        lines = outcome.output.splitlines()
        try:
            # What else was written (a warning, say) came before.
            (found[outcome.kernel.version],) = json.loads(lines[-1])["kernels"]
        except (IndexError, KeyError, ValueError):
            said = outcome.output.decode(errors="replace").strip() or f"status {outcome.status}"
            raise LabError(
                f"the kernel {outcome.kernel.version} was not asked: {said.splitlines()[-1]}",
                f"see what happens: bpfasm lab run --on {outcome.kernel.version} -- python3 -m bpfasm features",
                rule="lab-guest",
            ) from None
    return found


def _without_output(words: Sequence[str]) -> list[str]:
    """Return a command line without what says where the output goes."""
    kept: list[str] = []
    value_next = False
    for word in words:
        if value_next:
            value_next = False
        elif word == "--out":
            value_next = True
        elif word != "--json" and not word.startswith("--out="):
            kept.append(word)
    return kept
