"""Addresses of the kernel's own variables and functions, by name, in BPF_LD_IMM64."""

from __future__ import annotations

from bpfasm.asm.symbols import Symbol
from bpfasm.errors import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn

#: What a symbol is taken for: a variable or a function of the kernel's BTF, or an address without a type.
VARIABLE, FUNCTION, ADDRESS = "variable", "function", "address"


class Ksym(Symbol):
    """A symbol of the kernel: ``kind`` is VARIABLE, FUNCTION or ADDRESS. A ``weak`` one that is not there is 0.

    A variable with a type can be read by loads (of a per-CPU one with bpf_this_cpu_ptr first); an address is a
    number, to be read with a helper. Text has it as ``ksym(weak function weigh)``.
    """

    told = "ksyms"
    wide = True

    name: str
    kind: str = VARIABLE
    weak: bool = False

    @property
    def word(self) -> str:
        """What it is called in messages."""
        return "kernel symbol"

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn:
        """Return the load with the symbol's BTF id and module, or with its address."""
        found = (target.ksyms or {}).get(self)
        if found is None and not self.weak:
            raise LinkError(
                f"the target has no kernel symbol {self.name}",
                "give it in Target.ksyms, or load() the program, which finds it",
                source=insn.source,
                rule="ksym-unknown",
            )
        src_reg, imm, imm2 = found or (0, 0, 0)
        return insn.replace(src_reg=src_reg, imm=imm, imm2=imm2)

    def asked(self, others: Iterable[Symbol]) -> bool:
        """Tell whether the program asks for it: comparing its address with 0 is how."""
        return self.weak

    @property
    def _said(self) -> str:
        """All of it in words, the name last."""
        return " ".join(["weak"] * self.weak + [self.kind] * (self.kind != VARIABLE) + [self.name])

    def __str__(self) -> str:
        return f"ksym({self._said})"

    def __repr__(self) -> str:
        return f'ksym("{self._said}")'
