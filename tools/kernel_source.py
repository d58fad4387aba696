"""Single files of the kernel's source, from Debian's linux-source packages, and its disassembler made to run.

They are what the tests measure bpfasm against. The files stay in the cache of the user who fetched them; none is
part of the project.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import debian

from bpfasm.lab import cache
from bpfasm.uapi import bpf

#: The series that Debian releases carry, beside the one that ``bpfasm.uapi`` is made from.
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}

FILES = (
    "include/linux/filter.h",
    "include/uapi/linux/bpf.h",
    "include/uapi/linux/bpf_common.h",
    "kernel/bpf/core.c",
    "kernel/bpf/disasm.c",
    "kernel/bpf/disasm.h",
    "kernel/bpf/verifier.c",
    "samples/bpf/bpf_insn.h",
    "tools/include/linux/filter.h",
)


def newest() -> Path:
    """Return the directory with FILES of the kernel that ``bpfasm.uapi`` is made from."""
    _, version = re.search(r"from (\S+) (\S+),", str(bpf.__doc__)).groups()  # type: ignore[union-attr]
    series = ".".join(version.split(".")[:2])
    return cached(version) or extract(series, debian.KERNEL_SUITES, version)


def released(series: str) -> Path:
    """Return the directory with FILES of one of SUITES: what is cached, else its newest version."""
    return cached(f"{series}.*") or extract(series, (SUITES[series],))


def cached(version: str) -> Path | None:
    """Return the directory of a version that an earlier run has fetched; the version may be a pattern."""
    return max((cache.root() / "oracle").glob(version), default=None)


def extract(series: str, suites: tuple[str, ...], version: str = "") -> Path:
    """Fetch the package linux-source-SERIES; keep FILES of it. Raises debian.FetchError."""
    package = debian.fetch(f"linux-source-{series}", suites, version=version)
    kept = cache.root() / "oracle" / package.name.partition("_")[2]
    kept.parent.mkdir(parents=True, exist_ok=True)
    (archive,) = package.glob("usr/src/*.tar.xz")
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        wanted = set(FILES)
        with tarfile.open(archive, "r|xz") as tar:
            for member in tar:
                path = member.name.partition("/")[2]
                if path in wanted and (content := tar.extractfile(member)):
                    file = Path(scratch, "files", path)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content.read())
                    wanted.remove(path)
                if not wanted:
                    break
        if wanted:
            raise debian.FetchError(f"{archive.name} has no {', '.join(sorted(wanted))}")
        if not kept.exists():  # another run may have been first
            Path(scratch, "files").rename(kept)
    # The rest is 160 MB that nothing asks for again.
    shutil.rmtree(package, ignore_errors=True)
    return kept


# What disasm.c wants of the kernel's own headers, in user space.
SHIMS = {
    "linux/kernel.h": """\
#pragma once
#include <stdbool.h>
#include <linux/types.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
#define __printf(a, b) __attribute__((format(printf, a, b)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
""",
    "linux/stringify.h": """\
#pragma once
#define __stringify_1(x...) #x
#define __stringify(x...) __stringify_1(x)
""",
    "main.c": """\
#include <stdarg.h>
#include <stdio.h>
#include "disasm.h"

static void print(void *unused, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

/* What disasm.c leaves to whom it prints for; map[idx:] and subprog[] are bpftool's words. */
static const char *immediate(void *unused, const struct bpf_insn *insn, __u64 full)
{
    static char text[64];
    __s32 low = insn->imm, high = (insn + 1)->imm;

    switch (insn->src_reg) {
    case 1: snprintf(text, sizeof(text), "map[fd:%d]", low); break;
    case 2: snprintf(text, sizeof(text), "map[fd:%d][0]+%d", low, high); break;
    case 3: snprintf(text, sizeof(text), "btf[id:%d][fd:%d]", low, high); break;
    case 4: snprintf(text, sizeof(text), "subprog[%+d]", low); break;
    case 5: snprintf(text, sizeof(text), "map[idx:%d]", low); break;
    case 6: snprintf(text, sizeof(text), "map[idx:%d]+%d", low, high); break;
    default: snprintf(text, sizeof(text), "0x%llx", (unsigned long long)full);
    }
    return text;
}

/* In come two slots for each text: an instruction, and the second slot of one that has it. */
int main(void)
{
    const struct bpf_insn_cbs callbacks = { .cb_print = print, .cb_imm = immediate };
    struct bpf_insn slots[2];

    while (fread(slots, sizeof(slots), 1, stdin)) {
        print_bpf_insn(&callbacks, slots, true);
        putchar('\\0');
    }
    return 0;
}
""",
}


class Disassembler:
    """The kernel's kernel/bpf/disasm.c as a program: built with gcc in a directory of its own."""

    def __init__(self, source: Path, scratch: Path) -> None:
        for name, text in SHIMS.items():
            file = scratch / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.program = scratch / "disasm"
        paths = [f"-I{path}" for path in (scratch, source / "include/uapi", source / "kernel/bpf")]
        sources = [scratch / "main.c", source / "kernel/bpf/disasm.c"]
        subprocess.run(["gcc", "-O1", "-w", *paths, "-o", self.program, *sources], check=True)

    def texts(self, codes: list[bytes]) -> list[str]:
        """Return the text of each instruction, given as the bytes of its one or two slots.

        Older kernels end a text with a line feed; it is dropped.
        """
        slots = b"".join(code.ljust(16, b"\0") for code in codes)
        printed = subprocess.run([self.program], input=slots, capture_output=True, check=True).stdout.decode()
        return [text.rstrip("\n") for text in printed.split("\0")[:-1]]
