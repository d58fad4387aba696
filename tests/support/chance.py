"""Random programs that kernels often take, and often do not: what judges lint."""

import random

from bpfasm.asm import *

TYPES = (BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS)
ALU = (BPF_ADD, BPF_SUB, BPF_MUL, BPF_OR, BPF_AND, BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_DIV, BPF_MOD)
JUMPS = (BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET)
SIZES = (BPF_B, BPF_H, BPF_W, BPF_DW)
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 255, 4095, 65535, 0x7FFFFFFF, -1, -2, -8, -4096, -0x80000000)
HELPERS = (BPF_FUNC_ktime_get_ns, BPF_FUNC_get_prandom_u32, BPF_FUNC_get_smp_processor_id)


class Chance:
    """A source of programs, by a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def program(self, hash_map, array, ring):
        """Return a program of up to 30 instructions; maps are numbers of fds or declarations."""
        self.maps = hash_map, array, ring
        pick = self.random
        self.known = {1, 10}
        self.type = pick.choice(TYPES)
        body = [BPF_MOV64_REG(R6, R1)] if pick.random() < 0.7 else []
        if body:
            self.known.add(6)
        for _ in range(pick.randrange(2, 14)):
            body += self.piece()
        if pick.random() < 0.95:
            body.append(BPF_MOV64_IMM(R0, pick.choice((0, 1))))
        body.append(BPF_EXIT_INSN())
        size = sum(insn.width for insn in body)
        body = [self.aimed(insn, size) for insn in body]
        return Program("chance", self.type, body, license=pick.choice(("GPL", "GPL", "MIT")))

    def aimed(self, insn, size):
        """Let a jump that was left open lead a little ahead."""
        return insn if insn.off != "ahead" else insn.replace(off=self.random.choice((0, 1, 1, 2, 3, 5)))

    def register(self, write=False):
        """Return a register: mostly one that has been written."""
        pick = self.random
        if write:
            number = pick.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
            self.known.add(number)
            return number
        return pick.choice(sorted(self.known)) if pick.random() < 0.97 else pick.randrange(10)

    def piece(self):
        """Return a few instructions."""
        return getattr(self, self.random.choice(PIECES))()

    def number(self):
        return self.random.choice(NUMBERS)

    def constant(self):
        return [BPF_MOV64_IMM(self.register(write=True), self.number())]

    def wide(self):
        return [BPF_LD_IMM64(self.register(write=True), self.random.getrandbits(64))]

    def copy(self):
        source = self.register()
        make = self.random.choice((BPF_MOV64_REG, BPF_MOV64_REG, BPF_MOV32_REG))
        return [make(self.register(write=True), source)]

    def compute(self):
        register = self.register()
        if register == 10:
            return []
        make = self.random.choice((BPF_ALU64_IMM, BPF_ALU64_IMM, BPF_ALU32_IMM))
        return [make(self.random.choice(ALU), register, self.number())]

    def combine(self):
        left = self.register()
        make = self.random.choice((BPF_ALU64_REG, BPF_ALU32_REG))
        return [] if left == 10 else [make(self.random.choice(ALU), left, self.register())]

    def jump(self):
        make = self.random.choice((BPF_JMP_IMM, BPF_JMP_IMM, BPF_JMP32_IMM))
        return [make(self.random.choice(JUMPS), self.register(), self.number(), "ahead")]

    def compare(self):
        return [BPF_JMP_REG(self.random.choice(JUMPS), self.register(), self.register(), "ahead")]

    def spill(self):
        return [BPF_STX_MEM(BPF_DW, R10, self.register(), -8 * self.random.randrange(1, 5))]

    def fill(self):
        return [BPF_LDX_MEM(BPF_DW, self.register(write=True), R10, -8 * self.random.randrange(1, 5))]

    def store(self):
        size = self.random.choice(SIZES)
        return [BPF_ST_MEM(size, R10, -self.random.choice((4, 8, 12, 16, 24, 32, 6)), self.number())]

    def load(self):
        size = self.random.choice(SIZES)
        off = -self.random.choice((4, 8, 12, 16, 24, 32, 2))
        return [BPF_LDX_MEM(size, self.register(write=True), R10, off)]

    def context(self):
        return [BPF_LDX_MEM(BPF_W, self.register(write=True), R6, self.random.choice((0, 4, 8, 12, 16, 76, 80)))]

    def call(self):
        self.known -= {1, 2, 3, 4, 5}
        self.known.add(0)
        return [BPF_EMIT_CALL(self.random.choice(HELPERS))]

    def lookup(self):
        pick = self.random
        self.known -= {1, 2, 3, 4, 5}
        self.known.add(0)
        body = [
            *([BPF_ST_MEM(BPF_W, R10, -4, 0)] if pick.random() < 0.9 else []),
            BPF_MOV64_REG(R2, R10),
            BPF_ALU64_IMM(BPF_ADD, R2, -4),
            BPF_LD_MAP_FD(R1, self.maps[pick.randrange(2)]),
            BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        ]
        if pick.random() < 0.9:
            body.append(BPF_JMP_IMM(pick.choice((BPF_JEQ, BPF_JNE)), R0, 0, pick.choice((1, 1, 2))))
        return [*body, *self.use()]

    def use(self):
        pick = self.random
        size, register = pick.choice(SIZES), self.register(write=True)
        return pick.choice(
            (
                [BPF_LDX_MEM(size, register, R0, 0)],
                [BPF_ST_MEM(size, R0, 0, 1)],
                [BPF_LDX_MEM(BPF_DW, register, R0, 0), BPF_ST_MEM(BPF_B, R0, 1, 2)],
            )
        )

    def record(self):
        pick = self.random
        self.known -= {1, 2, 3, 4, 5}
        self.known.add(0)
        body = [
            BPF_LD_MAP_FD(R1, self.maps[2]),
            BPF_MOV64_IMM(R2, 16),
            BPF_MOV64_IMM(R3, 0),
            BPF_EMIT_CALL(BPF_FUNC_ringbuf_reserve),
        ]
        give = [
            BPF_MOV64_REG(R1, R0),
            BPF_MOV64_IMM(R2, 0),
            BPF_EMIT_CALL(pick.choice((BPF_FUNC_ringbuf_submit, BPF_FUNC_ringbuf_discard))),
        ]
        write = [BPF_ST_MEM(BPF_W, R0, 4, 1)] if pick.random() < 0.5 else []
        if pick.random() < 0.9:
            body.append(BPF_JMP_IMM(BPF_JEQ, R0, 0, len(write) + len(give) - (pick.random() < 0.05)))
        if pick.random() < 0.9:
            self.known.discard(0)
        return [*body, *write, *(give if pick.random() < 0.95 else give[:2])]

    def packet(self):
        pick = self.random
        self.known |= {7, 8}
        xdp = self.type == BPF_PROG_TYPE_XDP
        body = [
            BPF_LDX_MEM(BPF_W, R7, R6, 0 if xdp else 76),
            BPF_LDX_MEM(BPF_W, R8, R6, 4 if xdp else 80),
            BPF_MOV64_REG(R2, R7),
            BPF_ALU64_IMM(BPF_ADD, R2, 14),
        ]
        self.known.add(2)
        if pick.random() < 0.9:
            body.append(BPF_JMP_REG(pick.choice((BPF_JGT, BPF_JGT, BPF_JGE)), R2, R8, 1))
        return [*body, BPF_LDX_MEM(pick.choice((BPF_B, BPF_H)), self.register(write=True), R7, pick.randrange(13))]

    def loop(self):
        register, pick = self.register(write=True), self.random
        step = [BPF_ALU64_IMM(BPF_SUB, register, 1), BPF_JMP_IMM(BPF_JNE, register, 0, -2)]
        return [BPF_MOV64_IMM(register, pick.choice((1, 3, 40))), *step]

    def odd(self):
        """Return something that is off, now and then."""
        pick = self.random
        if pick.random() < 0.7:
            return []
        return pick.choice(
            (
                [BPF_RAW_INSN(pick.randrange(256), pick.randrange(12), pick.randrange(12), 0, 0)],
                [BPF_MOV64_IMM(R3, 1).replace(off=pick.choice((0, 1)), src_reg=pick.choice((0, 1)))],
                [BPF_JMP_A("ahead")],
                [BPF_JMP_A(-1)],
                [BPF_EXIT_INSN()],
                [BPF_LD_IMM64(R3, 5).replace(off=pick.choice((0, 1)), imm2=pick.choice((0, 1)))],
                [BPF_JMP_A("ahead").replace(imm=pick.choice((0, 1)))],
                [BPF_EXIT_INSN().replace(imm=pick.choice((0, 1)), dst_reg=pick.choice((0, 1)))],
            )
        )


PIECES = (
    "constant", "constant", "wide", "copy", "copy", "compute", "compute", "combine", "jump", "jump", "jump",
    "compare", "spill", "fill", "store", "store", "load", "context", "call", "lookup", "lookup", "record", "packet",
    "loop", "odd",
)  # fmt: skip
