"""Network devices, as places name them: by their names, or by their indexes."""

from __future__ import annotations

from errno import ENODEV

from bpfasm.errors import KernelError
from bpfasm.kernel.base.words import errno_name


def index(device: str | int) -> int:
    """Return the index of a device of this network namespace. Raises KernelError."""
    from socket import if_indextoname, if_nametoindex

    try:
        if isinstance(device, int):
            if_indextoname(device)
            return device
        return if_nametoindex(device)
    except (OSError, OverflowError):
        raise no_device(device, ENODEV) from None  # the C library's own search sets no errno


def no_device(device: str | int, number: int) -> KernelError:
    """There is no such device, or it is gone."""
    from socket import if_nameindex

    here = ", ".join(name for _, name in if_nameindex())
    return KernelError(
        number,
        f"there is no network device {device} here ({errno_name(number)})",
        f"this network namespace has {here or 'none'}",
        rule="no-device",
    )


def name(index: int) -> str:
    """Return the name of a device by its index, or the number where it is gone."""
    from socket import if_indextoname

    try:
        return if_indextoname(index)
    except OSError:
        return str(index)
