"""Records against gcc: where its fields lie, what its bytes are, and whether it has padding."""

import random
import subprocess

import pytest

from bpfasm.asm import *
from bpfasm.errors import RecordError

pytestmark = pytest.mark.oracle

#: A type, its C type before and behind the name, and a value.
TYPES = {
    "u8": (u8, "unsigned char", "", 200), "s8": (s8, "signed char", "", -100),
    "u16": (u16, "unsigned short", "", 60000), "s16": (s16, "short", "", -30000),
    "u32": (u32, "unsigned int", "", 4000000000), "s32": (s32, "int", "", -2000000000),
    "u64": (u64, "unsigned long long", "", 2**64 - 2), "s64": (s64, "long long", "", -(2**62)),
    "chars3": (chars(3), "char", "[3]", b"ab"), "chars16": (chars(16), "char", "[16]", b"sixteen letters!"),
    "raw4": (raw(4), "unsigned char", "[4]", b"\0\1\2\3"),
}  # fmt: skip


def layouts(count):
    """Return lists of types: some that C pads, and the same in an order in which it does not."""
    choose = random.Random(11)
    found = []
    for _ in range(count):
        names = [choose.choice(list(TYPES)) for _ in range(choose.randrange(1, 9))]
        found += [names, sorted(names, key=lambda name: -TYPES[name][0].align)]
    return found


LAYOUTS = layouts(100)


def c_program():
    """Return a program that prints of each struct its size, the offsets, and the bytes of one with values."""
    lines = ["#include <stdio.h>", "#include <stddef.h>", "int main(void) {", "const unsigned char *at;"]
    for number, names in enumerate(LAYOUTS):
        members = "".join(f"{TYPES[name][1]} f{n}{TYPES[name][2]}; " for n, name in enumerate(names))
        values = ", ".join(c_value(TYPES[name][3]) for name in names)
        lines.append(f"static const struct s{number} {{ {members}}} v{number} = {{ {values} }};")
        offsets = ", ".join(f"(int)offsetof(struct s{number}, f{n})" for n in range(len(names)))
        lines.append(f'printf("%d{" %d" * len(names)} ", (int)sizeof(v{number}), {offsets});')
        lines.append(f"at = (const void *)&v{number};")
        lines.append(f'for (size_t i = 0; i < sizeof(v{number}); i++) printf("%02x", at[i]); puts("");')
    return "\n".join([*lines, "return 0; }"])


def c_value(value):
    if isinstance(value, bytes):
        return "{ " + ", ".join(map(str, value)) + " }"
    return f"{value}ULL" if value >= 0 else f"{value}LL"


@pytest.fixture(scope="module")
def printed(gcc, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("gcc")
    (scratch / "main.c").write_text(c_program())
    subprocess.run(["gcc", "-w", "-o", scratch / "main", scratch / "main.c"], check=True)
    lines = subprocess.run([scratch / "main"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [([int(word) for word in line.split()[:-1]], bytes.fromhex(line.split()[-1])) for line in lines]


def record_of(names):
    return type("R", (Record,), {f"f{n}": TYPES[name][0]() for n, name in enumerate(names)})


def test_a_record_is_laid_out_as_gcc_does_or_refused(printed):
    accepted = 0
    for names, ((size, *offsets), data) in zip(LAYOUTS, printed, strict=True):
        if size == sum(TYPES[name][0].size for name in names):
            record = record_of(names)
            values = {f"f{n}": TYPES[name][3] for n, name in enumerate(names)}
            assert (record.size, [field.off for field in record.fields]) == (size, offsets), names
            assert record(**values).to_bytes() == data, names
            assert record.from_bytes(data) == record(**values), names
            accepted += 1
        else:
            with pytest.raises(RecordError, match="of padding"):
                record_of(names)
    assert 50 < accepted < len(LAYOUTS) - 50
