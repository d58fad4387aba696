"""What a program refers to by name in the kernel's types: what it is loaded for, and the functions it calls."""

from __future__ import annotations

import os
from errno import EINVAL

from bpfasm.asm.prog_types import target_in_btf
from bpfasm.btf.read import Btf
from bpfasm.errors import KernelError
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.objects import ids
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as u, btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.kfunc import Kfunc
    from bpfasm.asm.ksym import Ksym
    from bpfasm.asm.linker import Assembled
    from bpfasm.asm.program import Program


def attach_fields(program: Program, attach_prog_fd: int, held: list[int]) -> dict[str, int]:
    """Return the fields of BPF_PROG_LOAD for what a program is loaded for.

    The fds that the kernel needs meanwhile are added to ``held``. Raises KernelError, FeatureMissing.
    """
    wanted = program.attach_btf
    fields = {"attach_prog_fd": attach_prog_fd} if attach_prog_fd else {}
    if isinstance(wanted, int):
        return fields | {"attach_btf_id": wanted}
    place, _, name = wanted.rpartition(":")
    name, _, member = name.partition(".") if program.type == u.BPF_PROG_TYPE_STRUCT_OPS else (name, "", "")
    name, kind = target_in_btf(program.type, program.expected_attach_type, name)
    if attach_prog_fd:
        return fields | {"attach_btf_id": _in_program(attach_prog_fd, name)}
    place, id = kernel_btf.find(name, kind, place)
    if place:
        held.append(module_fd(place))
        fields["attach_btf_obj_fd"] = held[-1]
    if member:
        types = kernel_btf.module(place) if place else kernel_btf.vmlinux()
        fields["expected_attach_type"] = _member(types, id, member)
    return fields | {"attach_btf_id": id}


def _in_program(fd: int, name: str) -> int:
    """Return the id of a function in the types of another program."""
    id = ids.info("prog", fd)["btf_id"]
    types = read(id) if id else None
    found = types.find(name, uapi.BTF_KIND_FUNC) if types else []
    if not found:
        raise KernelError(
            EINVAL,
            f"the program to be attached to has no function {name}",
            f"its functions are {', '.join(sorted(types.names(uapi.BTF_KIND_FUNC)))}"
            if types
            else "it was loaded without types (BTF)",
            rule="btf-name",
        )
    return found[0]


def _member(types: Btf, struct: int, name: str) -> int:
    """Return which member of a struct has a name."""
    names = [each.name for each in types.type(struct).members]
    if name not in names:
        raise KernelError(
            EINVAL,
            f"struct {types.type(struct).name} has no member {name} here",
            f"its members are {', '.join(names)}",
            rule="btf-name",
        )
    return names.index(name)


def kfuncs_here(kfuncs: tuple[Kfunc, ...], held: list[int]) -> dict[Kfunc, tuple[int, int]]:
    """Return what kernel functions are to this kernel: the index of their module in the fd array, and their id.

    The fds of modules are added to ``held``: the fd array is 0 for vmlinux, and then these. Raises KernelError.
    """
    found: dict[Kfunc, tuple[int, int]] = {}
    modules: list[str] = []
    for each in kfuncs:
        try:
            place, id = kernel_btf.find(each.name, uapi.BTF_KIND_FUNC, each.module)
        except KernelError:
            if each.weak:
                continue
            raise
        if place and place not in modules:
            modules.append(place)
            held.append(module_fd(place))
        found[each] = (modules.index(place) + 1 if place else 0, id)
    return found


def ksyms_here(assembled: Assembled, held: list[int]) -> dict[Ksym, tuple[int, int, int]]:
    """Return what kernel symbols are to this kernel: the pseudo source, and the two halves of BPF_LD_IMM64.

    Those that are not there are left out. The fds of modules are added to ``held``. Raises KernelError.
    """
    from bpfasm.asm.ksym import ADDRESS, FUNCTION, Ksym
    from bpfasm.syscall.kallsyms import Kallsyms

    found: dict[Ksym, tuple[int, int, int]] = {}
    fds: dict[str, int] = {}
    table = None
    for each in dict.fromkeys(operand for _, operand, _ in assembled.symbols if isinstance(operand, Ksym)):
        if each.kind == ADDRESS:
            table = table or Kallsyms()
            address = table.address(each.name)
            if address:
                found[each] = 0, signed(address), signed(address >> 32)
            continue
        kind = uapi.BTF_KIND_FUNC if each.kind == FUNCTION else uapi.BTF_KIND_VAR
        try:
            place, id = kernel_btf.find(each.name, kind)
        except KernelError:
            if each.weak:
                continue
            raise
        if place and place not in fds:
            fds[place] = module_fd(place)
            held.append(fds[place])
        found[each] = u.BPF_PSEUDO_BTF_ID, id, fds.get(place, 0)
    return found


def signed(number: int) -> int:
    """Return the lower 32 bits of a number as an immediate has them."""
    number &= 0xFFFFFFFF
    return number - (number >> 31 << 32)


def module_fd(name: str) -> int:
    """Return an fd of a module's types. Raises KernelError."""
    try:
        return kernel_btf.module_fd(name)
    except OSError as error:
        raise KernelError(
            error.errno or 0,
            f"the types of the module {name} cannot be opened: {errno_name(error.errno or 0)}",
            "it was unloaded meanwhile, or this process lacks CAP_SYS_ADMIN",
            rule="btf-name",
        ) from None


def read(id: int) -> Btf | None:
    """Return the types of a BTF object by its id, None where it is gone. Raises FeatureMissing, KernelError."""
    fd = ids.open_id("btf", id)
    if fd is None:
        return None
    try:
        return read_fd(fd)
    finally:
        os.close(fd)


def read_fd(fd: int) -> Btf:
    """Return the types of an open BTF object; a module's stand on the kernel's."""
    size = ids.info("btf", fd)["btf_size"]
    room = buffer(size)
    about = ids.info("btf", fd, btf=room, btf_size=size)
    name = ids.btf_name(fd)
    split = about["kernel_btf"] and name != "vmlinux"
    return Btf(room.raw, kernel_btf.vmlinux() if split else None)
