"""The end of a verifier log: the last instruction that was reached, and what was wrong with it."""

from __future__ import annotations

import re

from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: ``6: (79) r1 = *(u64 *)(r0 +0)   ; R1=...``: from 5.18 on, the state after the instruction stands behind it.
#: ``BUG_``: what the disassembler of old kernels wrote for a slot that it did not know.
_INSN = re.compile(r"([0-9]{1,9}): (?:\([0-9a-f]{2}\) |(?=BUG_))(.*)")

#: Where the text of a jump, a call or an exit ends. What stands behind it was glued on: 6.1 takes back the line's end
#: to add the state, and then writes the next state or the error there.
_GLUED = re.compile(r"(.*?\bgoto pc[+-]\d+|call (?:pc[+-]\d+|\S+#-?\d+)|exit)\s+(.*)")

#: The line of statistics that ends every log. 6.18 writes it behind an error that lacks its line's end.
_STATS = re.compile(r"processed \d+ insns \(limit \d+\).*")

#: The heads of the report that kernels from 7.3 on add to some errors; its text is indented.
_REPORT = "Verification failed: "
_SECTION = re.compile(r"(Reason|At|Causal path|Suggestion|[A-Z][a-z]+( [a-z]+)*):$")

#: Lines that describe a state or a step: everything but instructions and errors.
_STATE = re.compile(
    r"""(\d+:\s|frame\d+:\s|\s)*                # 5.10 puts the slot before a state, a frame has its number
        (R\d+(_[a-z]+)?=|fp-\d+(_[a-z]+)?=|refs=|cb\b|async_cb\b)""",
    re.VERBOSE,
)
_STEP = re.compile(
    r"""(
        from\ \d+\ to\ \d+ | \d+:\ safe | caller: | callee: | returning\ from\ callee: | to\ caller\ at\ \d+
      | \d+:\ ?(\([0-9a-f]*)?$ |  # cut off there
        last_idx\ | regs=\S*\ stack= | parent\ (didn't|already|state) | mark_precise: | (frame\ \d+:\ )?propagating\s
      | ;\ | func\#\d+\ @ | Live\ regs\ before | \s+\d*\s+\d+:\ [.0-9]+ | func\ '\S*'\ arg\d+\ has\ btf_id
      | cur\ state: | old\ state: | Func\#\d+ | Validating\ \S+\ func\# | topo_order\[ | subprog[ #]\d
      | stack\ (use/def|depth) | verification\ time | SCC\ | insns\ processed | \(\d+\)\ (frame|live)
    )""",
    re.VERBOSE,
)
_NAMED_PC = re.compile(r"\binsn ([0-9]{1,9})\b")
_REPORTED_PC = re.compile(r"^  >>> ([0-9]{1,9}) \|", re.MULTILINE)


class Last(Value):
    """Where a log ends.

    ``pc`` is the slot of the last instruction that was reached, or where none was, the one that the error names;
    None when the log does not tell. ``insn`` is its text, empty when the log does not have it. ``error`` is what the
    verifier said of it, a line or two; none in the log of an accepted program, and none where the end was cut off.
    """

    pc: int | None
    insn: str
    error: tuple[str, ...]


def last(log: str) -> Last:
    """Return the end of a whole log, of any level and kernel. Never raises: what it cannot read it passes over."""
    log = log.partition("\0")[0]
    pc: int | None = None
    insn = ""
    error: list[str] = []
    for line in _without_report(_end(log)):
        found = _INSN.match(line)
        if found:
            pc, error = int(found[1]), []
            insn, rest = _split(found[2])
            if rest and not _STATE.match(rest) and not _STEP.match(rest):
                error.append(rest)
        elif line.strip() and not _STATE.match(line) and not _STEP.match(line):
            error.append(line.strip())
    if pc is None:
        named = _NAMED_PC.search(" ".join(error)) or _REPORTED_PC.search(log)
        pc = int(named[1]) if named else None
    return Last(pc, insn, tuple(error))


#: How much of a log's end is looked at first. What follows the last instruction is a report and two lines of states.
_END = 1 << 16


def _end(log: str) -> list[str]:
    """Return the lines from the last instruction on, and some before: a log may have millions."""
    size = _END
    while size < len(log):
        lines = log[-size:].splitlines()[1:]  # the first is cut
        if any(map(_INSN.match, lines)):
            return lines
        size *= 4
    return log.splitlines()


def _without_report(lines: Iterable[str]) -> Iterator[str]:
    """Return the lines that are neither of 7.3's report nor statistics."""
    in_report = False
    for line in lines:
        if line.startswith(_REPORT):
            in_report = True
        elif in_report and line and not line[0].isspace() and not _SECTION.match(line):
            in_report = False
        if not in_report:
            yield _STATS.sub("", line)


def _split(text: str) -> tuple[str, str]:
    """Return an instruction's text, and what was glued to its line."""
    insn, behind, _ = text.partition(" ;")
    if behind:
        return insn.strip(), ""
    glued = _GLUED.fullmatch(text)
    return (glued[1], glued[2].strip()) if glued else (text.strip(), "")
