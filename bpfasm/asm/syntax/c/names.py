"""Names of C's own headers and of the kernel's internal ones, as sources of programs use them.

Tests compare them with limits.h, stdint.h and socket.h, and with what gcc and endian.h define.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = {
    "NULL": 0, "true": 1, "false": 0, "INT_MAX": 2147483647, "INT_MIN": -2147483648,
    "UINT_MAX": 0xFFFFFFFF, "S32_MAX": 2147483647, "S32_MIN": -2147483648, "U32_MAX": 0xFFFFFFFF,
    "S16_MAX": 32767, "S16_MIN": -32768, "SHRT_MAX": 32767, "SHRT_MIN": -32768, "U16_MAX": 65535,
    "LLONG_MAX": (1 << 63) - 1, "LLONG_MIN": -(1 << 63), "ULLONG_MAX": (1 << 64) - 1, "S64_MAX": (1 << 63) - 1,
    "S64_MIN": -(1 << 63), "U64_MAX": (1 << 64) - 1, "CHAR_BIT": 8, "BPF_REG_AX": 11,
    "AF_UNSPEC": 0, "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "PF_PACKET": 17,
    "SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3,
}  # fmt: skip

#: What a compiler for a little-endian 64-bit Linux defines before it reads a file, and endian.h behind it.
PREDEFINED = {
    "__STDC__": 1, "__STDC_VERSION__": 201710, "__STDC_HOSTED__": 1, "__GNUC__": 12,
    "__linux__": 1, "__linux": 1, "linux": 1, "__unix__": 1, "__ELF__": 1, "__LP64__": 1, "_LP64": 1,
    "__CHAR_BIT__": 8, "__SIZEOF_SHORT__": 2, "__SIZEOF_INT__": 4, "__SIZEOF_LONG__": 8, "__SIZEOF_POINTER__": 8,
    "__SIZEOF_SIZE_T__": 8, "__SIZEOF_LONG_LONG__": 8, "__SIZEOF_INT128__": 16, "__WORDSIZE": 64,
    "__BITS_PER_LONG": 64, "__ORDER_LITTLE_ENDIAN__": 1234, "__ORDER_BIG_ENDIAN__": 4321,
    "__ORDER_PDP_ENDIAN__": 3412, "__BYTE_ORDER__": 1234, "__LITTLE_ENDIAN": 1234, "__BIG_ENDIAN": 4321,
    "__BYTE_ORDER": 1234, "LITTLE_ENDIAN": 1234, "BIG_ENDIAN": 4321, "BYTE_ORDER": 1234,
    "__LITTLE_ENDIAN_BITFIELD": 0,
}  # fmt: skip

#: Those of one machine alone.
OF_MACHINE = {
    "x86_64": ("__x86_64__", "__x86_64", "__amd64__", "__amd64"),
    "aarch64": ("__aarch64__", "__AARCH64EL__", "__ARM_64BIT_STATE"),
}

#: Macros of the kernel's headers that make a number of numbers: how many they take, the bits of what they give.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., int]]] = {
    "BPF_CLASS": (1, 32, lambda code: code & 0x07),
    "BPF_SIZE": (1, 32, lambda code: code & 0x18),
    "BPF_MODE": (1, 32, lambda code: code & 0xE0),
    "BPF_OP": (1, 32, lambda code: code & 0xF0),
    "BPF_SRC": (1, 32, lambda code: code & 0x08),
    "BPF_RVAL": (1, 32, lambda code: code & 0x18),
    "BPF_MISCOP": (1, 32, lambda code: code & 0xF8),
    "BIT": (1, 64, lambda number: 1 << number),
    "BIT_ULL": (1, 64, lambda number: 1 << number),
    "_BITUL": (1, 64, lambda number: 1 << number),
    "_BITULL": (1, 64, lambda number: 1 << number),
    "GENMASK": (2, 64, lambda high, low: (2 << high) - (1 << low)),
    "GENMASK_ULL": (2, 64, lambda high, low: (2 << high) - (1 << low)),
    "KERNEL_VERSION": (3, 32, lambda major, minor, patch: (major << 16) + (minor << 8) + min(patch, 255)),
}

#: Those of them that shift, by 63 at most.
SHIFTS = {"BIT", "BIT_ULL", "_BITUL", "_BITULL", "GENMASK", "GENMASK_ULL"}

#: What changes a number between the host's order and the network's: the bytes of it.
SWAPPED = {
    f"{prefix}{name}": size
    for name, size in {
        "htons": 2, "ntohs": 2, "cpu_to_be16": 2, "be16_to_cpu": 2, "htonl": 4, "ntohl": 4, "cpu_to_be32": 4,
        "be32_to_cpu": 4, "cpu_to_be64": 8, "be64_to_cpu": 8,
    }.items()
    for prefix in ("", "__", "bpf_", "__bpf_", "__constant_", "__bpf_constant_", "bpf_constant_")
} | {"htobe16": 2, "htobe32": 4, "htobe64": 8, "be16toh": 2, "be32toh": 4, "be64toh": 8}  # fmt: skip
