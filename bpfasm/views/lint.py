"""What lint found, as lines and as a JSON document."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.asm.lint.finding import Finding

    #: Programs by name, with what was found in each.
    Found = Iterable[tuple[str, tuple[Finding, ...]]]


def lines(found: Found, name: str) -> Iterator[str]:
    """Yield two lines for each finding; ``name`` is the INPUT, for what has no file and line of its own."""
    for _, findings in found:
        for finding in findings:
            yield from finding.report("stdin" if name == "-" else name).splitlines()


def document(found: Found) -> dict[str, Any]:
    """Return what ``lint --json`` prints."""
    programs = [{"name": name, "findings": [_finding(each) for each in findings]} for name, findings in found]
    return {"schema": "bpfasm/lint/1", "programs": programs}


def _finding(finding: Finding) -> dict[str, Any]:
    source = finding.source
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "pc": finding.pc,
        "text": finding.text,
        "fix": finding.fix,
        "source": {"file": source[0], "line": source[1], "column": finding.column} if source else None,
    }
