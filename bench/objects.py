"""What reading an object costs: all of it, beside pyelftools, which merely walks over the same file.

    python3 bench/objects.py [ROUNDS] [OBJECT]

Needs pyelftools, and without an OBJECT clang, which makes one of half a megabyte. The two take turns in one process;
medians of the processor's milliseconds are printed. Walking is: every section, symbol and
relocation. Reading is: every program with its operands, maps, variables, types, lines and CO-RE records, laid out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bpfasm.asm import assemble  # noqa: E402
from bpfasm.elf.object import Object, read_object  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 500_000


def source(functions: int) -> str:
    """Return a program of so many functions, each with a map, a variable, a field of the kernel's and a string."""
    head = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct task_struct { int pid, tgid; char comm[16]; } __attribute__((preserve_access_index));
char _license[] SEC("license") = "GPL";
"""
    body = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 8); }
map_NN SEC(".maps");
int seen_NN;
static __attribute__((noinline)) int work_NN(int x, int y) { return x * NN + (y ^ (x + 3)) + seen_NN; }
SEC("raw_tp") int prog_NN(void *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    __u32 key = BPF_CORE_READ(task, tgid) + NN;
    __u64 one = 1, *value = bpf_map_lookup_elem(&map_NN, &key);
    if (value) { *value += 1; seen_NN += *value; } else bpf_map_update_elem(&map_NN, &key, &one, 0);
    seen_NN += work_NN(key, seen_NN) + work_NN(seen_NN, key);
    if (bpf_core_field_exists(task->comm)) seen_NN++;
    bpf_printk("prog NN has seen %d of %d", seen_NN, key);
    return seen_NN;
}
"""
    return head + "".join(body.replace("NN", str(number)) for number in range(functions))


def made() -> bytes:
    """Return an object of about half a megabyte."""
    compiler = shutil.which("clang-19") or shutil.which("clang-14")
    if compiler is None:
        sys.exit(
            "error: bench/objects.py needs clang\nas root: apt-get install clang-19 libbpf-dev, or name an object"
        )
    machine = subprocess.run(["gcc", "-dumpmachine"], capture_output=True, text=True, check=False).stdout.strip()
    functions = 150
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(4):
            path = Path(folder, "made.c")
            path.write_text(source(functions))
            command = [
                compiler,
                "-target",
                "bpf",
                "-g",
                "-O2",
                "-w",
                f"-I/usr/include/{machine or 'x86_64-linux-gnu'}",
            ]
            subprocess.run([*command, "-c", path, "-o", f"{folder}/made.o"], check=True)
            data = Path(folder, "made.o").read_bytes()
            if abs(len(data) - SIZE) < SIZE // 20:
                break
            functions = round(functions * SIZE / len(data))
    return data


def read(data: bytes) -> Object:
    """Read an object, and lay its programs out."""
    found = read_object(data, "made.o")
    for program in found.programs:
        assemble(program)
    return found


def walk(data: bytes) -> int:
    """Go over an ELF file with pyelftools."""
    from elftools.elf.elffile import ELFFile  # type: ignore[import-not-found]
    from elftools.elf.relocation import RelocationSection  # type: ignore[import-not-found]
    from elftools.elf.sections import SymbolTableSection  # type: ignore[import-not-found]

    count = 0
    for section in ELFFile(BytesIO(data)).iter_sections():
        count += len(section.data()) > 0
        if isinstance(section, SymbolTableSection):
            count += sum(symbol.name is not None for symbol in section.iter_symbols())
        elif isinstance(section, RelocationSection):
            count += sum(relocation["r_offset"] >= 0 for relocation in section.iter_relocations())
    return count


def timed(function: Callable[[bytes], object], data: bytes) -> float:
    """Return how many milliseconds of the processor a call takes."""
    start = time.process_time()
    function(data)
    return (time.process_time() - start) * 1e3


def main(words: list[str]) -> int:
    """Print what both cost."""
    try:
        import elftools  # type: ignore[import-not-found]
    except ImportError:
        sys.exit("error: bench/objects.py compares with pyelftools, which is not installed\npip install pyelftools")
    rounds = int(words[0]) if words else 15
    data = Path(words[1]).read_bytes() if len(words) > 1 else made()
    found = read(data)
    slots = sum(len(program.insns) for program in found.programs)
    print(f"{len(data)} bytes: {len(found.programs)} programs of {slots} instructions, {len(found.maps)} maps")
    times: dict[str, list[float]] = {"read": [], "walk": []}
    for _ in range(rounds):
        times["read"].append(timed(read, data))
        times["walk"].append(timed(walk, data))
    ours, theirs = median(times["read"]), median(times["walk"])
    print(f"read (bpfasm)                    {ours:8.1f} ms")
    print(f"walk (pyelftools {elftools.__version__})           {theirs:8.1f} ms")
    print(f"ratio                            {ours / theirs:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
