"""Symbolic operands: what may stand in a slot until ``link()`` turns it into a number.

Each stands in the very slot of the instruction that the kernel uses for it: a label in a jump's offset, a subprogram
in a call's immediate, a kernel function (``bpfasm.asm.kfunc``) there too, a map (``bpfasm.asm.maps``) or a
variable (``bpfasm.asm.variables``) in the immediate of BPF_LD_IMM64, a field of a struct (``bpfasm.asm.fields``) in
an offset. Labels and subprograms are within a program; the others are a ``Symbol``, which a target knows.
"""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import here, source_of
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar

    from bpfasm.asm.linker import Target
    from bpfasm.errors import Source
    from bpfasm.isa.insn import Insn
    from bpfasm.isa.where import Where


class Symbol(Value):
    """An operand whose number only a target knows. Each kind knows how to find it, and what goes wrong.

    ``told`` is the field of Target that says its number: where that is None, the operand is left as 0 and stands in
    ``Linked.unresolved``. ``slots`` are the fields of an instruction that it may stand in. Where one name must not
    mean two things, ``twice`` is the rule that says so. A ``numeric`` one may stand wherever a macro takes a number,
    a ``wide`` one where it takes 64 bits.
    """

    told: ClassVar[str] = ""
    slots: ClassVar[tuple[str, ...]] = ("imm",)
    twice: ClassVar[str] = ""
    numeric: ClassVar[bool] = False
    wide: ClassVar[bool] = False

    @property
    def word(self) -> str:
        """What such an operand is called in messages and documents."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Its name."""
        return str(self.__dict__["name"])

    @property
    def untold(self) -> int:
        """What stands in its place where the target does not say."""
        return 0

    def check(self, insn: Insn) -> None:
        """Check the instruction that it stands in, when the program is laid out. Raises LinkError."""

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn | None:
        """Return the instruction with the number that this has in a target.

        Where there is none, that is a LinkError, or None where the program may do without.
        """
        raise NotImplementedError

    def asked(self, others: Iterable[Symbol]) -> bool:
        """Tell whether a program asks for it itself, among its other operands, and so can do without."""
        return False

    def missing(self, insn: Insn, target: Target) -> Exception:
        """Return the error for a program that cannot do without."""
        raise NotImplementedError


class Label:
    """A place in a body that only its holder can name: two ``Label("x")`` are two places.

    Snippets use these, so that a snippet expanded twice does not define its label twice. Elsewhere a plain string
    does.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Label({self.name!r})"


class Mark:
    """Where a label is: an item of a body that takes no slot. Made by :func:`label`."""

    __slots__ = ("label", "where")

    def __init__(self, label: str | Label, where: Where | None = None) -> None:
        self.label = label
        self.where = where

    @property
    def source(self) -> Source | None:
        """The file and line that defines the label."""
        return source_of(self.where)

    def __repr__(self) -> str:
        return f"label({self.label!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mark) and self.label == other.label

    def __hash__(self) -> int:
        return hash(self.label)


def label(name: str | Label) -> Mark:
    """Define a label at this place of a body; jumps of the same body refer to it in their offset slot."""
    where = here()
    if not isinstance(name, str | Label) or name == "":
        raise OperandError(
            f"label({name!r}): a label's name is a string",
            'write label("out") where the label is, and "out" in the offset slot of the jump',
            source=source_of(where),
            rule="label-name",
        )
    return Mark(name, where)


def label_text(target: str | Label) -> str:
    """Return a label as messages show it."""
    return f'"{target}"' if isinstance(target, str) else f'"{target.name}"'
