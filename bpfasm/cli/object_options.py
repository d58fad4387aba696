"""How an INPUT becomes an object file, for the verbs that write one."""

from __future__ import annotations

import sys

from bpfasm.asm.linker import assemble
from bpfasm.btf.read import Btf
from bpfasm.elf.object_write import write_object
from bpfasm.elf.read import Elf
from bpfasm.errors import DecodeError, FeatureMissing, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from bpfasm.asm.program import Program
    from bpfasm.asm.struct_ops import StructOps
    from bpfasm.cli.options import Parser
    from bpfasm.inputs import Input

#: What a target says of operands that are described by a kernel's types.
_OF_A_KERNEL = ("btf", "kfuncs", "ksyms")


def add_options(parser: Parser) -> None:
    """Add the options of writing an object."""
    group = parser.add_argument_group("objects")
    group.add_argument(
        "--btf",
        action="append",
        default=[],
        metavar="FILE",
        help="types of a kernel, for the fields and kernel functions that programs name (default: this kernel's)",
    )
    group.add_argument(
        "--byteorder", choices=("little", "big"), help="that of the machine it is for (default: this one's)"
    )
    group.add_argument(
        "--leave-initial", action="store_true", help="leave to the loader what maps are to hold from the start"
    )


def written(given: Input, args: Namespace) -> bytes:
    """Return the bytes of an object with all programs and structs of functions of an INPUT."""
    programs = given.whole()
    types = [_types(path) for path in args.btf]
    symbols = (operand for each in programs for _, operand, _ in assemble(each).symbols)
    if not types and (given.structs or any(operand.told in _OF_A_KERNEL for operand in symbols)):
        types = _types_here()
    items: tuple[Program | StructOps, ...] = (*programs, *given.structs)
    byteorder = args.byteorder or sys.byteorder
    return write_object(*items, types=types, byteorder=byteorder, leave_initial=args.leave_initial)


def _types(path: str) -> Btf:
    """Return the types in a file: BTF as in /sys/kernel/btf, or an ELF file that has a section of it."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", "--btf names a file such as /sys/kernel/btf/vmlinux", rule="input-file"
        ) from None
    if data[:4] == b"\x7fELF":
        elf = Elf(data, path)
        section = elf.section(".BTF")
        if section is None:
            raise DecodeError(f"{path} has no section .BTF", "give a vmlinux or an object with types", rule="btf")
        data = elf.contents(section)
    return Btf(data)


def _types_here() -> list[Btf]:
    """Return the running kernel's types, where it shows some."""
    from bpfasm.kernel.btf import kernel as kernel_btf

    try:
        return [kernel_btf.vmlinux()]
    except (FeatureMissing, DecodeError):
        return []
