"""ELF files of many machines as we read them, and as llvm-readelf does."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpfasm.elf.read import Elf
from bpfasm.uapi import elf

pytestmark = pytest.mark.oracle

READELF, MC = "llvm-readelf-19", "llvm-mc-19"

#: 32 and 64 bits, both byte orders, relocations with and without addends.
TRIPLES = (
    "aarch64-linux", "aarch64_be-linux", "armv7-linux", "armeb-linux", "bpfel", "bpfeb", "i386-linux",
    "loongarch64-linux", "m68k-linux", "mips-linux", "mipsel-linux", "powerpc-linux", "powerpc64-linux",
    "powerpc64le-linux", "riscv32-linux", "riscv64-linux", "s390x-linux", "sparc-linux", "sparcv9-linux",
    "x86_64-linux",
)  # fmt: skip

SOURCE = """
    .text
    .globl first
    .type first,%function
first:
    .long 0
    .size first, 4
    .section .note.house,"",%note
    .long 6, 3, 7
    .asciz "house"
    .byte 0, 0
    .byte 1, 2, 3, 0
    .section "with space","aw",%progbits
    .weak second
second:
    .long first
    .long elsewhere
    .size second, 8
    .bss
    .globl third
third:
    .zero 64
    .size third, 64
"""


def described(path):
    """Return what llvm-readelf says of a file, in our words."""
    options = ("--sections", "--symbols", "--dyn-symbols", "--relocations", "--segments", "--notes", "--file-header")
    command = [READELF, "--elf-output-style=JSON", *options, str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)[0]
    header = told["ElfHeader"]
    type = int(re.search("0x([0-9a-f]+)", header["Type"])[1], 16)
    sections = [each["Section"] for each in told["Sections"]]

    def symbols(rows):
        for row in (each["Symbol"] for each in rows):
            yield (
                row["Name"]["Name"].partition("@")[0], row["Value"], row["Size"], row["Binding"]["Value"],
                row["Type"]["Value"], row["Section"]["Value"],
            )  # fmt: skip

    segments = [each["ProgramHeader"] for each in told["ProgramHeaders"]]
    return {
        "header": (type, header["Machine"]["Value"], header["Entry"]),
        "sections": [
            (
                row["Index"], row["Name"]["Name"], row["Type"]["Value"], row["Flags"]["Value"], row["Address"],
                row["Offset"], row["Size"], row["Link"], row["Info"], row["AddressAlignment"], row["EntrySize"],
            )
            for row in sections
        ],
        "symbols": list(symbols(told.get("Symbols", []))),
        "dynamic": list(symbols(told.get("DynamicSymbols", []))),
        "segments": [
            (
                row["Type"]["Value"], row["Flags"]["Value"], row["Offset"], row["VirtualAddress"],
                row["PhysicalAddress"], row["FileSize"], row["MemSize"], row["Alignment"],
            )
            for row in segments
        ],
        "relocations": [
            (
                rows["SectionIndex"],
                [
                    (row["Offset"], row["Symbol"]["Value"] or None, row["Type"]["Value"], row.get("Addend") or 0)
                    for row in (each["Relocation"] for each in rows["Relocs"])
                ],
            )
            for rows in told["Relocations"]
            if sections[rows["SectionIndex"]]["Type"]["Value"] in (elf.SHT_REL, elf.SHT_RELA)
        ],
        "notes": [
            (note["Owner"], note["Data size"])
            for rows in told["NoteSections"]
            for note in rows["NoteSection"]["Notes"]
        ],
    }  # fmt: skip


def read(path):
    """Return what we say of it."""
    file = Elf(path.read_bytes(), str(path))

    def symbols(rows):
        return [
            (each.name.partition("@")[0], each.value, each.size, each.bind, each.type, each.section) for each in rows
        ]

    tables = [each for each in file.sections if each.type in (elf.SHT_REL, elf.SHT_RELA)]
    return {
        "header": (file.type, file.machine, file.entry),
        "sections": [tuple(each.__dict__.values()) for each in file.sections],
        "symbols": symbols(file.symbols),
        "dynamic": symbols(file.dynamic_symbols),
        "segments": [tuple(each.__dict__.values()) for each in file.segments],
        "relocations": [
            (
                table.index,
                [
                    (each.offset, each.symbol or None, each.type, each.addend or 0)
                    for each in file._relocations(table)
                ],
            )
            for table in tables
        ],
        "notes": [(each.name, len(each.desc)) for each in file.notes],
    }


@pytest.fixture(scope="module", autouse=True)
def tools():
    for tool in (READELF, MC):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool} (apt install llvm-19)")


def same(path):
    told, found = described(path), read(path)
    assert found.keys() == told.keys()
    for what in found:
        assert found[what] == told[what], what
    return found


@pytest.mark.parametrize("triple", TRIPLES)
def test_an_object_of_a_machine(triple, tmp_path):
    path = tmp_path / "made.o"
    subprocess.run([MC, f"-triple={triple}", "-filetype=obj", "-o", path], input=SOURCE, text=True, check=True)
    found = same(path)
    assert {name for name, *_ in found["symbols"]} >= {"first", "second", "elsewhere", "third"}
    assert found["notes"] == [("house", 3)]
    (table,) = [rows for _, rows in found["relocations"]]
    assert [offset for offset, *_ in table] == [0, 4]


@pytest.mark.parametrize("path", [sys.executable, "/bin/true"])
def test_a_program_of_this_machine(path):
    found = same(Path(path).resolve())
    assert found["segments"] and found["dynamic"]
    assert "GNU" in dict(found["notes"])


def test_the_c_library():
    """Thousands of symbols, and versions of them."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    path = next((Path(line.split()[-1]) for line in maps if "/libc.so" in line or "/libc-" in line), None)
    if path is None:
        pytest.skip("this Python is linked with no C library of its own file")
    assert len(same(path)["dynamic"]) > 1000


def test_more_sections_than_a_header_can_say(tmp_path):
    """65,400 sections: their number, that of their names' section, and those of symbols are elsewhere."""
    source, path = tmp_path / "many.s", tmp_path / "many.o"
    lines = [f'.section s{n},"a",%progbits\nv{n}: .byte {n % 256}\n' for n in range(65_400)]
    source.write_text("".join(lines))
    subprocess.run([MC, "-triple=x86_64-linux", "-filetype=obj", "-o", path, source], check=True)
    file = Elf(path.read_bytes())
    assert len(file.sections) == 65_400 + 4 + 1  # none, .strtab, .text, .symtab, and the numbers of sections
    symbols = {each.name: each for each in file.symbols}
    for number in (0, 1, 65_000, 65_399):
        symbol = symbols[f"v{number}"]
        assert file.sections[symbol.section].name == f"s{number}"
        assert file.contents(file.sections[symbol.section]) == bytes([number % 256])
