"""What kernels have: the document ``bpfasm/features/1``, and the text made from it."""

from __future__ import annotations

from bpfasm.isa.helpers import HELPERS, since
from bpfasm.syscall.probe.answer import NO, UNKNOWN, YES
from bpfasm.syscall.probe.helpers import LOUD
from bpfasm.syscall.probe.table import GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from bpfasm.syscall.probe.answer import Answer
    from bpfasm.syscall.probe.feature import Feature
    from bpfasm.syscall.probe.helpers import Helpers

    Document = dict[str, Any]

HELPER = "helper"

#: Each group, and what it is.
TITLES = {name: what for name, (_, what) in GROUPS.items()} | {
    HELPER: "helper functions, and which programs may call"
}

_STATES = {YES: "yes", NO: "no", UNKNOWN: "?"}


# The document


def document(kernels: Iterable[Document]) -> Document:
    """Return the document of one or more kernels."""
    return {"schema": "bpfasm/features/1", "kernels": list(kernels)}


def row(feature: Feature, answer: Answer) -> Document:
    """Return one feature as the document has it."""
    return {
        "id": feature.id,
        "what": feature.what or None,
        "since": feature.since or None,
        "commit": feature.commit or None,
        "state": answer.state,
        "reason": answer.reason or None,
        "evidence": answer.evidence or None,
    }


def helper_rows(numbers: Iterable[int], found: Sequence[Helpers]) -> list[Document]:
    """Return helpers, given by their numbers, with the forms of programs that may call each."""
    rows = []
    for number in numbers:
        answers = {each.label: each.answers[number] for each in found if number in each.answers}
        callers = [label for label, answer in answers.items() if answer.state == YES]
        withheld = [each.lack for each in found if each.lack and each.lack.state == UNKNOWN and each.lack.errno]
        untold = [answer for answer in answers.values() if answer.state == UNKNOWN]
        if callers:
            state, reason = YES, None
        elif number in LOUD and not answers:
            state, reason = UNKNOWN, "to ask is to leave something in the kernel (--full asks)"
        elif withheld or untold:
            state, reason = UNKNOWN, (withheld or untold)[0].reason
        else:
            asked = {each.label.partition("/")[0] for each in found}
            state, reason = NO, f"no {f'{min(asked)} ' if len(asked) == 1 else ''}program may call it"
        rows.append(_helper(number, state, reason) | {"programs": callers})
    return rows


def helper_row(number: int, answer: Answer) -> Document:
    """Return a helper of which it is only known whether some program may call it."""
    return _helper(number, answer.state, answer.reason or None)


def _helper(number: int, state: str, reason: str | None) -> Document:
    return {"id": f"{HELPER}/{HELPERS[number]}", "since": since(number), "state": state, "reason": reason}


# One kernel


def text(doc: Document, groups: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a document: of groups that were asked for, single features, or where there are none all."""
    kernels = doc["kernels"]
    if len(kernels) > 1:
        yield from _beside(kernels, everything=bool(groups or names))
        return
    (kernel,) = kernels
    yield f"Linux {kernel['release']}, {kernel['machine']}"
    rows = kernel["features"]
    if names:
        yield ""
        for each in rows:
            if each["id"] in names:
                yield from _single(each)
    for group in groups or ([] if names else TITLES):
        mine = [each for each in rows if _group(each) == group]
        yield ""
        yield from (_table(group, mine) if groups else _summary(group, mine))
    if groups and HELPER in groups and kernel["not_asked"]:
        yield ""
        yield from (f"{label}: {reason}" for label, reason in kernel["not_asked"].items())


def _group(row: Document) -> str:
    return str(row["id"]).partition("/")[0]


def _name(row: Document) -> str:
    return str(row["id"]).partition("/")[2]


def _single(row: Document) -> Iterator[str]:
    release = f"since {row['since']}" if row["since"] else ""
    commit = f"({row['commit']})" if row.get("commit") else ""
    yield "  ".join(
        word for word in (row["id"], row["state"], f"{release} {commit}".strip(), row.get("what")) if word
    )
    if row.get("reason"):
        yield f"    {row['reason']}"
    if row.get("evidence"):
        yield f"    {row['evidence']}"
    if row.get("programs"):
        yield f"    programs: {' '.join(row['programs'])}"


def _summary(group: str, rows: Sequence[Document]) -> Iterator[str]:
    """Yield how many of a group there are, and below it the others by reason."""
    there = sum(row["state"] == YES for row in rows)
    yield f"{group:9}{there:>4} of {len(rows):<4}{TITLES[group]}"
    for state in (NO, UNKNOWN):
        reasons: dict[str, list[str]] = {}
        for row in rows:
            if row["state"] == state:
                # A setting has a reason of its own, which is all that is to be said of it.
                reasons.setdefault(row["reason"] or "", []).append(_name(row))
        for reason, names in reasons.items():
            shown = "all of them" if 1 < len(names) == len(rows) else " ".join(names)
            yield f"  {_STATES[state]:3} {shown}: {reason}"


def _table(group: str, rows: Sequence[Document]) -> Iterator[str]:
    yield f"{TITLES[group]}:"
    if group == HELPER:
        everyone = sorted({label for row in rows for label in row.get("programs", ()) if "/" not in label})
        cells = [(_STATES[row["state"]], _name(row), row["since"], _callers(row, everyone)) for row in rows]
    else:
        cells = [(_STATES[row["state"]], _name(row), row["since"] or "", _words(row)) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    for state, name, release, words in cells:
        yield f"  {state:{widths[0]}}  {name:{widths[1]}}  {release:{widths[2]}}  {words}".rstrip()


def _words(row: Document) -> str:
    what, reason = row.get("what") or "", row["reason"] or ""
    if row["state"] == YES and not row["since"]:
        reason = row["evidence"]  # a setting: what it is set to
    return f"{what}: {reason}" if what and reason else what or reason


def _callers(row: Document, everyone: Sequence[str]) -> str:
    """Return who may call a helper, in few words."""
    if row["state"] != YES:
        return row["reason"] or ""
    plain = {label for label in row["programs"] if "/" not in label}
    more = " ".join(label for label in row["programs"] if "/" in label)
    others = [label for label in everyone if label not in plain]
    if not others:
        words = "all" if len(everyone) > 1 else "".join(everyone)
    elif len(plain) > len(others):
        words = f"all but {' '.join(others)}"
    else:
        words = " ".join(label for label in row["programs"] if "/" not in label)
    return f"{words} {'and ' if more and words.startswith('all') else ''}{more}".strip()


# Several kernels


def _beside(kernels: Sequence[Document], *, everything: bool) -> Iterator[str]:
    """Yield the features of several kernels side by side: all of them, or those in which they differ."""
    rows: dict[str, list[Document | None]] = {}
    for at, kernel in enumerate(kernels):
        for each in kernel["features"]:
            rows.setdefault(each["id"], [None] * len(kernels))[at] = each
    shown = {id: each for id, each in rows.items() if everything or len({_cell(one) for one in each}) > 1}
    name = max((len(id) for id in shown), default=7)
    headers = [kernel["release"].partition("-")[0].partition("+")[0] for kernel in kernels]
    widths = [max(len(header), 4) for header in headers]
    yield _line("FEATURE", "SINCE", headers, name, widths)
    for id, each in shown.items():
        release = next((one["since"] or "" for one in each if one), "")
        yield _line(id, release, [_cell(one) for one in each], name, widths)
    same = len(rows) - len(shown)
    if same:
        yield f"{same} more, in which they do not differ: name a group to see them"


def _cell(row: Document | None) -> str:
    if row is None:
        return ""
    if row["state"] == YES and "programs" in row:
        return str(len(row["programs"]))  # how many forms of programs may call it
    return _STATES[row["state"]]


def _line(id: str, release: str, cells: Sequence[str], name: int, widths: Sequence[int]) -> str:
    columns = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{id:{name}}  {release:5}  {'  '.join(columns)}".rstrip()
