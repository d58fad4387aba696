"""Types that the kernel knows by their name in a map's BTF, and whose bytes are its own.

They are fields of a record that is a map's value, each at most once: ``_lock = spin_lock("guards the rest")``.
User space writes them as zeros and reads them as zeros.
"""

from __future__ import annotations

from bpfasm.asm.types import Type


class Opaque(Type[bytes]):
    """``struct NAME`` of the kernel; ``words`` are the numbers it is made of, of ``align`` bytes each."""

    def __init__(self, struct: str, words: int, align: int) -> None:
        super().__init__(f"struct {struct}", words * align, align, f"{words * align}s")
        self.struct, self.words = struct, words


def has_opaque(kind: object) -> bool:
    """Tell whether a type is such a one, or a record with a field of one."""
    return any(isinstance(each, Opaque) for each in (kind, *(field.type for field in getattr(kind, "fields", ()))))


#: Guards the other fields of its record: ``put(key, value, BPF_F_LOCK)`` and programs that call bpf_spin_lock see and
#: change them all at once.
spin_lock = Opaque("bpf_spin_lock", 1, 4)

#: Calls a function of the program later: bpf_timer_init, bpf_timer_set_callback, bpf_timer_start.
timer = Opaque("bpf_timer", 2, 8)
