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
from bpfasm.asm.linker import assemble
from bpfasm.asm.lint import paths, shape
from bpfasm.asm.lint.finding import Asked, Finding, release_of
from bpfasm.asm.lint.values import UNREADABLE
from bpfasm.asm.lint.walk import Walk
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.lint.state import State
    from bpfasm.asm.program import Program


class Rule(Value):
    """A rule: its ids, what it finds, and the function that looks, at the shape of a program or along its paths.

    ``met``: it counts only where some path comes to; what cannot run, the verifier does not look at so closely.
    ``kinds`` are those of the forms that a rule about paths looks at; one without them is about what registers hold
    that are read.
    """

    ids: tuple[str, ...]
    check: Callable[..., object]
    met: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it finds, in a sentence."""
        return (self.check.__doc__ or "").removeprefix("Find ")


SHAPE = (
    Rule(("no-instructions",), shape.no_instructions),
    Rule(("no-opcode",), shape.no_opcode),
    Rule(("reserved-field",), shape.reserved_field, met=True),
    Rule(("no-register",), shape.no_register, met=True),
    Rule(("kernel-form",), shape.kernel_form, met=True),
    Rule(("frame-pointer",), shape.frame_pointer, met=True),
    Rule(("zero-divisor", "shift-range"), shape.bad_constant, met=True),
    Rule(("jump-outside", "jump-inside", "jump-across"), shape.leads_nowhere),
    Rule(("no-exit",), shape.falls_off),
    Rule(("unreachable",), shape.unreachable),
    Rule(("endless-loop",), shape.endless, met=True),
    Rule(("recursion",), shape.recursion),
    Rule(("no-helper",), shape.no_helper, met=True),
    Rule(("gpl-only",), shape.gpl_only, met=True),
    Rule(("too-new",), shape.too_new),
    Rule(("above-isa",), shape.above_isa),
)

_ACCESS = ("load", "store", "atomic")

PATHS = (
    Rule(("unwritten",), paths.unwritten),
    Rule(("clobbered",), paths.clobbered),
    Rule(("no-result",), paths.no_result, kinds=("exit",)),
    Rule(("stack-range", "stack-align", "stack-unwritten"), paths.stack, kinds=_ACCESS),
    Rule(("stack-unwritten",), paths.stack_lent, kinds=("call",)),
    Rule(("no-null-check",), paths.no_null_check, kinds=(*_ACCESS, "alu", "call")),
    Rule(("not-a-pointer",), paths.not_a_pointer, kinds=_ACCESS),
    Rule(("packet-check",), paths.packet_check, kinds=_ACCESS),
    Rule(("released",), paths.released, kinds=(*_ACCESS, "call")),
    Rule(("unreleased",), paths.unreleased, kinds=("exit",)),
)

_OF_READING = tuple(rule for rule in PATHS if not rule.kinds)

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

    plans: dict[int, tuple[tuple[int, ...], tuple[Rule, ...]]] = {}

    def watch(state: State, index: int) -> None:
        plan = plans.get(index)
        if plan is None:
            form = graph.forms[index]
            rules = tuple(rule for rule in PATHS if form is not None and form.kind in rule.kinds)
            plan = plans[index] = paths.reads(asked, index), rules
        read, rules = plan
        for register in read:
            if state.regs[register][0] in UNREADABLE:
                rules = _OF_READING + rules
                break
        for rule in rules:
            keep(rule.check(asked, state, index))

    walk = Walk(graph, program.type, [watch])
    walk.run()
    for rule in SHAPE:
        keep(
            finding
            for finding in rule.check(asked)  # type: ignore[attr-defined]
            if not rule.met or walk.met[graph.index(finding.pc) or 0]
        )
    return tuple(sorted(found.values(), key=lambda finding: finding.pc))
