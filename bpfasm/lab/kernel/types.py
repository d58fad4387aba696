"""The types of a kernel of the lab, out of its image: no guest is needed to know where its fields are."""

from __future__ import annotations

from mmap import ACCESS_READ, mmap

from bpfasm.btf.files import btf_of
from bpfasm.errors import DecodeError
from bpfasm.lab.kernel import vmlinux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.btf.read import Btf
    from bpfasm.lab.matrix import Kernel


def types_of(kernel: Kernel) -> Btf | None:
    """Return the types of a kernel, None where its image is not here, or is of a form that cannot be read here."""
    if kernel.tree is None:
        return None
    try:
        with (
            vmlinux.directly(kernel.tree.vmlinuz).open("rb") as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as data,
        ):
            return btf_of(data)
    except (DecodeError, OSError, ValueError):
        return None
