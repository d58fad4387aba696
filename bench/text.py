"""Text out and in, against the tools that people would take instead.

    python3 bench/text.py [ROUNDS]

100,000 instructions of the forms that capstone and llvm-mc 19 know. The variants take turns, so that a busy moment of
the machine meets them all; the best rate of each is printed, in processor time, and its ratio to the peer's. Two
floors are among them: what it takes Python to make the same instructions with nothing found out or checked.
"""

import gc
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from samples import samples  # noqa: E402

from bpfasm.asm import BPF_ADD, BPF_ALU64_IMM, BPF_DW, BPF_LDX_MEM, BPF_MOV64_REG, R1, R2  # noqa: E402
from bpfasm.asm.syntax import lines, llvm, plan  # noqa: E402
from bpfasm.asm.syntax.text import disassemble  # noqa: E402
from bpfasm.isa.insn import Insn, encode  # noqa: E402
from bpfasm.isa.match import form_of  # noqa: E402
from bpfasm.isa.table import FORMS  # noqa: E402

COUNT = 100_000


def stream() -> list[Insn]:
    """Return the instructions: what every peer knows, in the same order each time."""
    known = [
        form
        for form in FORMS
        if form.dialect == "source"
        and form.isa in ("v1", "v2")
        and form.kind in ("alu", "jump", "load", "store", "exit")
        and form.name != "may_goto"
    ]
    # Capstone stops at what writes R10, as no verifier takes it.
    pairs = samples(COUNT // len(known) + 1, seed=1, forms=known)
    insns = [insn.replace(dst_reg=insn.dst_reg % 10) for _, insn in pairs]
    step = 7919  # a prime: neighbours are of different forms
    return [insns[number * step % len(insns)] for number in range(COUNT)]


def regex_per_row() -> Callable[[str], Insn]:
    """Return the straightforward parser: a pattern for each row of the table, tried one after the other.

    It reads what ours reads of such a line: blanks where they may be, numbers in decimal and hex, a comment behind
    it. The patterns are compiled beforehand.
    """
    rows = []
    for form in FORMS:
        if form.llvm and form.dialect == "source":
            pattern, seen = r"\s*", set()
            for piece in re.findall(r"\{\w+\}|\w+|\S", form.llvm):
                role = piece.strip("{}") if piece[:1] == "{" else ""
                number = r"\d+" if role in ("dst", "src") else r"[-+]?\s*(?:0x[0-9a-fA-F]+|\d+)"
                pattern += (f"(?P<{role}>{number})" if role not in seen else number) if role else re.escape(piece)
                # The digits of a register belong to its letter.
                pattern += "" if piece in ("r", "w", "le", "be", "bswap") else r"\s*"
                seen.add(role)
            rows.append((form, re.compile(pattern + "(?:#.*)?")))

    def parse(line: str) -> Insn:
        for form, pattern in rows:
            match = pattern.fullmatch(line)
            if match:
                got = {key: int("".join(value.split()), 0) for key, value in match.groupdict().items()}
                imm = got.get("imm", got.get("cmp", form.fixed.get("imm", 0)))
                off = got.get("off", got.get("jump", form.fixed.get("off", 0)))
                return Insn(form.code, got.get("dst", 0), got.get("src", 0), off, imm)
        raise ValueError(line)

    return parse


def spent(work: Callable[[], object]) -> float:
    """Return the processor seconds that some work takes, its child processes' included."""

    def now() -> float:
        return sum(
            each.ru_utime + each.ru_stime
            for each in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        )

    begin = now()
    work()
    return now() - begin


def macros(count: int) -> bytes:
    """Return the bytes of instructions that macros make, of programs of 100."""
    programs = []
    for _ in range(count // 100):
        insns = []
        for _ in range(25):
            insns += [
                BPF_MOV64_REG(R1, R2),
                BPF_ALU64_IMM(BPF_ADD, R1, 5),
                BPF_LDX_MEM(BPF_DW, R1, R2, 8),
                BPF_MOV64_REG(R2, R1),
            ]
        programs.append(encode(insns, "little"))
    return b"".join(programs)


def packs(count: int) -> bytes:
    """Return the same bytes, packed one by one."""
    programs = []
    for _ in range(count // 100):
        out = []
        for _ in range(25):
            out += [
                struct.pack("<BBhi", 0xBF, 2 << 4 | 1, 0, 0),
                struct.pack("<BBhi", 0x07, 0 << 4 | 1, 0, 5),
                struct.pack("<BBhi", 0x79, 2 << 4 | 1, 8, 0),
                struct.pack("<BBhi", 0xBF, 1 << 4 | 2, 0, 0),
            ]
        programs.append(b"".join(out))
    return b"".join(programs)


def unchecked(code: int, dst: int, src: int, off: int, imm: int) -> Insn:
    """Make an instruction that knows where it was written, of whatever is given."""
    frame = sys._getframe(1)
    return tuple.__new__(Insn, (code, dst, src, off, imm, None, None, (frame.f_code, frame.f_lasti)))


def unchecked_macros(count: int) -> bytes:
    """Return the bytes of the same instructions, made by a call each: the floor of macros."""
    programs = []
    for _ in range(count // 100):
        insns = []
        for _ in range(25):
            insns += [
                unchecked(0xBF, 1, 2, 0, 0),
                unchecked(0x07, 1, 0, 0, 5),
                unchecked(0x79, 1, 2, 8, 0),
                unchecked(0xBF, 2, 1, 0, 0),
            ]
        programs.append(encode(insns, "little"))
    return b"".join(programs)


def cut_and_made(text: str) -> bytes:
    """Return bytes of as many instructions as a text has lines, with its numbers: the floor of reading it.

    The lines are cut at their numbers, these are converted, and instructions made of them; what the lines say is not
    looked at, so that all numbers of a line go where there is room for them.
    """
    insns: list[Insn] = []
    gc.disable()  # as reading does
    for start in range(0, len(every := text.splitlines()), lines.CHUNK):
        shapes, numbers = plan.cut("\n".join(every[start : start + lines.CHUNK]))
        at = 0
        for row, shape in enumerate(shapes):
            end = at + shape.count("0")
            imm = 0
            for number in numbers[at:end]:
                imm = int(number) & 0x7FFF_FFFF
            at = end
            insns.append(tuple.__new__(Insn, (0xB7, 1, 0, 0, imm, None, None, ("f", start + row))))
    gc.enable()
    return encode(insns, "little")


def main() -> None:
    """Measure and print."""
    import capstone

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    insns = stream()
    code = encode(insns, "little")
    text = "\n".join(llvm.text(insn, form_of(insn)) for insn in insns) + "\n"
    some = text.splitlines()[:4000]
    parse = regex_per_row()
    reader = capstone.Cs(capstone.CS_ARCH_BPF, capstone.CS_MODE_BPF_EXTENDED)

    def capstone_text() -> None:
        assert sum(1 for each in [f"{i.mnemonic} {i.op_str}" for i in reader.disasm(code, 0)] if each) == COUNT

    def assembled() -> None:
        (program,) = lines.read(text, "f", "llvm")
        assert encode(program.insns, "little") == code

    mc = shutil.which("llvm-mc-19") or shutil.which("llvm-mc-14")

    def llvm_mc() -> None:
        command = [str(mc), "--triple=bpfel", "--mcpu=v4", "--filetype=obj", "-o", "/dev/null"]
        subprocess.run(command, input=text, text=True, check=True)

    variants: dict[str, tuple[Callable[[], object], int]] = {
        "disassemble() to text": (lambda: disassemble(code), COUNT),
        "capstone to text": (capstone_text, COUNT),
        "text to bytes": (assembled, COUNT),
        "  its floor": (lambda: cut_and_made(text), COUNT),
        "llvm-mc, a process": (llvm_mc, COUNT),
        "a regex per row": (lambda: encode([parse(line) for line in some], "little"), len(some)),
        "macros to bytes": (lambda: macros(COUNT), COUNT),
        "  their floor": (lambda: unchecked_macros(COUNT), COUNT),
        "struct.pack for each": (lambda: packs(COUNT), COUNT),
    }
    if mc is None:
        del variants["llvm-mc, a process"]
    assert macros(200) == unchecked_macros(200) == packs(200)
    assert encode([parse(line) for line in some], "little") == code[: 8 * len(some)]
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, (work, count) in variants.items():
            rates[name].append(count / spent(work))
    best = {name: max(each) for name, each in rates.items()}
    for name, rate in best.items():
        print(f"{name:<24} {rate / 1e3:10.0f} thousand a second")
    print()
    for ours, theirs, wanted in (
        ("disassemble() to text", "capstone to text", 1.2),
        ("text to bytes", "llvm-mc, a process", 0.25),
        ("text to bytes", "a regex per row", 15),
        ("  its floor", "a regex per row", None),
        ("macros to bytes", "struct.pack for each", 0.25),
        ("  their floor", "struct.pack for each", None),
    ):
        if theirs in best:
            ratio = f"{ours} / {theirs}: {best[ours] / best[theirs]:.2f}"
            print(f"{ratio} (wanted: {wanted})" if wanted else ratio)


if __name__ == "__main__":
    main()
