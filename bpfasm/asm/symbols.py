"""Symbolic operands: what may stand in a slot until ``link()`` turns it into a number.

Each stands in the very slot of the instruction that the kernel uses for it: a label in a jump's offset, a subprogram
in a call's immediate, a kernel function (``bpfasm.asm.kfunc``) there too, a map (``bpfasm.asm.maps``) or a
variable (``bpfasm.asm.variables``) in the immediate of BPF_LD_IMM64.
"""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import here, source_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.errors import Source
    from bpfasm.isa.where import Where


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
