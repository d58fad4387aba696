"""What a row of the instruction table holds.

A row is a ``Form``: one concrete form of instruction and everything that is known about it. Its templates name
operands by role, in braces. A role is one field (``imm64``: two), seen in one way:

==============  ===============  ==================================================================
role            field            is
==============  ===============  ==================================================================
``dst src``     dst_reg src_reg  registers
``off``         off              a byte offset to a base register
``jump``        off              a jump's distance in slots, from the next instruction
``jump32``      imm              the same, 32 bits wide
``callee``      imm              the distance to a subprogram in this program
``func``        imm              the distance to a subprogram whose address is taken
``imm cmp``     imm              a number; ``cmp`` is printed unsigned and in hex
``cast``        imm              the two address spaces of a cast, destination << 16 | source
``imm64``       imm and imm2     a 64-bit number
``map``         imm              a map's fd
``map_idx``     imm              an index into the fd array given at load
``value_off``   imm2             a byte offset into a map's value
``btf_id``      imm              a BTF type id; ``btf_fd`` (imm2) is its module's BTF
``helper``      imm              a helper's id
``kfunc``       imm              a kernel function's BTF id; ``module`` (off) indexes the fd array
==============  ===============  ==================================================================
"""

from __future__ import annotations

from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The fields each role stands for.
ROLES = {
    "dst": ("dst_reg",),
    "src": ("src_reg",),
    "off": ("off",),
    "jump": ("off",),
    "jump32": ("imm",),
    "callee": ("imm",),
    "func": ("imm",),
    "imm": ("imm",),
    "cmp": ("imm",),
    "cast": ("imm",),
    "imm64": ("imm", "imm2"),
    "map": ("imm",),
    "map_idx": ("imm",),
    "value_off": ("imm2",),
    "btf_id": ("imm",),
    "btf_fd": ("imm2",),
    "helper": ("imm",),
    "kfunc": ("imm",),
    "module": ("off",),
}


class Form(Value):
    """One concrete form of instruction."""

    #: A stable id: ``add64_imm``, ``atomic32_fetch_or``.
    name: str
    #: What it does with its meaning: alu, jump, load, store, atomic, packet, ld_imm64, call, goto, exit, barrier.
    kind: str
    code: int
    #: The text of kernel/bpf/disasm.c, without the ``(b7) `` in front.
    kernel: str
    #: The macro call that makes it.
    macro: str
    #: LLVM's text, and that of uBPF and bpf_conformance; empty where they have none.
    llvm: str
    ubpf: str
    #: The value computed, in the words of bpfasm.isa.meaning: for alu the new destination, for jump whether it is
    #: taken, for store what is stored, for atomic the memory's new content. Empty where there is nothing to compute.
    meaning: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    #: Bytes of memory it touches, 0 for none.
    size: int
    #: LLVM's -mcpu level, v1 to v4, or empty where LLVM's levels do not have it.
    isa: str
    #: The first kernel release that takes it.
    since: str
    #: The conformance group of RFC 9669, or empty.
    group: str
    #: ``source`` forms can be loaded; ``xlated`` forms are made by the kernel and seen in its dumps.
    dialect: str
    #: Fields that must hold one value for this to be the form, by field name.
    fixed: dict[str, Any]
    #: Roles in the macro's order.
    operands: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of 8-byte slots: 1 or 2."""
        return 1 if self.fixed["off2"] is None else 2


def _roles(template: str) -> tuple[str, ...]:
    """Return the roles a template names, each once, in its order."""
    found = (part.split("}")[0] for part in template.split("{")[1:])
    return tuple(dict.fromkeys(found))


def form(
    name: str,
    kind: str,
    code: int,
    kernel: str,
    macro: str,
    meaning: str = "",
    *,
    llvm: str | None = None,
    ubpf: str = "",
    reads: str = "",
    writes: str = "",
    size: int = 0,
    isa: str = "v1",
    since: str = "3.18",
    group: str = "",
    dialect: str = "source",
    width: int = 1,
    **fixed: Any,
) -> Form:
    """Make a row. ``fixed`` are fields that must hold a value; those that are no operand and not given must be 0.

    LLVM's text is the kernel's where it is not given, and none for what only the kernel writes.
    """
    operands = _roles(macro)
    free = {field for role in operands for field in ROLES[role]}
    second = 0 if width == 2 else None
    rest = {"dst_reg": 0, "src_reg": 0, "off": 0, "imm": 0, "off2": second, "imm2": second, **fixed}
    return Form(
        name=name,
        kind=kind,
        code=int(code),
        kernel=kernel,
        macro=macro,
        llvm=(kernel if dialect == "source" else "") if llvm is None else llvm,
        ubpf=ubpf,
        meaning=meaning,
        reads=tuple(reads.split()),
        writes=tuple(writes.split()),
        size=size,
        isa=isa,
        since=since,
        group=group,
        dialect=dialect,
        fixed={
            field: int(value) if isinstance(value, int) else value
            for field, value in rest.items()
            if field not in free
        },
        operands=operands,
    )
