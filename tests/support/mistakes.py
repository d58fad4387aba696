"""The mistakes of tests/data/mistakes.txt as programs."""

import re
from pathlib import Path

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.uapi import bpf

PATH = Path(__file__).parents[1] / "data" / "mistakes.txt"

counts = HashMap("counts", key=u32, value=u64, max_entries=8)
slots = ArrayMap("slots", value=u64, max_entries=4)
ring = RingBuf("ring", max_entries=4096)

NAMES = {name: getattr(bpfasm.asm, name) for name in bpfasm.asm.__all__}
NAMES |= {"counts": counts, "slots": slots, "ring": ring}


class Mistake:
    """One of them: the rule, the line in the file (0: of no instruction), and what lint is asked."""

    def __init__(self, head, body, first):
        self.rule, kind, *options = head.split()
        given = dict(option.split("=") for option in options if "=" in option)
        self.taken = "taken" in options
        self.options = {name: given[name] for name in ("kernel", "isa") if name in given}
        self.license = given.get("license", "GPL")
        self.type = getattr(bpf, f"BPF_PROG_TYPE_{kind}")
        lines = body.splitlines()
        here = [first + number for number, line in enumerate(lines) if "# here" in line]
        self.line = here[0] if here else 0
        self.code = compile("\n" * (first - 1) + f"[{body}]", str(PATH), "eval")
        self.id = f"{self.rule}-{first - 1}"

    def program(self):
        return Program("mistake", self.type, eval(self.code, dict(NAMES)), license=self.license)


def mistakes():
    text = PATH.read_text()
    found = []
    for match in re.finditer(r"^== (.*)\n((?:.+\n)*)", text, re.M):
        first = text.count("\n", 0, match.start(2)) + 1
        found.append(Mistake(match[1], match[2], first))
    return found
