"""What a target has instead of what was sought: the nearest names, and where the member lives."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.btf.core import Sought
    from bpfasm.btf.read import Btf


def why(sought: Sought, btf: Btf) -> tuple[str, str]:
    """Return what is missing, and what to do: two lines."""
    return f"the target has no {sought}", "names differ between kernels: bpfasm btf show " + sought.root
