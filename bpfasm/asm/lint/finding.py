"""What lint found, and what it was asked."""

from __future__ import annotations

from bpfasm.isa.where import column_of
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.flow import Graph
    from bpfasm.asm.program import Program
    from bpfasm.errors import Source

ERROR, WARNING = "error", "warning"


class Finding(Value):
    """Something wrong at a pc: what, what to do, under which rule; and where it was written, if that is known.

    An "error" is what kernels refuse, a "warning" what they take, or some of them.
    """

    rule: str
    severity: str
    pc: int
    text: str
    fix: str
    source: Source | None
    column: int

    def report(self, name: str) -> str:
        """Return it in two lines: ``FILE:LINE:COL: error: TEXT [RULE]``, and the fix."""
        where = f"{self.source[0]}:{self.source[1]}:{self.column}" if self.source else f"{name}: slot {self.pc}"
        return f"{where}: {self.severity}: {self.text} [{self.rule}]\n{self.fix}"


class Asked(Value):
    """What lint is asked of a program: the oldest kernel, as (major, minor), and LLVM's ISA level, 1 to 4."""

    program: Program
    graph: Graph
    kernel: tuple[int, int] | None
    isa: int | None

    def before(self, release: str) -> bool:
        """Return whether the oldest kernel asked for is older than a release; "" is one that never comes."""
        return self.kernel is not None and (not release or self.kernel < release_of(release))

    def at(self, index: int, rule: str, text: str, fix: str, severity: str = ERROR) -> Finding:
        """Return a finding at an instruction."""
        insn = self.graph.insns[index]
        return Finding(rule, severity, self.graph.pcs[index], text, fix, insn.source, column_of(insn.where))


def release_of(text: str) -> tuple[int, int]:
    """Return ``5.10`` as numbers that compare. Raises ValueError."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
