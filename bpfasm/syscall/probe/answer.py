"""What a probe finds out: yes, no, or that it cannot be told from here."""

from __future__ import annotations

from errno import EACCES, EPERM, errorcode

from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.value import Value

YES, NO, UNKNOWN = "yes", "no", "unknown"


class Answer(Value):
    """Whether a feature is there.

    ``state`` is ``yes``, ``no`` (proven), or ``unknown``. ``reason`` says why not, or why it cannot be told.
    ``evidence`` is what was tried and what came of it. ``errno`` is set where a lack of permission is the reason.
    """

    state: str
    reason: str = ""
    evidence: str = ""
    errno: int = 0


def yes(evidence: str) -> Answer:
    """Return that it is there."""
    return Answer(YES, "", evidence)


def no(reason: str, evidence: str = "") -> Answer:
    """Return that it is not there."""
    return Answer(NO, reason, evidence)


def unknown(reason: str, evidence: str = "", errno: int = 0) -> Answer:
    """Return that it cannot be told."""
    return Answer(UNKNOWN, reason, evidence, errno)


def name_of(number: int) -> str:
    """Return ``EINVAL`` for 22, and ``done`` for 0."""
    return "ENOTSUPP" if number == ENOTSUPP else errorcode.get(number, f"errno {number}") if number else "done"


class Tried(Value):
    """What the kernel said to a call: its errno, 0 where it was done, and the verifier's log if it wrote one."""

    call: str
    errno: int
    log: str = ""

    @property
    def words(self) -> str:
        """The call and its outcome, as evidence."""
        complaint = self.complaint
        return f"{self.call}: {name_of(self.errno)}{f', {complaint}' if complaint else ''}"

    @property
    def complaint(self) -> str:
        """What the verifier says is wrong, without the report that 7.3 adds; empty where there is no log."""
        if not (self.errno and self.log):
            return ""
        from bpfasm.vlog.last import last  # imports re, which what was not refused does not need

        return "; ".join(last(self.log).error)

    @property
    def not_permitted(self) -> bool:
        """Whether it was refused to this process, rather than to everybody."""
        return self.errno == EPERM or (self.errno == EACCES and not self.log)


def judge(tried: Tried, *, there: tuple[int, ...] = (), absent: tuple[int, ...] = (), reason: str = "") -> Answer:
    """Return what a call proves: that it was done, or failed with one of ``there``, is a yes.

    One of ``absent`` is a no, for that ``reason``. Anything else cannot be told.
    """
    if not tried.errno or tried.errno in there:
        return yes(tried.words)
    if tried.errno in absent:
        return no(reason or f"the kernel says {name_of(tried.errno)}", tried.words)
    return denied(tried) if tried.not_permitted else unknown(f"the kernel says {name_of(tried.errno)}", tried.words)


def refused(error: OSError, *, absent: tuple[int, ...] = (), reason: str = "") -> Answer:
    """Return what it proves that a call of bpf(2) failed which a probe needs before it can ask."""
    call = str(error.strerror).partition(":")[0]
    return judge(Tried(call, error.errno or 0), absent=absent, reason=reason)


def denied(tried: Tried) -> Answer:
    """Return that this process may not ask."""
    return unknown("not permitted", tried.words, tried.errno)


def every(answers: dict[str, Answer]) -> Answer:
    """Return one answer for several by name: yes if all are, no as soon as one is, unknown otherwise."""
    for state in (NO, UNKNOWN):
        lacking = {name: answer for name, answer in answers.items() if answer.state == state}
        if lacking:
            first = next(iter(lacking.values()))
            return Answer(state, f"{', '.join(lacking)}: {first.reason}", first.evidence, first.errno)
    return yes(f"{len(answers)} of {len(answers)}: {', '.join(answers)}")
