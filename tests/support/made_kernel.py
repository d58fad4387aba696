"""Types of a kernel that nobody has, and what a program may ask of it."""

from bpfasm.asm import *
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.uapi import btf as kinds

ASKED = [
    BPF_LDX_MEM(BPF_W, R2, R1, field("task", "tgid")),
    BPF_MOV64_IMM(R2, field("task", "se.sum")),
    BPF_MOV64_IMM(R2, field("task", "comm[3]")),
    BPF_MOV64_IMM(R2, field("task", "flag").lshift),
    BPF_MOV64_IMM(R2, field("task", "flag").exists),
    BPF_MOV64_IMM(R2, type_size("task")),
    BPF_LD_IMM64(R2, enum_value("mode", "ON")),
    BPF_MOV64_IMM(R2, type_exists("unheard_of")),
    BPF_MOV64_IMM(R2, field("task", "parent")),
]


def kernel(*, before=0):
    """Return types of a kernel that nobody has, with ``before`` bytes before what programs look for."""
    types = Writer()
    number = types.add_int("int", 4, kinds.BTF_INT_SIGNED)
    long = types.add_int("long", 8)
    char = types.add_int("char", 1)
    entity = types.add_struct("entity", 16, [("weight", long, 0), ("sum", long, 64)])
    unnamed = types.add(kinds.BTF_KIND_UNION, "", 4, types.words(types.string("tgid"), number, 0), count=1)
    pointer = types.add(kinds.BTF_KIND_PTR, third=entity)
    bits = [
        ("before", types.add_array(char, before), 0), ("", unnamed, 8 * before), ("se", entity, 64 + 8 * before),
        ("parent", pointer, 192 + 8 * before), ("comm", types.add_array(char, 16), 256 + 8 * before),
    ]  # fmt: skip
    rest = b"".join(types.words(types.string(name), type, at) for name, type, at in bits)
    rest += types.words(types.string("flag"), number, 3 << 24 | 384 + 8 * before + 5)
    size = 56 + before
    types.add(kinds.BTF_KIND_STRUCT, "task", size, rest, count=6, flag=True)
    types.add(
        kinds.BTF_KIND_ENUM, "mode", 4, types.words(types.string("OFF"), 0, types.string("ON"), 9 + before), count=2
    )
    proto = types.add(
        kinds.BTF_KIND_FUNC_PROTO,
        "",
        number,
        types.words(types.string("e"), pointer, types.string("n"), long),
        count=2,
    )
    types.add(kinds.BTF_KIND_FUNC, "weigh", proto, count=kinds.BTF_FUNC_GLOBAL)
    return Btf(types.to_bytes())
