"""``StackLayout``: names for the 512 bytes below R10."""

from __future__ import annotations

from bpfasm.asm.types import size_of_type
from bpfasm.errors import RecordError
from bpfasm.isa.filter_h import MAX_BPF_STACK
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StackLayout:
    """Named slots on the stack, given as types, records or sizes in bytes; each name is its offset from R10.

    >>> from bpfasm.asm import StackLayout, u32, u64
    >>> stack = StackLayout(key=u32, start=u64, path=64)
    >>> stack.key, stack.start, stack.path, stack.total
    (-8, -16, -80, 80)

    Every slot starts at a multiple of 8, so that any size of access to it is aligned. Raises RecordError when the
    sum is more than the 512 bytes a program has (with its callees).
    """

    def __init__(self, **slots: Any) -> None:
        self.offsets: dict[str, int] = {}
        self.total = 0
        for name, type in slots.items():
            if name in ("offsets", "total"):
                raise RecordError(
                    f"a stack slot cannot be called {name}: StackLayout.{name} is in use",
                    f"give it another name, such as {name}_",
                    source=outside(),
                    rule="stack-name",
                )
            self.total += (size_of_type(type) + 7) // 8 * 8
            self.offsets[name] = -self.total
        if self.total > MAX_BPF_STACK:
            sizes = ", ".join(f"{name} {size_of_type(type)}" for name, type in slots.items())
            raise RecordError(
                f"the stack has {MAX_BPF_STACK} bytes, and these slots take {self.total}: {sizes}",
                "keep the large ones in a per-CPU array map of one element",
                source=outside(),
                rule="stack-size",
            )

    def __getattr__(self, name: str) -> int:
        try:
            offset: int = self.__dict__["offsets"][name]
        except KeyError:
            raise AttributeError(
                f"no stack slot {name!r}; there are {', '.join(self.__dict__.get('offsets', ())) or 'none'}"
            ) from None
        return offset

    def __repr__(self) -> str:
        return f"StackLayout({', '.join(f'{name}={off}' for name, off in self.offsets.items())})"
