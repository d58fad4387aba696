"""The BTF objects in the kernel: its own, its modules', those of programs and maps."""

from __future__ import annotations

from bpfasm.kernel.objects import ids, select
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.kernel.objects.select import Opened


class BtfInfo(Value):
    """A BTF object: its ``id``, its ``name`` (vmlinux, a module's, or nothing), its ``size`` in bytes.

    ``kernel`` tells whether it is the kernel's or a module's; the programs and maps that use it are listed by id.
    """

    id: int
    name: str
    size: int
    kernel: bool
    prog_ids: tuple[int, ...]
    map_ids: tuple[int, ...]


def btf_infos(opened: Iterable[Opened]) -> Iterator[BtfInfo]:
    """Return what the kernel tells of BTF objects. Raises KernelError, FeatureMissing."""
    users: dict[str, list[tuple[int, int]]] = {}
    for each in opened:
        about, name = ids.info("btf", each.fd), ids.btf_name(each.fd)
        if not users:
            users = {kind: _users(kind) for kind in ("prog", "map")}
        yield BtfInfo(
            about["id"],
            name,
            about["btf_size"],
            bool(about["kernel_btf"]),
            *(tuple(user for user, btf in users[kind] if btf == about["id"]) for kind in ("prog", "map")),
        )


def _users(kind: str) -> list[tuple[int, int]]:
    """Return the ids of all programs or maps, and of their types."""
    told = (ids.info(kind, opened.fd) for opened in select.every(kind))
    return [(about["id"], about["btf_id"]) for about in told]
