"""ELF files read: made here, of both byte orders and sizes, cut at every byte, and with every field changed."""

import os
import random
from pathlib import Path
from struct import Struct

import pytest

from bpfasm.elf.layout import fields, layout
from bpfasm.elf.read import Elf, Note, Relocation, Symbol, is_bpf, is_elf
from bpfasm.errors import DecodeError
from bpfasm.uapi import elf, elf_em

KINDS = [(bits, order) for bits in (32, 64) for order in ("little", "big")]
every_kind = pytest.mark.parametrize(("bits", "order"), KINDS)


def pack(name, bits, order, /, **values):
    """Return the bytes of a struct; what is not given is 0."""
    return layout(name, bits, order).pack(
        *(values.get(field.partition("_")[2], b"" if field == "e_ident" else 0) for field in fields(name, bits))
    )


def made(bits=64, order="little", machine=elf_em.EM_BPF):
    """Return a file with five sections behind the first: names, code, its relocations, symbols, a note."""
    names = b"\0.strtab\0.text\0.rel\0.symtab\0.note\0main\0.bss\0"
    info = (2 << 32 | 1) if bits == 64 else (2 << 8 | 1)
    bodies = {
        ".strtab": (elf.SHT_STRTAB, names, {}),
        ".text": (elf.SHT_PROGBITS, bytes(range(16)), {"flags": elf.SHF_ALLOC | elf.SHF_EXECINSTR}),
        ".rel": (elf.SHT_REL, pack("rel", bits, order, offset=8, info=info), {"info": 2, "link": 4}),
        ".symtab": (
            elf.SHT_SYMTAB,
            pack("sym", bits, order)
            + pack("sym", bits, order, name=names.index(b"main"), value=8, size=8, info=0x12, shndx=2)
            + pack("sym", bits, order, name=names.index(b"text"), shndx=elf.SHN_ABS),
            {"link": 1},
        ),
        ".note": (
            elf.SHT_NOTE,
            pack("note", bits, order, namesz=4, descsz=5, type=3) + b"GNU\0" + b"12345\0\0\0",
            {"addralign": 4},
        ),
        ".bss": (elf.SHT_NOBITS, b"", {"size": 1 << 20}),
    }
    sizes = {".rel": "rel", ".symtab": "sym"}
    data, rows = bytearray(layout("hdr", bits, order).size), [pack("shdr", bits, order)]
    for name, (type, body, more) in bodies.items():
        entsize = layout(sizes[name], bits, order).size if name in sizes else 0
        row = {"name": names.index(name.encode()), "type": type, "offset": len(data), "size": len(body)}
        rows.append(pack("shdr", bits, order, **row | {"entsize": entsize} | more))
        data += body
    segment = pack("phdr", bits, order, type=elf.PT_LOAD, flags=elf.PF_R, offset=0, vaddr=4096, filesz=8, memsz=16)
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]).ljust(12, b"\0")
    header = {
        "ident": ident, "type": elf.ET_REL, "machine": machine, "shoff": len(data), "shnum": len(rows),
        "shentsize": len(rows[0]), "shstrndx": 1, "phoff": len(data) + len(rows) * len(rows[0]), "phnum": 1,
        "phentsize": len(segment),
    }  # fmt: skip
    data[: layout("hdr", bits, order).size] = pack("hdr", bits, order, **header)
    return bytes(data + b"".join(rows) + segment)


def walk(data):
    """Ask a file for all that is in it."""
    file = Elf(data)
    everything = [file.symbols, file.dynamic_symbols, file.segments, file.notes, map(file.in_segment, file.segments)]
    for section in file.sections:
        everything += [file.contents(section), file.relocations(section)]
    return [list(each) for each in everything]


@every_kind
def test_a_file_is_read(bits, order):
    file = Elf(made(bits, order), "made.o")
    assert (file.bits, file.order, file.type, file.machine) == (bits, order, elf.ET_REL, elf_em.EM_BPF)
    assert [each.name for each in file.sections] == ["", ".strtab", ".text", ".rel", ".symtab", ".note", ".bss"]
    text = file.section(".text")
    assert (text.index, file.contents(text)) == (2, bytes(range(16)))
    assert file.contents(file.section(".bss")) == b""
    assert file.section(".data") is None
    assert file.symbols[1:] == (
        Symbol(("main", 8, 8, elf.STB_GLOBAL, elf.STT_FUNC, 2, 0)),
        Symbol(("text", 0, 0, 0, 0, elf.SHN_ABS, 0)),
    )
    assert file.dynamic_symbols == ()
    assert file.relocations(text) == (Relocation((8, 2, 1, None)),)
    assert file.notes == (Note("GNU", 3, b"12345"),)
    (segment,) = file.segments
    assert (segment.vaddr, segment.memsz, file.in_segment(segment)) == (4096, 16, made(bits, order)[:8])


@every_kind
def test_a_symbol_is_found_by_its_name(bits, order):
    file = Elf(made(bits, order), "made.o")
    assert {name: file.symbols_named(name) for name in ("main", "text", ".text", "ext", "mai", "")} == {
        "main": (file.symbols[1],), "text": (file.symbols[2],), ".text": (), "ext": (), "mai": (),
        "": (file.symbols[0],),
    }  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="nothing here lists the libraries of a process")
def test_symbols_of_libraries_are_those_of_their_names():
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    assert paths
    for path in paths:
        file, named = Elf(Path(path).read_bytes(), path), {}
        for symbol in (*file.symbols, *file.dynamic_symbols):
            named.setdefault(symbol.name.partition("@")[0], []).append(symbol)
        for name in random.Random(path).sample(sorted(named), min(len(named), 20)):
            assert list(file.symbols_named(name)) == named[name], name


def test_bpf_objects_are_told_from_others():
    for bits, order in KINDS:
        assert is_bpf(made(bits, order))
        assert not is_bpf(made(bits, order, elf_em.EM_X86_64))
    assert is_elf(made(machine=elf_em.EM_X86_64))
    assert not is_elf(b"\x7fEL")
    assert not is_bpf(made()[:19])


@every_kind
def test_a_cut_file_is_refused_wherever_it_is_cut(bits, order):
    data = made(bits, order)
    for length in range(len(data)):
        with pytest.raises(DecodeError) as refused:
            walk(data[:length])
        assert refused.value.rule == "elf"


@every_kind
def test_tables_beyond_all_memory_are_refused(bits, order):
    data = bytearray(made(bits, order))
    at = 0x28 if bits == 64 else 0x20
    data[at : at + bits // 8] = b"\xff" * (bits // 8)  # e_shoff
    with pytest.raises(DecodeError) as refused:
        walk(bytes(data))
    assert refused.value.rule == "elf"


#: How many changed files of each kind are read; ./run fuzz wants more, of all together as many as it is told.
MUTANTS = int(os.environ.get("BPFASM_FUZZ_COUNT", 2000 * len(KINDS))) // len(KINDS)


@pytest.mark.fuzz
@every_kind
def test_changed_bytes_give_a_value_or_our_error(bits, order):
    data, chance, refused = made(bits, order), random.Random(f"{bits} {order}"), 0
    for _ in range(MUTANTS):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        try:
            walk(bytes(changed))
        except DecodeError:
            refused += 1
    assert MUTANTS // 10 < refused < MUTANTS


def test_names_that_are_all_there_is_do_not_multiply():
    """Each of 5000 symbols has a name that ends with the file's half a megabyte."""
    bits, order = 64, "little"
    count, strings = 5000, b"a" * (1 << 19)
    symbols = b"".join(pack("sym", bits, order, name=n) for n in range(count))
    size, row = layout("hdr", bits, order).size, layout("shdr", bits, order).size
    places = [(elf.SHT_STRTAB, strings, 0), (elf.SHT_SYMTAB, symbols, layout("sym", bits, order).size)]
    rows, at = [bytes(row)], size
    for type, body, entsize in places:
        more = {"offset": at, "size": len(body), "entsize": entsize, "link": 1}
        rows.append(pack("shdr", bits, order, type=type, **more))
        at += len(body)
    header = pack("hdr", bits, order, ident=b"\x7fELF\x02\x01\x01", shoff=at, shnum=3, shentsize=row, type=elf.ET_REL)
    file = Elf(header + strings + symbols + b"".join(rows))
    with pytest.raises(DecodeError, match="names are longer than all of it"):
        file.symbols


def test_sections_that_are_the_same_bytes_are_refused():
    data = bytearray(made())
    header = Struct("<Q").unpack_from(data, 40)[0]
    for number in range(1, 6):
        Struct("<QQ").pack_into(data, header + 64 * number + 24, 0, len(data))
    with pytest.raises(DecodeError, match="its sections take"):
        Elf(bytes(data)).sections
