"""What names and numbers of C mean: those of a file, then those of the notation and of the headers of the kernel.

Integers are as wide as on a 64-bit machine. An operation or a register keeps its kind, so that a macro can say
what is wrong with it.
"""

from __future__ import annotations

from bpfasm.asm.syntax.c.layout import of_header
from bpfasm.asm.syntax.c.names import NUMBERS, OF_MACHINE, PREDEFINED
from bpfasm.errors import BpfasmError
from bpfasm.isa.operands import Named, Reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.syntax.c.layout import Type
    from bpfasm.asm.syntax.c.tokens import Token


class Value:
    """A value of C: a number with its width and signedness, and the thing of ours that it is a name of."""

    __slots__ = ("bits", "thing", "unsigned", "value")

    def __init__(self, value: int, bits: int = 32, unsigned: bool = False, thing: Any = None) -> None:
        mask = (1 << bits) - 1
        value &= mask
        if not unsigned and value >> (bits - 1):
            value -= 1 << bits
        self.value, self.bits, self.unsigned, self.thing = value, bits, unsigned, thing


def of(thing: Any) -> Value:
    """Return something of ours as a value of C: a number, a register, an operation."""
    if isinstance(thing, Reg):
        return Value(thing.number, thing=thing)
    number = int(thing)
    if -(1 << 31) <= number < 1 << 31:
        return Value(number, thing=thing if isinstance(thing, Named) else None)
    if number < 1 << 32 and number > 0:
        return Value(number, 32, True)
    return Value(number, 64, number >= 1 << 63)


class Symbol(Exception):
    """A name that no number is known for."""

    def __init__(self, token: Token) -> None:
        super().__init__(token.text)
        self.token = token


_HEADERS = (
    *("bpf", "bpf_common", "filter", "if_ether", "in_", "pkt_cls", "unistd", "perf_event", "if_link", "ptrace"),
    *("seccomp", "audit", "errno_base", "errno", "ip", "ipv6", "tcp", "udp", "netfilter"),
)
#: The struct of a kprobe's registers, by machine: ``bpf_user_pt_regs_t``.
_REGISTERS = {"x86_64": "pt_regs", "aarch64": "user_pt_regs"}


class Scope:
    """What names mean: those of a file, then those of the notation and the headers."""

    def __init__(self, machine: str = "x86_64") -> None:
        self.machine = machine
        self.constants: dict[str, Any] = {}
        self.structs: dict[str, Type] = {}
        self.typedefs: dict[str, Type] = {}
        self.variables: dict[str, Type] = {}
        #: Where an array that does not say its length begins, among the tokens.
        self.initials: dict[str, int] = {}
        self._looked_up: dict[str, Any] = {}

    def constant(self, name: str) -> Any:
        """Return what a name is, or None. Raises what kept its value from being known."""
        if name in self.constants:
            found = self.constants[name]
            if isinstance(found, BpfasmError):
                raise found
            return found
        if name not in self._looked_up:
            self._looked_up[name] = self._of_a_header(name)
        return self._looked_up[name]

    def _of_a_header(self, name: str) -> Any:
        import bpfasm.asm

        found = getattr(bpfasm.asm, name, None) if name[0].isupper() else None
        if isinstance(found, int | Reg):
            return found
        from importlib import import_module

        # What has no capital is no constant of a header, but a variable or a map.
        for header in () if name.islower() else _HEADERS:
            found = getattr(import_module(f"bpfasm.uapi.{header}"), name, None)
            if isinstance(found, int):
                return found
        found = NUMBERS.get(name)
        return self.predefined(name) if found is None else found

    def predefined(self, name: str) -> int | None:
        """Return the number of a macro that the compiler has, unistd.h or version.h; None where it is not defined."""
        if name.startswith("__NR_"):
            from bpfasm.uapi.unistd_all import all_syscalls

            return all_syscalls.get(self.machine, all_syscalls["generic"]).get(name)
        if name == "LINUX_VERSION_CODE":
            from bpfasm.uapi import version

            return version.LINUX_VERSION_CODE
        return 1 if name in OF_MACHINE.get(self.machine, ()) else PREDEFINED.get(name)

    def struct(self, name: str) -> Type | None:
        """Return a struct by its tag."""
        if name in self.structs:
            return self.structs[name]
        if name == _REGISTERS.get(self.machine):
            from bpfasm.uapi import ptrace

            size = ptrace.sizeof_bpf_user_pt_regs_t[self.machine]
            return of_header(size, ptrace.bpf_user_pt_regs_t[self.machine], name)
        from importlib import import_module

        for header in _HEADERS:
            module = import_module(f"bpfasm.uapi.{header}")
            layout = getattr(module, f"struct_{name}", None)
            if layout is not None:
                size = getattr(module, f"sizeof_struct_{name}")
                found = self.structs[name] = of_header(size, layout, name)
                return found
        return None
