"""The structs of ELF, for 32 and 64 bits and both byte orders, from the kernel's own ``linux/elf.h``.

>>> layout("sym", 64, "little").size, fields("sym", 32)
(24, ('st_name', 'st_value', 'st_size', 'st_info', 'st_other', 'st_shndx'))
"""

from __future__ import annotations

from struct import Struct

from bpfasm.uapi import elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.isa.insn import ByteOrder

#: What a BPF object's relocations mean (LLVM's lib/Target/BPF, Documentation/bpf/llvm_reloc.rst): the 64 bits that
#: BPF_LD_IMM64 loads, 8 or 4 bytes of data, 4 bytes that only say something to a linker, and a call's immediate.
R_BPF_NONE, R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_ABS32, R_BPF_64_NODYLD32, R_BPF_64_32 = 0, 1, 2, 3, 4, 10

#: Says that the number of a symbol's section does not fit, and is in a section of its own.
SHN_XINDEX = elf.SHN_HIRESERVE

_made: dict[tuple[str, int, str], Struct] = {}


def layout(name: str, bits: int, order: ByteOrder) -> Struct:
    """Return one of the structs: ``hdr``, ``shdr``, ``phdr``, ``sym``, ``rel``, ``rela``, ``note``."""
    key = name, bits, order
    if key not in _made:
        # The members follow each other without holes. A number of bytes is one value.
        text = "".join(format.replace("16B", "16s") for _, _, format in _members(name, bits).values())
        _made[key] = Struct(("<" if order == "little" else ">") + text)
    return _made[key]


def fields(name: str, bits: int) -> tuple[str, ...]:
    """Return what the members of a struct are called, in their order."""
    return tuple(_members(name, bits))


def _members(name: str, bits: int) -> dict[str, tuple[int, int, str]]:
    members: dict[str, tuple[int, int, str]] = getattr(elf, f"struct_elf{bits}_{name}")
    return members
