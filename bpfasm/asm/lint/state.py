"""What is known at a point of a path: registers, stack, ranges of free numbers, what has to be given back."""

from __future__ import annotations

from bpfasm.asm.lint.values import OTHER, U64, UNWRITTEN, num
from bpfasm.isa.filter_h import MAX_BPF_STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.lint.values import Held

#: A register or a spilled slot: 0 to 10, or -8 ... -512.
_WHOLE = (1 << MAX_BPF_STACK) - 1


def bytes_at(off: int, size: int) -> int:
    """Return the bytes of the stack from R10 + off as a bit mask: bit 0 is the lowest byte there is."""
    return ((1 << size) - 1) << (off + MAX_BPF_STACK)


class State:
    """A point of a path. ``written`` and ``lent`` are masks of stack bytes; ``refs`` are pcs of acquiring calls."""

    __slots__ = ("checked", "lent", "next_id", "ranges", "refs", "regs", "spilled", "trail", "written")

    def __init__(self, regs: list[Held]) -> None:
        self.regs = regs
        self.spilled: dict[int, Held] = {}
        self.written = 0
        self.lent = 0
        self.ranges: dict[int, tuple[int, int]] = {}
        self.next_id = 0
        self.refs: dict[int, str] = {}
        self.checked = False
        self.trail: tuple[int, bool, object] | None = None

    def copy(self) -> State:
        """Return a state that goes its own way."""
        other = State.__new__(State)
        other.regs = self.regs[:]
        other.spilled = self.spilled.copy()
        other.written, other.lent = self.written, self.lent
        other.ranges, other.next_id = self.ranges.copy(), self.next_id
        other.refs, other.checked, other.trail = self.refs.copy(), self.checked, self.trail
        return other

    def key(self) -> tuple[object, ...]:
        """Return what makes it worth going on from a place where another path has been."""
        regs = tuple(held if held[0] in ("num", "fp") else held[0] for held in self.regs)
        spilled = tuple((off, held[0]) for off, held in sorted(self.spilled.items()))
        return regs, spilled, self.written, tuple(self.refs), self.checked

    # values

    def free(self, low: int = 0, high: int = U64) -> Held:
        """Return a new number that an input decides."""
        self.next_id += 1
        self.ranges[self.next_id] = (low, high)
        return ("free", self.next_id)

    def holders(self, id: int) -> int:
        """Return how many registers and slots hold a free number or a pointer with that id."""
        held = (*self.regs, *self.spilled.values())
        return sum(len(each) > 1 and each[1] == id and each[0] in ("free", "maybe") for each in held)

    def replace(self, match: Callable[[Held], bool], by: Held) -> None:
        """Put another value in every place that holds one that matches."""
        self.regs[:] = [by if match(held) else held for held in self.regs]
        self.spilled = {off: by if match(held) else held for off, held in self.spilled.items()}

    def narrow(self, id: int, low: int, high: int) -> None:
        """Say that a free number is in a range; one of a single number is that number."""
        if low == high:
            self.replace(lambda held: held[:2] == ("free", id), num(low))
        else:
            self.ranges[id] = (low, high)

    def one_of(self, held: Held) -> Held:
        """Return a number in place of a free one: the lowest, here and wherever else it is held."""
        if held[0] != "free":
            return held
        low, _ = self.ranges[held[1]]
        self.narrow(held[1], low, low)
        return num(low)

    # the stack

    def write(self, off: int, size: int, held: Held | None = None) -> None:
        """Write bytes of the stack; ``held`` is a value of 8 bytes that can be read back."""
        end = off + size
        self.spilled = {at: each for at, each in self.spilled.items() if at + 8 <= off or at >= end}
        mask = bytes_at(off, size)
        self.written |= mask
        self.lent &= ~mask
        if held is not None and size == 8 and off % 8 == 0:
            self.spilled[off] = held

    def lend(self, off: int | None) -> None:
        """Let somebody read and write from R10 + off upwards, or anywhere."""
        first = -MAX_BPF_STACK if off is None else max(off, -MAX_BPF_STACK)
        if first >= 0:
            return
        self.spilled = {at: _lent(held) if at + 8 > first else held for at, held in self.spilled.items()}
        mask = _WHOLE & ~((1 << (first + MAX_BPF_STACK)) - 1)
        self.lent |= mask & ~self.written
        self.written |= mask

    def read(self, off: int, size: int) -> Held:
        """Return what is read from the stack."""
        if size == 8 and off in self.spilled:
            return self.spilled[off]
        mask = bytes_at(off, size)
        if self.lent & mask == mask or not self.written & mask:
            return self.free(0, (1 << 8 * size) - 1)
        return OTHER


def _lent(held: Held) -> Held:
    """Return what is left of a value where somebody may have written: an address of the stack may still be one."""
    return ("fp", None) if held[0] == "fp" else OTHER


def entry(kind: str, arguments: int = 1) -> State:
    """Return the state that a function is entered with: the main one gets the context, others anything."""
    regs = [UNWRITTEN] * 11
    for register in range(1, 1 + (arguments if kind == "main" else 5)):
        regs[register] = ("ctx",) if kind == "main" and arguments == 1 else OTHER
    regs[10] = ("fp", 0)
    return State(regs)
