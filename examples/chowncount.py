"""Count fchownat(2) calls, in three forms of one program.

bpfasm chowncount                          # load, attach, count
bpfasm asm examples/chowncount.py:seed     # the bytes
"""

from bpfasm.asm import *

fchownat = kprobe(syscall="fchownat")

# The first form is macro for macro the program that introduces gobpf and the kernel's own samples: one counter at
# key 0, found by a map lookup, raised by an atomic addition. Offsets are counted by hand.

seed_counts = HashMap("seed_counts", key=u32, value=u64, max_entries=1, initial={0: 0})

seed = Program(
    "seed",
    BPF_PROG_TYPE_KPROBE,
    attach=fchownat,
    insns=[
        BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0),
        BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
        BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
        BPF_LD_MAP_FD(BPF_REG_1, seed_counts),
        BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 2),
        BPF_MOV64_IMM(BPF_REG_1, 1),
        BPF_RAW_INSN(BPF_STX | BPF_XADD | BPF_DW, BPF_REG_0, BPF_REG_1, 0, 0),
        BPF_EXIT_INSN(),
    ],
)

# The same with names: slots on the stack, a label for the way out, and R0 set on it, so that the program returns
# the same number on every path.

counts = HashMap("counts", key=u32, value=u64, max_entries=1, initial={0: 0})
stack = StackLayout(key=u32)

chowncount = Program(
    "chowncount",
    BPF_PROG_TYPE_KPROBE,
    attach=fchownat,
    insns=[
        BPF_ST_MEM(BPF_W, FP, stack.key, 0),  # key 0, on the stack
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, stack.key),  # R2 = &key
        BPF_LD_MAP_FD(R1, counts),  # R1 = the map
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),  # R0 = &value, or NULL
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),  # the verifier insists on this check
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),  # value += 1, whoever else counts
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)

# Two CPUs that load, add and store without BPF_ATOMIC_OP lose increments. A per-CPU map gives each its own counter:
# no other CPU writes it, a plain load, add, store is enough, and user space adds them up.

percpu_counts = PerCpuArrayMap("percpu_counts", value=u64, max_entries=1)

percpu = Program(
    "percpu",
    BPF_PROG_TYPE_KPROBE,
    attach=fchownat,
    insns=[
        BPF_ST_MEM(BPF_W, FP, stack.key, 0),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, stack.key),
        BPF_LD_MAP_FD(R1, percpu_counts),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),  # R0 = &value of this CPU
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_LDX_MEM(BPF_DW, R1, R0, 0),
        BPF_ALU64_IMM(BPF_ADD, R1, 1),
        BPF_STX_MEM(BPF_DW, R0, R1, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)

#: Each form by name: its program, and the map it counts in.
FORMS = {"seed": (seed, seed_counts), "labelled": (chowncount, counts), "percpu": (percpu, percpu_counts)}
