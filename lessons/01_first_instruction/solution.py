"""Lesson 1: a program that returns 7."""

from bpfasm.asm import *

first = Program(
    "first",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        BPF_MOV64_IMM(R0, 7),  # b7: 64-bit move of a number
        BPF_EXIT_INSN(),  # 95: return R0
    ],
)
