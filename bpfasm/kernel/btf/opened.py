"""The types of object files that the kernel has, while programs and maps are made that refer to them."""

from __future__ import annotations

import os

from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from bpfasm.elf.reading.types import ObjectTypes


class OpenTypes:
    """Loads the types of each object once, however many programs and maps have them. A context manager."""

    def __init__(self) -> None:
        self._fds: dict[ObjectTypes, int | None] = {}

    def fd(self, types: ObjectTypes) -> int | None:
        """Return the fd of an object's types, None where this kernel takes them in no form.

        What is left out then is names: programs that cannot do without are refused by the verifier, which says so.
        """
        if types not in self._fds:
            self._fds[types] = _load(types)
        return self._fds[types]

    def close(self) -> None:
        """Close the types: what the kernel made of them keeps them."""
        while self._fds:
            _, fd = self._fds.popitem()
            if fd is not None:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(types: ObjectTypes) -> int | None:
    from bpfasm.elf.reading.types_to_load import older

    for form in (lambda data: data, older):
        try:
            return bpf.btf_load(buffer(form(types.data)))
        except OSError:
            continue
    return None
