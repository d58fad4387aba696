"""Objects for tests: C sources compiled by Debian's clang 14 and 19, and what libbpf and bpfasm make of them."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parent / "data" / "objects"
COMPILERS = ("clang-14", "clang-19")
NAMES = sorted(path.name.removesuffix(".bpf.c") for path in SOURCES.glob("*.bpf.c"))

#: Each object's name: of what source, by which compiler.
OBJECTS = [f"{name}.{compiler.partition('-')[2]}.o" for name in NAMES for compiler in COMPILERS]

#: Objects whose programs are of no use without each other.
TOGETHER = ("prog_array",)


def lacking():
    """Return which of the packages that this takes is not there, or nothing."""
    wanted = [*((tool, tool) for tool in COMPILERS), ("gcc", "gcc")]
    return next((package for tool, package in wanted if not shutil.which(tool)), None) or (
        None if Path("/usr/include/bpf/libbpf.h").exists() and Path("/usr/include/libelf.h").exists()
        else "libbpf-dev libelf-dev zlib1g-dev"
    )  # fmt: skip


def compile_one(source, target, compiler):
    """Compile a source, which finds house.h wherever it is."""
    command = [compiler, "-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-Wno-unused-function"]
    command += [f"-I/usr/include/{os.uname().machine}-linux-gnu", f"-I{SOURCES}", "-c", source.name, "-o", target]
    subprocess.run(command, cwd=source.parent, check=True)


def compile_all(folder, names=NAMES, compilers=COMPILERS):
    """Compile sources with each compiler; return the folder. All of them take 5 s of processor time."""

    def one(job):
        name, compiler = job
        compile_one(SOURCES / f"{name}.bpf.c", folder / f"{name}.{compiler.partition('-')[2]}.o", compiler)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, [(name, compiler) for name in names for compiler in compilers]))
    return folder


def build_loader(folder):
    """Build the loader by libbpf, which needs nothing else to run; return its path."""
    path = folder / "object_load"
    sources = [HERE / "object_load.c", "-lbpf", "-lelf", "-lz"]
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-static", "-o", path, *sources], check=True)
    return path


def words(objects):
    """Return objects as the arguments that both loaders take."""
    return [word for each in objects for word in (["-a"] if each.split(".")[0] in TOGETHER else []) + [each]]


def rows(text):
    """Return what a loader has printed, by object and program."""
    found = [json.loads(line) for line in text.splitlines()]
    return {(row["object"], row.get("program")): row for row in found}


def code(row):
    """Return the slots of a program as the kernel has them, with names in the place of maps' ids."""
    names = {about["id"]: name for name, about in row["maps"].items()}
    data = bytes.fromhex(row["xlated"])
    found = []
    for at in range(0, len(data), 8):
        op, registers, number = data[at], data[at + 1], int.from_bytes(data[at + 4 : at + 8], "little")
        loads_map = op == 0x18 and registers >> 4 in (1, 2)
        found.append((op, registers, names[number]) if loads_map else data[at : at + 8].hex())
    return found


def without_ids(row):
    """Return what is said of a program that does not differ from load to load.

    Of two names of maps that begin alike, libbpf makes one.
    """
    maps = {name: {key: about[key] for key in about if key != "id"} for name, about in row["maps"].items()}
    for about in maps.values():
        about["name"] = about["name"].replace("a_map_with_a__2", "a_map_with_a_lo")
    return {key: value for key, value in row.items() if key not in ("xlated", "maps")} | {"maps": maps}
