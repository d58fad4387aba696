"""What is one reader's or sender's in this process: a ring, or the place of a CPU in a perf event array."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.maps.map import LoadedMap

    Claim = tuple[int, int]

#: By the kernel's id of a map, and the CPU where each has its own.
_claimed: set[Claim] = set()


def claim(map: LoadedMap, cpu: int = 0) -> Claim:
    """Take it, and return what gives it back. Raises AssemblyError where somebody has it."""
    number = map.info()["id"]
    assert isinstance(number, int)
    taken = number, cpu
    if taken in _claimed:
        from bpfasm.kernel.readers.refused import in_use

        raise in_use(map.spec)
    _claimed.add(taken)
    return taken


def release(taken: list[Claim]) -> None:
    """Give back what was taken."""
    _claimed.difference_update(taken)
    taken.clear()
