"""Classic BPF as text: the numbers of ``tcpdump -ddd``, ``-dd`` and iptables, and the words of ``tcpdump -d``.

>>> from bpfasm.asm.syntax import tcpdump
>>> only_ip = tcpdump.read("4\\n40 0 0 12\\n21 0 1 2048\\n6 0 0 262144\\n6 0 0 0\\n", "-")
>>> print("\\n".join(tcpdump.listing(only_ip)))
(000) ldh      [12]
(001) jeq      #0x800           jt 2	jf 3
(002) ret      #262144
(003) ret      #0
>>> tcpdump.read("\\n".join(tcpdump.listing(only_ip)), "-") == only_ip
True
"""

from __future__ import annotations

import re

from bpfasm.asm.classic import SockFilter
from bpfasm.errors import DecodeError
from bpfasm.uapi import bpf_common as c, filter as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

_NUMBER = r"(?:0[xX][0-9a-fA-F]+|\d+)"
_ROW = re.compile(rf"\s*({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})\s*$")
_BRACES = re.compile(
    rf"\s*\{{\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,?\s*\}}\s*[,;]*\s*$"
)
_WORDS = re.compile(r"\s*\((\d+)\)\s+(\S.*?)\s*$")
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_LIMITS = (0xFFFF, 0xFF, 0xFF, 0xFFFF_FFFF)

_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET = c.BPF_LD, c.BPF_LDX, c.BPF_ST, c.BPF_STX, c.BPF_ALU, c.BPF_JMP, c.BPF_RET
_MISC = c.BPF_MISC
_SIZES = {c.BPF_W: "", c.BPF_H: "h", c.BPF_B: "b"}
_OPS = {
    c.BPF_ADD: "add", c.BPF_SUB: "sub", c.BPF_MUL: "mul", c.BPF_DIV: "div", c.BPF_MOD: "mod", c.BPF_AND: "and",
    c.BPF_OR: "or", c.BPF_XOR: "xor", c.BPF_LSH: "lsh", c.BPF_RSH: "rsh",
}  # fmt: skip
_JUMPS = {c.BPF_JEQ: "jeq", c.BPF_JGT: "jgt", c.BPF_JGE: "jge", c.BPF_JSET: "jset"}


def _table() -> dict[int, str]:
    """Return how each code is written: its mnemonic and operand, with ``%`` for k."""
    words: dict[int, str] = {}
    for size, letter in _SIZES.items():
        words[_LD | size | c.BPF_ABS] = f"ld{letter} [%d]"
        words[_LD | size | c.BPF_IND] = f"ld{letter} [x + %d]"
    words |= {
        _LD | c.BPF_IMM: "ld #0x%x",
        _LD | c.BPF_MEM: "ld M[%d]",
        _LD | c.BPF_W | c.BPF_LEN: "ld #pktlen",
        _LDX | c.BPF_W | c.BPF_IMM: "ldx #0x%x",
        _LDX | c.BPF_W | c.BPF_MEM: "ldx M[%d]",
        _LDX | c.BPF_W | c.BPF_LEN: "ldx #pktlen",
        _LDX | c.BPF_B | c.BPF_MSH: "ldxb 4*([%d]&0xf)",
        _ST: "st M[%d]",
        _STX: "stx M[%d]",
        _ALU | c.BPF_NEG: "neg",
        _JMP | c.BPF_JA: "ja %d",
        _RET | c.BPF_K: "ret #%d",
        _RET | c.BPF_X: "ret x",
        _RET | f.BPF_A: "ret",
        _MISC | f.BPF_TAX: "tax",
        _MISC | f.BPF_TXA: "txa",
    }
    for op, name in _OPS.items():
        shift = op in (c.BPF_LSH, c.BPF_RSH, c.BPF_ADD, c.BPF_SUB, c.BPF_MUL, c.BPF_DIV, c.BPF_MOD)
        words[_ALU | op | c.BPF_K] = f"{name} #{'%d' if shift else '0x%x'}"
        words[_ALU | op | c.BPF_X] = f"{name} x"
    for op, name in _JUMPS.items():
        words[_JMP | op | c.BPF_K] = f"{name} #0x%x"
        words[_JMP | op | c.BPF_X] = f"{name} x"
    return words


WORDS = _table()

#: What libpcap calls the places that stand for what the kernel knows of a packet.
_EXTENSIONS = {
    (f.SKF_AD_OFF + place) & 0xFFFF_FFFF: name
    for place, name in {
        f.SKF_AD_PROTOCOL: "proto", f.SKF_AD_PKTTYPE: "type", f.SKF_AD_IFINDEX: "ifidx", f.SKF_AD_NLATTR: "nla",
        f.SKF_AD_NLATTR_NEST: "nlan", f.SKF_AD_MARK: "mark", f.SKF_AD_QUEUE: "queue", f.SKF_AD_HATYPE: "hatype",
        f.SKF_AD_RXHASH: "rxhash", f.SKF_AD_CPU: "cpu", f.SKF_AD_ALU_XOR_X: "xor_x", f.SKF_AD_VLAN_TAG: "vlan_tci",
        f.SKF_AD_VLAN_TAG_PRESENT: "vlanp", f.SKF_AD_PAY_OFFSET: "poff", f.SKF_AD_RANDOM: "random",
        f.SKF_AD_VLAN_TPID: "vlan_tpid",
    }.items()
}  # fmt: skip
_PLACES = {name: str(place) for place, name in _EXTENSIONS.items()}
_CODES = {text.split(" ", 1)[0] + " " + re.sub(r"(?:0x)?%[dx]", "%", text).partition(" ")[2]: code
          for code, text in WORDS.items()}  # fmt: skip


def text(insn: SockFilter, pc: int) -> str:
    """Return an instruction as ``tcpdump -d`` prints it; one of no known code as its four numbers."""
    pattern = WORDS.get(insn.code)
    jumps = insn.code & 7 == _JMP and insn.code & 0xF0 != c.BPF_JA
    if pattern is None or (not jumps and (insn.jt or insn.jf)):
        return f"({pc:03d}) unimp    {insn.code:#x}, {insn.jt}, {insn.jf}, {insn.k:#x}"
    name, _, operand = pattern.partition(" ")
    if "%" not in operand and insn.k and operand not in ("x",):
        return f"({pc:03d}) unimp    {insn.code:#x}, {insn.jt}, {insn.jf}, {insn.k:#x}"
    if operand == "x" and insn.k:
        return f"({pc:03d}) unimp    {insn.code:#x}, {insn.jt}, {insn.jf}, {insn.k:#x}"
    if name == "ja":
        shown = str(pc + 1 + insn.k)
    else:
        shown = _shown(operand, insn.k)
    line = f"({pc:03d}) {name:<8} {shown}".rstrip()
    return f"({pc:03d}) {name:<8} {shown:<16} jt {pc + 1 + insn.jt}\tjf {pc + 1 + insn.jf}" if jumps else line


def _shown(operand: str, k: int) -> str:
    """Return an operand with its number, which libpcap prints with a sign, or by the name of an extension."""
    if operand == "[%d]" and k in _EXTENSIONS:
        return f"[{_EXTENSIONS[k]}]"
    if "%d" in operand:
        return operand % (k - (k >> 31 << 32))
    return operand % k if "%" in operand else operand


def listing(insns: Iterable[SockFilter]) -> list[str]:
    """Return the lines of ``tcpdump -d``."""
    return [text(insn, pc) for pc, insn in enumerate(insns)]


def numbers(insns: Iterable[SockFilter]) -> list[str]:
    """Return the lines of ``tcpdump -ddd``: how many there are, then code, jt, jf and k of each."""
    rows = [f"{insn.code} {insn.jt} {insn.jf} {insn.k}" for insn in insns]
    return [str(len(rows)), *rows]


def macros(insns: Iterable[SockFilter]) -> list[str]:
    """Return an array of ``struct sock_filter`` in C."""
    return [f"\t{{ {insn.code:#x}, {insn.jt}, {insn.jf}, {insn.k:#010x} }}," for insn in insns]


def looks_classic(text: str) -> bool:
    """Tell whether a text is classic BPF: rows of four numbers, or the words of ``tcpdump -d``."""
    rows = [line for _, line in _rows(text)]
    if not rows:
        return False
    if len(rows) == 1 and rows[0].count(",") and re.match(r"\s*\d+\s*,\s*\d+ \d+ \d+ \d+", rows[0]):
        return True
    if all(_WORDS.match(row) for row in rows):
        return True
    if rows[0].strip().isdecimal() and len(rows) > 1:
        # Hex digits may look the same: the count says which it is.
        return rows[0].strip().lstrip("0") == str(len(rows) - 1) and all(_ROW.match(row) for row in rows[1:])
    return all(_BRACES.match(row) for row in rows)


def read(text: str, file: str) -> list[SockFilter]:
    """Return the classic instructions of a text. Raises DecodeError with the line."""
    rows = _rows(text)
    if not rows:
        _refuse(file, 1, "there is no instruction in it", "tcpdump -ddd FILTER prints one a line", "text-empty")
    if len(rows) == 1 and "," in rows[0][1] and "{" not in rows[0][1] and not _WORDS.match(rows[0][1]):
        number, line = rows[0]
        rows = [(number, piece) for piece in line.split(",") if piece.strip()]
    if all(_WORDS.match(row) for _, row in rows):
        return [_word(row, number, at, file) for at, (number, row) in enumerate(rows)]
    count = None
    if rows[0][1].strip().isdecimal():
        count = int(rows[0][1].strip()[:9])
        rows = rows[1:]
    found = []
    for number, line in rows:
        match = _BRACES.match(line) or _ROW.match(line)
        if not match:
            _refuse(file, number, f"{line.strip()[:60]!r} is not four numbers", "they are code, jt, jf and k")
        found.append(_row([_number(each) for each in match.groups()], number, file))
    if count is not None and count != len(found):
        what = f"the first line says {count} instructions, and {len(found)} follow"
        _refuse(file, rows[-1][0] if rows else 1, what, "tcpdump -ddd prints both; the end may be missing")
    return found


def _rows(text: str) -> list[tuple[int, str]]:
    """Return the lines of a text, with their numbers, that are neither empty nor comments."""
    if "/*" in text:
        text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    lines = enumerate(text.replace("\r", "").split("\n"), 1)
    return [
        (number, line) for number, line in lines if line.strip() and not line.lstrip().startswith(("#", ";", "//"))
    ]


def _number(text: str) -> int:
    return int(text[:24], 16 if text[:2] in ("0x", "0X") else 10)


def _row(numbers: list[int], line: int, file: str) -> SockFilter:
    for name, value, limit in zip(("code", "jt", "jf", "k"), numbers, _LIMITS, strict=True):
        if not 0 <= value <= limit:
            _refuse(file, line, f"{name} is {value}, and it takes 0 to {limit}", "the numbers are code, jt, jf and k")
    return SockFilter(*numbers)


def _word(row: str, line: int, at: int, file: str) -> SockFilter:
    """Read a line of ``tcpdump -d``."""
    match = _WORDS.match(row)
    assert match
    if int(match[1][:9]) != at:
        _refuse(file, line, f"this is instruction {at}, and it says {match[1]}", "a line is missing before it")
    words = re.sub(r"\s+", " ", match[2])
    jt = jf = 0
    jump = re.search(r" jt (\d{1,9}) jf (\d{1,9})$", words)
    if jump:
        jt, jf = int(jump[1]) - at - 1, int(jump[2]) - at - 1
        words = words[: jump.start()]
    name, _, operand = words.partition(" ")
    operand = re.sub(r"^\[(\w+)\]$", lambda place: f"[{_PLACES.get(place[1], place[1])}]", operand)
    if name == "unimp":
        found = re.findall(_NUMBER, operand)
        if len(found) == 4:
            return _row([_number(each) for each in found], line, file)
    numbers = re.findall(
        rf"(?<![a-z0-9*(-])-?{_NUMBER}(?!xf\))", operand.replace("4*(", "  (").replace("&0xf", "    ")
    )
    shape = f"{name} {re.sub(rf'(?<![a-z0-9-])-?{_NUMBER}', '%', operand.replace('4*', '').replace('&0xf', '@'))}"
    shape = shape.replace("ldxb ([%]@)", "ldxb 4*([%]&0xf)").rstrip()
    code = next((code for known, code in _CODES.items() if known.rstrip() == shape), None)
    if code is None:
        from difflib import get_close_matches

        close = get_close_matches(shape, _CODES, n=1)
        _refuse(file, line, f"{words!r} is no classic instruction", f"the nearest is {close[0]}" if close else
                "write it as tcpdump -d does: ldh [12]")  # fmt: skip
    k = _number(numbers[0]) if numbers else 0
    if name == "ja":
        k = k - at - 1
    return _row([code, jt, jf, k & 0xFFFF_FFFF if -(1 << 31) <= k < 0 else k], line, file)


def _refuse(file: str, line: int, what: str, do: str, rule: str = "classic-text") -> NoReturn:
    raise DecodeError(what, do, source=(file, line), rule=rule)
