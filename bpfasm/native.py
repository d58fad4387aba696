"""Native code as text, by capstone, and what it makes of BPF. The only importer of it."""

from __future__ import annotations

from bpfasm.errors import FeatureMissing
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class NativeInsn(Value):
    """One instruction of this machine: where it is, its bytes, its text.

    ``target`` is the address that it jumps to or calls, 0 where it does neither, or through a register.
    """

    address: int
    code: bytes
    text: str
    target: int = 0


def disassemble(code: bytes, address: int, machine: str) -> Iterator[NativeInsn]:
    """Yield the instructions of native code that stands at an address, in the syntax of objdump.

    ``machine`` is what ``os.uname().machine`` says: x86_64 or aarch64. Bytes that are no instruction are ``.byte``.
    Raises FeatureMissing without capstone, or for another machine.
    """
    reader, jumps = _reader(machine)
    for at, size, mnemonic, operands in reader.disasm_lite(code, address):
        start = at - address
        target = _address(operands) if mnemonic.startswith(jumps) else 0
        yield NativeInsn(at, code[start : start + size], f"{mnemonic} {operands}".rstrip(), target)


def bpf_texts(codes: Iterable[bytes]) -> Iterator[str]:
    """Yield capstone's text of each BPF instruction, given as its 8 or 16 bytes; empty for what it does not decode.

    Raises FeatureMissing without capstone.
    """
    capstone = _capstone()
    reader = capstone.Cs(capstone.CS_ARCH_BPF, capstone.CS_MODE_BPF_EXTENDED | capstone.CS_MODE_LITTLE_ENDIAN)
    for code in codes:
        found = next(reader.disasm_lite(code, 0), None)
        yield f"{found[2]} {found[3]}".rstrip() if found else ""


def version() -> str:
    """Return capstone's version. Raises FeatureMissing without it."""
    return str(_capstone().__version__)


def _address(operands: str) -> int:
    """Return the address that a jump names, its last operand; 0 where it names a register."""
    last = operands.rpartition(",")[2].strip().lstrip("#")
    return int(last, 16) if last.startswith("0x") else 0


def _reader(machine: str) -> tuple[Any, tuple[str, ...]]:
    """Return capstone's disassembler of a machine, and how the names of its jumps and calls start."""
    capstone = _capstone()
    jumps: tuple[str, ...]
    if machine == "x86_64":
        reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        reader.syntax = capstone.CS_OPT_SYNTAX_ATT
        jumps = ("j", "call")
    elif machine in ("aarch64", "arm64"):
        # Its name changed with capstone 6.
        arch = getattr(capstone, "CS_ARCH_AARCH64", None) or capstone.CS_ARCH_ARM64
        reader = capstone.Cs(arch, capstone.CS_MODE_ARM)
        jumps = ("b", "cb", "tb")
    else:
        raise FeatureMissing(
            f"native code of {machine} is not known here",
            "x86_64 and aarch64 are; `bpfasm prog dump jited ... file F` writes the bytes",
            rule="no-capstone",
        )
    reader.skipdata = True
    return reader, jumps


def _capstone() -> Any:
    try:
        import capstone
    except ImportError:
        raise FeatureMissing(
            "native code is shown by capstone, which is not installed", "pip install capstone", rule="no-capstone"
        ) from None
    return capstone
