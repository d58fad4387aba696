"""Names of C's own headers and of the kernel's internal ones, as sources of programs use them.

A test compares them with limits.h and stdint.h.
"""

NUMBERS = {
    "NULL": 0, "true": 1, "false": 0, "INT_MAX": 2147483647, "INT_MIN": -2147483648,
    "UINT_MAX": 0xFFFFFFFF, "S32_MAX": 2147483647, "S32_MIN": -2147483648, "U32_MAX": 0xFFFFFFFF,
    "S16_MAX": 32767, "S16_MIN": -32768, "SHRT_MAX": 32767, "SHRT_MIN": -32768, "U16_MAX": 65535,
    "LLONG_MAX": (1 << 63) - 1, "LLONG_MIN": -(1 << 63), "ULLONG_MAX": (1 << 64) - 1, "S64_MAX": (1 << 63) - 1,
    "S64_MIN": -(1 << 63), "U64_MAX": (1 << 64) - 1, "CHAR_BIT": 8, "BPF_REG_AX": 11,
}  # fmt: skip
