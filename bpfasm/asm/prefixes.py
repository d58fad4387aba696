"""Keys of a LpmTrie: so many bits of some data."""

from __future__ import annotations

from struct import Struct

from bpfasm.asm.types import Type
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = Struct("=I")

#: The bytes of an address, by IP version.
_ADDRESS = {4: 4, 6: 16}


class Prefix(Type["Any"]):
    """``struct bpf_lpm_trie_key``: the number of bits that count, and the data, in the order of the network."""

    def __init__(self, name: str, data_size: int, version: int = 0) -> None:
        super().__init__(name, 4 + data_size, 4, f"{4 + data_size}s")
        self.data_size, self.version = data_size, version

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a prefix. Raises RecordError for what is none."""
        if isinstance(value, tuple | list) and len(value) == 2:
            length, data = value
            if isinstance(length, int) and 0 <= length <= 8 * self.data_size and _is_bytes(data, self.data_size):
                return _LENGTH.pack(length) + bytes(data).ljust(self.data_size, b"\0")
        elif _is_bytes(value) and len(value) == self.size:
            return bytes(value)
        elif self.version and not isinstance(value, int):  # ipaddress would take it for an address
            from ipaddress import ip_network

            try:
                network = ip_network(value, strict=False)
            except ValueError:
                network = None
            if network and network.version == self.version:
                return _LENGTH.pack(network.prefixlen) + network.network_address.packed
        raise RecordError(
            f"{value!r} is no {self.name}", f"{self.name} takes {self.takes}", source=outside(), rule="value-range"
        )

    def unpack(self, data: bytes) -> Any:
        """Return an ipaddress network, or (length in bits, bytes)."""
        (length,), rest = _LENGTH.unpack_from(data), bytes(data[4:])
        if not self.version:
            return length, rest
        from ipaddress import IPv4Network, IPv6Network

        return (IPv4Network if self.version == 4 else IPv6Network)((rest, length), strict=False)

    @property
    def takes(self) -> str:
        plain = f"(bits, bytes): 0 to {8 * self.data_size} bits of {self.data_size} bytes"
        return f"a network or address of ipaddress, its text, or {plain}" if self.version else plain


def _is_bytes(value: object, most: int | None = None) -> bool:
    return isinstance(value, bytes | bytearray | memoryview) and (most is None or len(value) <= most)


def lpm_key(data_size: int) -> Prefix:
    """Return the type of the keys of a LpmTrie over ``data_size`` bytes: pairs of (bits, bytes).

    >>> lpm_key(4).pack((8, b"\\x0a")).hex()
    '080000000a000000'
    """
    return Prefix(f"lpm_key({data_size})", data_size)


#: The keys of a LpmTrie over IP addresses: "10.0.0.0/8", "10.1.2.3", an ``ipaddress.IPv4Network`` ...
ipv4_prefix = Prefix("ipv4_prefix", _ADDRESS[4], 4)
ipv6_prefix = Prefix("ipv6_prefix", _ADDRESS[6], 6)
