"""Names of C headers that ``bpfasm.uapi`` has no module of, as sources of programs use them.

A test compares them with the headers: linux/seccomp.h, linux/audit.h, errno.h, limits.h; the kernel's own limits.h
has the rest.
"""

NUMBERS = {
    "SECCOMP_RET_KILL_PROCESS": 0x80000000, "SECCOMP_RET_KILL_THREAD": 0, "SECCOMP_RET_KILL": 0,
    "SECCOMP_RET_TRAP": 0x30000, "SECCOMP_RET_ERRNO": 0x50000, "SECCOMP_RET_USER_NOTIF": 0x7FC00000,
    "SECCOMP_RET_TRACE": 0x7FF00000, "SECCOMP_RET_LOG": 0x7FFC0000, "SECCOMP_RET_ALLOW": 0x7FFF0000,
    "SECCOMP_RET_DATA": 0xFFFF, "SECCOMP_RET_ACTION": 0x7FFF0000, "SECCOMP_RET_ACTION_FULL": 0xFFFF0000,
    "AUDIT_ARCH_X86_64": 0xC000003E, "AUDIT_ARCH_I386": 0x40000003, "AUDIT_ARCH_AARCH64": 0xC00000B7,
    "AUDIT_ARCH_ARM": 0x40000028, "AUDIT_ARCH_RISCV64": 0xC00000F3, "EPERM": 1, "ENOSYS": 38, "EACCES": 13,
    "EINVAL": 22, "ENOENT": 2, "NULL": 0, "true": 1, "false": 0, "INT_MAX": 2147483647, "INT_MIN": -2147483648,
    "UINT_MAX": 0xFFFFFFFF, "S32_MAX": 2147483647, "S32_MIN": -2147483648, "U32_MAX": 0xFFFFFFFF,
    "S16_MAX": 32767, "S16_MIN": -32768, "SHRT_MAX": 32767, "SHRT_MIN": -32768, "U16_MAX": 65535,
    "LLONG_MAX": (1 << 63) - 1, "LLONG_MIN": -(1 << 63), "ULLONG_MAX": (1 << 64) - 1, "S64_MAX": (1 << 63) - 1,
    "S64_MIN": -(1 << 63), "U64_MAX": (1 << 64) - 1, "CHAR_BIT": 8, "BPF_REG_AX": 11,
}  # fmt: skip

#: ``struct seccomp_data``: offset, bytes, bytes of an element.
SECCOMP_DATA = {"nr": (0, 4, 4), "arch": (4, 4, 4), "instruction_pointer": (8, 8, 8), "args": (16, 48, 8)}
