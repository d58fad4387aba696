"""Mistakes in a program, found before any kernel is asked.

>>> from bpfasm.asm import *
>>> prog = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [
...     BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
...     BPF_MOV64_REG(R0, R1),
...     BPF_EXIT_INSN(),
... ])
>>> for finding in lint(prog):
...     print(finding.pc, finding.rule, finding.text)
1 clobbered R1 is read after the call at slot 0: the call leaves nothing in R1

Each rule is a row and a small function. Lint is silent about programs that kernels accept: what it says of a path it
says of one that some input takes, and which the verifier has to go along as well.
"""

from __future__ import annotations

from bpfasm.asm.flow import flow
from bpfasm.asm.lint import paths, shape
from bpfasm.asm.lint.finding import Asked, Finding, release_of
from bpfasm.asm.lint.walk import Walk
from bpfasm.asm.linker import assemble
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.lint.state import State
    from bpfasm.asm.program import Program


class Rule(Value):
    """A rule: its ids, what it finds, and the function that looks, at the shape of a program or along its paths."""

    ids: tuple[str, ...]
    check: Callable[..., object]

    @property
    def what(self) -> str:
        """What it finds, in a sentence."""
        return (self.check.__doc__ or "").removeprefix("Find ")


SHAPE = (
    Rule(("no-instructions",), shape.no_instructions),
    Rule(("no-opcode",), shape.no_opcode),
    Rule(("reserved-field",), shape.reserved_field),
    Rule(("no-register",), shape.no_register),
    Rule(("kernel-form",), shape.kernel_form),
    Rule(("frame-pointer",), shape.frame_pointer),
    Rule(("zero-divisor", "shift-range"), shape.bad_constant),
    Rule(("jump-outside", "jump-inside", "jump-across"), shape.leads_nowhere),
    Rule(("no-exit",), shape.falls_off),
    Rule(("unreachable",), shape.unreachable),
    Rule(("endless-loop",), shape.endless),
    Rule(("recursion",), shape.recursion),
    Rule(("no-helper",), shape.no_helper),
    Rule(("gpl-only",), shape.gpl_only),
    Rule(("too-new",), shape.too_new),
    Rule(("above-isa",), shape.above_isa),
)

PATHS = (
    Rule(("unwritten",), paths.unwritten),
    Rule(("clobbered",), paths.clobbered),
    Rule(("no-result",), paths.no_result),
    Rule(("stack-range", "stack-align", "stack-unwritten"), paths.stack),
    Rule(("stack-unwritten",), paths.stack_lent),
    Rule(("no-null-check",), paths.no_null_check),
    Rule(("not-a-pointer",), paths.not_a_pointer),
    Rule(("packet-check",), paths.packet_check),
    Rule(("released",), paths.released),
    Rule(("unreleased",), paths.unreleased),
)

#: The ids of all rules, each once.
RULES = tuple(dict.fromkeys(id for rule in (*SHAPE, *PATHS) for id in rule.ids))


def lint(program: Program, *, kernel: str | None = None, isa: str | None = None) -> tuple[Finding, ...]:
    """Return what is wrong with a program, in its order.

    ``kernel`` is the oldest that it is to run on, such as "5.10", ``isa`` LLVM's level, "v1" to "v4": what is younger
    is found too. Raises LabelError and LinkError where it cannot be assembled.
    """
    graph = flow(assemble(program))
    asked = Asked(program, graph, release_of(kernel) if kernel else None, int(isa[1:]) if isa else None)
    found: dict[tuple[int, str], Finding] = {}

    def keep(findings: object) -> None:
        for finding in findings:  # type: ignore[attr-defined]
            found.setdefault((finding.pc, finding.rule), finding)

    for rule in SHAPE:
        keep(rule.check(asked))

    def watch(state: State, index: int) -> None:
        for rule in PATHS:
            keep(rule.check(asked, state, index))

    Walk(graph, program.type, [watch]).run()
    return tuple(sorted(found.values(), key=lambda finding: finding.pc))
