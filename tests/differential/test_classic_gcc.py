"""Classic BPF's macros against gcc over the header of user space."""

import random
import subprocess
import sys

import pytest

from bpfasm.asm.classic import BPF_JUMP, BPF_STMT, encode

pytestmark = pytest.mark.oracle


def test_bytes_are_those_of_the_headers_macros(tmp_path):
    rng = random.Random(0)
    calls = []
    for _ in range(500):
        code, k, jt, jf = (rng.getrandbits(bits) for bits in (16, 32, 8, 8))
        calls += [(f"BPF_STMT({code}, {k}u)", BPF_STMT(code, k))]
        calls += [(f"BPF_JUMP({code}, {k}u, {jt}, {jf})", BPF_JUMP(code, k, jt, jf))]
    source = tmp_path / "classic.c"
    body = ",\n".join(text for text, _ in calls)
    source.write_text(
        "#include <linux/filter.h>\n#include <stdio.h>\n"
        f"static struct sock_filter f[] = {{ {body} }};\n"
        "int main(void) { fwrite(f, sizeof f[0], sizeof f / sizeof f[0], stdout); }\n"
    )
    try:
        subprocess.run(["gcc", "-w", "-o", tmp_path / "classic", source], check=True)
    except FileNotFoundError:
        pytest.skip("needs gcc: apt-get install gcc libc6-dev")
    printed = subprocess.run([tmp_path / "classic"], check=True, capture_output=True).stdout
    assert printed == encode([insn for _, insn in calls], sys.byteorder)
