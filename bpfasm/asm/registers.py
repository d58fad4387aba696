"""Where a processor keeps what a program on a probe asks for: arguments, results, its place. One table a processor.

The context of a kprobe or uprobe is the registers (``struct pt_regs``, as programs see it ``bpf_user_pt_regs_t``);
which of them holds the first argument differs by machine, so that is an operand that ``link()`` looks up.
"""

from __future__ import annotations

from bpfasm.asm.symbols import Symbol
from bpfasm.errors import LinkError, OperandError
from bpfasm.isa.where import outside
from bpfasm.uapi.ptrace import bpf_user_pt_regs_t
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn


class Arch(Value):
    """The registers by what they hold: arguments of C functions, and of system calls; results; pc and stack pointer.

    ``syscall_args`` are those in the registers that a system call was made with, ``syscall`` is its number there. A
    name may be followed by an index, ``regs[3]``.
    """

    args: tuple[str, ...]
    syscall_args: tuple[str, ...]
    ret: str
    ip: str
    sp: str
    syscall: str


def _regs(count: int) -> tuple[str, ...]:
    return tuple(f"regs[{number}]" for number in range(count))


#: By the machine, as ``os.uname()`` has it. (System V ABI, AMD64 supplement 3.2.3 and A.2.1; AAPCS64 6.8.2;
#: arch/arm64/include/asm/syscall.h)
ARCHS = {
    "x86_64": Arch(
        args=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
        syscall_args=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
        ret="rax",
        ip="rip",
        sp="rsp",
        syscall="orig_rax",
    ),
    "aarch64": Arch(args=_regs(8), syscall_args=_regs(6), ret="regs[0]", ip="pc", sp="sp", syscall="regs[8]"),
}

_BYTES = 8


class Register(Symbol):
    """The offset of a register in the context: ``what`` it holds (a field of Arch), and an argument's ``index``."""

    told = "arch"
    slots = ("off", "imm")
    numeric = True
    word = "register"

    what: str
    index: int = 0

    def __post_init__(self) -> None:
        if self.what not in Arch._fields:
            raise OperandError(
                f"register(): a register holds no {self.what!r}",
                f"it holds one of {', '.join(Arch._fields)}",
                source=outside(),
                rule="register-argument",
            )
        most = max(len(arch.args) for arch in ARCHS.values()) if self.what.endswith("args") else 1
        if not isinstance(self.index, int) or not 0 <= self.index < most:
            raise OperandError(
                f"there is no argument {self.index!r} in a register",
                f"arguments are counted from 0, and {most} of them are in registers at most",
                source=outside(),
                rule="register-argument",
            )

    @property
    def title(self) -> str:
        """What it holds."""
        return f"{self.what}[{self.index}]" if self.what.endswith("args") else self.what

    def offset(self, machine: str) -> int | None:
        """Return where it is on a machine, None where it has no such register. Raises KeyError for the machine."""
        held: str | tuple[str, ...] = ARCHS[machine].__dict__[self.what]
        if isinstance(held, tuple):
            if self.index >= len(held):
                return None
            held = held[self.index]
        name, _, index = held.partition("[")
        return bpf_user_pt_regs_t[machine][name][0] + _BYTES * int(index.rstrip("]") or 0)

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn:
        """Return the instruction with the offset. Raises LinkError."""
        what, do = "", ""
        if target.arch not in ARCHS:
            what = f"where {target.arch} keeps {self.title} is not known"
            do = f"it is known of {' and '.join(ARCHS)}: bpfasm.asm.registers has a table"
        else:
            number = self.offset(target.arch)
            if number is not None:
                return insn.replace(**{slot: number})
            count = len(ARCHS[target.arch].__dict__[self.what])
            what = f"on {target.arch} only the first {count} arguments are in registers, and {self.title} is not"
            do = "it is on the stack: read it from where the stack pointer is, with bpf_probe_read_kernel()"
        raise LinkError(what, do, source=insn.source, rule="register-argument")

    def __str__(self) -> str:
        return f"register({self.title})"

    def __repr__(self) -> str:
        index = f", {self.index}" if self.what.endswith("args") else ""
        return f'register("{self.what}"{index})'


def register(what: str, index: int = 0) -> Any:
    """Name a register of the context by what it holds, where a macro takes an offset: ``register("args", 0)``.

    ``what`` is a field of :class:`Arch`: args, syscall_args, ret, ip, sp, syscall. ``func_arg()`` and its kin are
    made with it.
    """
    return Register(what, index)
