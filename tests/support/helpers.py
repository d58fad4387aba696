"""What the running kernel has, asked by loading programs."""

from bpfasm.asm import *
from bpfasm.errors import VerifierError
from bpfasm.kernel import load


def has_helper(id, **more):
    """Tell whether the kernel knows a helper: called with nothing, it is refused for that, or as unknown."""
    insns = [BPF_EMIT_CALL(id), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
    try:
        load(Program("has", BPF_PROG_TYPE_SCHED_CLS, insns, **more)).close()
    except VerifierError as error:
        return "invalid func" not in error.what and "unknown func" not in error.what
    return True
