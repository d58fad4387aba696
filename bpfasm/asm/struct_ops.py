"""``StructOps``: a struct of functions of the kernel's, filled with programs.

>>> from bpfasm.asm import *
>>> ssthresh = Program("ssthresh", BPF_PROG_TYPE_STRUCT_OPS, [
...     BPF_MOV64_IMM(R0, 2),
...     BPF_EXIT_INSN(),
... ], attach_btf="tcp_congestion_ops.ssthresh")
>>> slow = StructOps("slow", "tcp_congestion_ops", {"name": b"slow", "ssthresh": ssthresh})
>>> [each.name for each in slow.programs]
['ssthresh']
"""

from __future__ import annotations

from bpfasm.asm.program import Program
from bpfasm.errors import MapError
from bpfasm.isa.where import outside
from bpfasm.uapi.bpf import BPF_PROG_TYPE_STRUCT_OPS
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StructOps(Value):
    """A struct of the kernel's that holds functions, with programs in their place; attaching it registers it.

    ``struct`` is its name in the kernel's types, ``"module:name"`` for a module's. ``members`` are what it holds, by
    name: a Program of type STRUCT_OPS that is loaded for that very member, or a number or bytes where the kernel
    takes them; the rest is 0. ``name`` is what the kernel calls the map that it is. Raises MapError.
    """

    name: str
    struct: str
    members: dict[str, Any]

    def __post_init__(self) -> None:
        place, _, struct = self.struct.rpartition(":")
        for member, value in self.members.items():
            if not isinstance(value, Program):
                continue
            wanted = (f"{struct}.{member}", f"{place or 'vmlinux'}:{struct}.{member}")
            if value.type != BPF_PROG_TYPE_STRUCT_OPS or value.attach_btf not in wanted:
                raise MapError(
                    f"the program {value.name} is not one for {wanted[0]}",
                    f'declare it so: Program(..., BPF_PROG_TYPE_STRUCT_OPS, ..., attach_btf="{wanted[bool(place)]}")',
                    source=outside(),
                    rule="struct-ops",
                )

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs that it holds."""
        return tuple(each for each in self.members.values() if isinstance(each, Program))

    def __hash__(self) -> int:
        return hash((self.name, self.struct))

    def __str__(self) -> str:
        return f"struct {self.struct}"
