"""Where in a file a function or a mark is: what a uprobe is made at.

A uprobe is at a place of the file, not of memory: the offset of the segment that has the code, and what the symbol's
address is beyond the segment's.
"""

from __future__ import annotations

from bpfasm.elf.usdt import UsdtArg, parse_args
from bpfasm.errors import DecodeError, InputError
from bpfasm.uapi import elf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.elf.read import Elf, Symbol

#: What a function may be: one, or one that picks another when the program is loaded (STT_GNU_IFUNC).
_IFUNC = 10
_FUNCTIONS = (uapi.STT_FUNC, _IFUNC)

#: The notes of marks: their owner and their type.
_OWNER, _MARK = "stapsdt", 3


class Mark(Value):
    """A mark (USDT): its names, where in the file it is, its semaphore's offset in the file or 0, its arguments."""

    provider: str
    name: str
    offset: int
    semaphore: int
    args: tuple[UsdtArg, ...]


def file_offset(file: Elf, address: int) -> int | None:
    """Return where in the file an address is, None where no part of the file is loaded there."""
    for each in file.segments:
        if each.type == uapi.PT_LOAD and each.vaddr <= address < each.vaddr + each.filesz:
            return address - each.vaddr + each.offset
    return None


def functions(file: Elf) -> dict[str, Symbol]:
    """Return the functions that are in the file by name; versions (``@GLIBC_2.2.5``) are left out of the names."""
    return _functions((*file.symbols, *file.dynamic_symbols))


def _functions(symbols: Iterable[Symbol]) -> dict[str, Symbol]:
    found: dict[str, Symbol] = {}
    for symbol in symbols:
        if symbol.type in _FUNCTIONS and symbol.value and symbol.section != uapi.SHN_UNDEF:
            name = symbol.name.partition("@")[0]
            # Of several versions the one that a process is to pick is the newest.
            if name not in found or symbol.type == _IFUNC:
                found[name] = symbol
    return found


def function_offset(file: Elf, name: str, offset: int = 0) -> int:
    """Return where in the file a function is, and ``offset`` bytes into it. Raises InputError."""
    symbol = _functions(file.symbols_named(name)).get(name)
    if symbol is None:
        raise _no_function(file, name, functions(file))
    if symbol.type == _IFUNC:
        raise InputError(
            f"{name} of {file.name} is one of several functions, of which each process picks one when it starts",
            f"probe the one that is picked: gdb -p PID -batch -ex 'p {name}' names it",
            rule="uprobe-symbol",
        )
    if offset and offset >= symbol.size:
        raise InputError(
            f"{name} of {file.name} has {symbol.size} bytes, and +{offset:#x} lies behind it",
            "take the offset from the function's disassembly: objdump -d",
            rule="uprobe-offset",
        )
    found = file_offset(file, symbol.value + offset)
    if found is None:
        raise InputError(
            f"{name} of {file.name} is in no part that is loaded",
            "a file of debugging symbols has no code: name the program or library itself",
            rule="uprobe-symbol",
        )
    return found


def _no_function(file: Elf, name: str, there: dict[str, Symbol]) -> InputError:
    from difflib import get_close_matches

    everything = (*file.symbols, *file.dynamic_symbols)
    elsewhere = any(each.name.partition("@")[0] == name and not each.value for each in everything)
    near = [each for each in there if each[:1] == name[:1]]
    close = get_close_matches(name, near, n=3)
    if elsewhere:
        what, do = f"{name} is called by {file.name}, and is not in it", "name the library that has it: ldd FILE"
    elif not there:
        what = f"{file.name} has no symbols"
        do = "it was stripped: give an offset in the file, or a build with symbols"
    else:
        what = f"{file.name} has no function {name}"
        do = f"did you mean {' or '.join(close)}?" if close else "it is inlined, or local to a stripped file"
    return InputError(what, do, rule="uprobe-symbol")


def marks(file: Elf) -> tuple[Mark, ...]:
    """Return the marks (USDT) of a file. Raises DecodeError. (systemtap's UserSpaceProbeImplementation)"""
    base = file.section(".stapsdt.base")
    size = file.bits // 8
    found = []
    for note in file.notes:
        if (note.name, note.type) != (_OWNER, _MARK):
            continue
        numbers = [int.from_bytes(note.desc[at : at + size], file.order) for at in range(0, 3 * size, size)]
        words = note.desc[3 * size :].split(b"\0")
        if len(note.desc) < 3 * size or len(words) < 3:
            raise DecodeError(f"{file.name}: a mark's note is cut short", "the file is damaged", rule="usdt")
        provider, name, args = (word.decode("utf-8", "replace") for word in words[:3])
        location, noted, semaphore = numbers
        # The linker may have moved all since the note was written; the base tells by how much.
        moved = base.addr - noted if base else 0
        at = file_offset(file, location + moved)
        if at is None:
            continue  # of a file with debugging symbols only
        counter = file_offset(file, semaphore + moved) if semaphore else 0
        found.append(Mark(provider, name, at, counter or 0, parse_args(args)))
    return tuple(found)
