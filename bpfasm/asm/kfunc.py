"""Kernel functions that programs may call, by name: their numbers differ from kernel to kernel."""

from __future__ import annotations

from bpfasm.asm.symbols import Symbol
from bpfasm.errors import LinkError, OperandError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn


class Kfunc(Symbol):
    """A function of the kernel, or of one of its ``module``s where that is named; without, all are searched.

    A program can go without a ``weak`` one, where it does not get to the call.
    """

    word = "kernel function"
    told = "kfuncs"

    name: str
    module: str = ""
    weak: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise OperandError(
                f"kfunc({self.name!r}): that is no name of a C function",
                'write kfunc("bpf_rcu_read_lock")',
                source=outside(),
                rule="kfunc-name",
            )

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn | None:
        """Return the call with the function's BTF id and its module's index; None for a weak one that is missing."""
        try:
            off, imm = (target.kfuncs or {})[self]
        except KeyError:
            if self.weak:
                return None
            raise LinkError(
                f"the target has no kernel function {self.name}",
                "give its number in Target.kfuncs, or load() the program, which finds it",
                source=insn.source,
                rule="kfunc-unknown",
            ) from None
        return insn.replace(off=off, imm=imm)

    def missing(self, insn: Insn, target: Target) -> LinkError:
        """Return the error for a call that is reached all the same."""
        return LinkError(
            f"the target has no kernel function {self.name}",
            "ask for it before the call, if (bpf_ksym_exists(...)), or run it on a kernel that has it",
            source=insn.source,
            rule="kfunc-unknown",
        )

    def asked(self, others: Iterable[Symbol]) -> bool:
        """Tell whether the program can do without, as the verifier will see."""
        return self.weak

    def __repr__(self) -> str:
        module = f', "{self.module}"' if self.module else ""
        return f'kfunc("{self.name}"{module})'


def kfunc(name: str, module: str = "") -> Kfunc:
    """Name a kernel function for ``BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock"))``; ``load()`` finds its number."""
    return Kfunc(name, module)
