"""Kernel functions that programs may call, by name: their numbers differ from kernel to kernel."""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import outside
from bpfasm.value import Value


class Kfunc(Value):
    """A function of the kernel, or of one of its ``module``s where that is named; without, all are searched."""

    name: str
    module: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise OperandError(
                f"kfunc({self.name!r}): that is no name of a C function",
                'write kfunc("bpf_rcu_read_lock")',
                source=outside(),
                rule="kfunc-name",
            )

    def __repr__(self) -> str:
        return f"<kfunc {self.name}>"


def kfunc(name: str, module: str = "") -> Kfunc:
    """Name a kernel function for ``BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock"))``; ``load()`` finds its number."""
    return Kfunc(name, module)
