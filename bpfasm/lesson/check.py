"""How an exercise is judged: is it a program, does the verifier take it, does it do its task."""

from __future__ import annotations

from bpfasm.asm import link
from bpfasm.errors import VerifierError
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm import Program
    from bpfasm.lesson.model import Lesson

#: An Ethernet frame's worth of zeros: what a program is run on. Shorter ones are refused by the kernel.
PACKET = bytes(64)


class Step(Value):
    """One thing that was checked: whether it holds, what it is, and what to know where it does not."""

    ok: bool
    what: str
    more: str = ""


def check(lesson: Lesson, program: Program) -> Iterator[Step]:
    """Judge a program by this kernel; stops at the first step that fails."""
    from bpfasm.kernel import load

    code = link(program).code
    yield Step(True, f"it is a program of {len(code)} bytes")
    try:
        with load(program) as loaded:
            yield Step(True, "the verifier accepts it")
            returned = loaded[program].test_run(PACKET).retval
    except VerifierError as error:
        yield Step(
            False, "the verifier refuses it", f"{error.report().splitlines()[0]}\n\nIts log:\n{_indent(error.log)}"
        )
        return
    yield Step(returned == lesson.returns, f"it returns {returned}", f"it should return {lesson.returns}")


def compare(program: Program, solution: Program) -> Step:
    """Judge a program where there is no kernel to ask: by the solution's instructions."""
    same = link(program).code == link(solution).code
    return Step(
        same,
        "the instructions are those of the solution" if same else "the instructions are not those of the solution",
        "other instructions may do as well: only a kernel can tell",
    )


def _indent(log: str) -> str:
    return "\n".join(f"  {line}" for line in log.strip().splitlines())
