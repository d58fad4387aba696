"""Write ``bpfasm/uapi`` from the newest kernel headers that Debian packages.

Usage: python tools/gen_uapi.py [--check]

Needs apt-get, dpkg-deb, pycparser, and gcc as a preprocessor. The values of macros and enumerators and the
places of members are computed here; tests/differential/test_uapi_gcc.py compares every one with gcc's.
"""

from __future__ import annotations

import argparse
import operator
import re
import subprocess
import sys
import textwrap
from ast import literal_eval
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import debian
from pycparser import c_ast  # type: ignore[import-untyped]
from pycparser.c_parser import CParser  # type: ignore[import-untyped]

PACKAGE = "linux-libc-dev"
UAPI = Path(__file__).parents[1] / "bpfasm" / "uapi"

#: Python module -> C header
HEADERS = {
    "audit": "linux/audit.h",
    "bpf": "linux/bpf.h",
    "bpf_common": "linux/bpf_common.h",
    "btf": "linux/btf.h",
    "capability": "linux/capability.h",
    "elf": "linux/elf.h",
    "elf_em": "linux/elf-em.h",
    "errno": "asm-generic/errno.h",
    "errno_base": "asm-generic/errno-base.h",
    "filter": "linux/filter.h",
    "if_ether": "linux/if_ether.h",
    "if_link": "linux/if_link.h",
    "in_": "linux/in.h",
    "ip": "linux/ip.h",
    "ipv6": "linux/ipv6.h",
    "membarrier": "linux/membarrier.h",
    "netfilter": "linux/netfilter.h",
    "perf_event": "linux/perf_event.h",
    "pkt_cls": "linux/pkt_cls.h",
    "seccomp": "linux/seccomp.h",
    "socket": "asm-generic/socket.h",
    "tcp": "linux/tcp.h",
    "udp": "linux/udp.h",
    "version": "linux/version.h",
}

#: object-like macros that are no constants: a guard, the other name of a member or a struct, a list of members; and
#: those of seccomp.h and tcp.h that are made by a macro of a header that they do not include
SKIPPED = {
    *("__UAPI_DEF_ETHHDR", "sin_zero", "tc_gen"),
    *("ipv6_destopt_hdr", "ipv6_hopopt_hdr", "rt0_type", "rt2_type"),
    *(f"SECCOMP_IOCTL_NOTIF_{name}" for name in ("RECV", "SEND", "ID_VALID", "ADDFD", "SET_FLAGS")),
    *(f"TCP_ACCECN_{name}" for name in ("ACE_FAIL_SEND", "ACE_FAIL_RECV", "OPT_FAIL_SEND", "OPT_FAIL_RECV")),
}

#: machine as ``os.uname()`` has it -> the directory of its own headers, the macro by which they know it
MACHINES = {
    "x86_64": ("x86_64-linux-gnu", "__x86_64__"),
    "aarch64": ("aarch64-linux-gnu", "__aarch64__"),
}

#: machine -> where the numbers of its system calls are: whose headers, which of them
UNISTD = {
    **{machine: (machine, "asm/unistd.h") for machine in MACHINES},
    "generic": ("aarch64", "asm-generic/unistd.h"),
}

#: system calls that Python's library does not wrap
SYSCALLS = ("__NR_bpf", "__NR_perf_event_open", "__NR_membarrier", "__NR_setns")


# C: values and layouts, on a little-endian 64-bit machine

#: what gcc predefines and the headers ask for, and GNU C that pycparser does not read
DEFINES = ("__LP64__", "__SIZEOF_INT128__=16", "__signed__=signed", "__inline__=inline", "__asm__(...)=")

#: the words of a scalar type, sorted and without what they imply -> the letter of Python's struct module
SCALARS = {
    "_Bool": "?",
    "char": "c",
    "char signed": "b",
    "char unsigned": "B",
    "short": "h",
    "short unsigned": "H",
    "": "i",
    "unsigned": "I",
    "long": "q",
    "long unsigned": "Q",
    "long long": "q",
    "long long unsigned": "Q",
}

SIZES = {"?": 1, "c": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8}

OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "&": operator.and_,
    "|": operator.or_,
    "<<": operator.lshift,
    ">>": operator.rshift,
}

#: prefix of the variables that hold the values of macros
VALUE_OF = "value_of_"

#: members that stand for attributes of the struct or union they are in
PACKED, ALIGNED = "packed__", "aligned__"

Members = dict[str, tuple[int, int, str]]


class Int(NamedTuple):
    """A value, and the format to write it in as the header does; ``<<`` is one bit, shifted."""

    value: int
    style: str = "d"

    def __str__(self) -> str:
        if self.style == "<<":
            return f"1 << {self.value.bit_length() - 1}"
        return format(self.value, self.style)


class Type(NamedTuple):
    """Size and alignment in bytes, the format as bpfasm.uapi has it, the members of a struct or union."""

    size: int
    align: int
    format: str
    members: Members | None = None


class Unit:
    """A translation unit: every name in it, taken in the order of the source."""

    def __init__(self, text: str) -> None:
        self.ints: dict[str, Int] = {}
        self.types: dict[str, Type] = {}
        self.bodies: list[c_ast.Enum | c_ast.Struct | c_ast.Union] = []
        for node in CParser().parse(text).ext:
            if not isinstance(node, c_ast.FuncDef):
                self.declare(node)

    def declare(self, node: c_ast.Node) -> None:
        """Take in what a declaration defines, the inner before the outer."""
        for _, child in node.children():
            self.declare(child)
        match node:
            case c_ast.Enum(values=c_ast.EnumeratorList()):
                self.types[tag(node)] = self.enum(node)
                self.bodies.append(node)
            case c_ast.Struct(decls=[*_]) | c_ast.Union(decls=[*_]):
                self.types[tag(node)] = self.layout(node)
                self.bodies.append(node)
            case c_ast.Typedef():
                # a name such as __be32 tells the order of the bytes
                order = {"__be": ">", "__le": "<"}.get(node.name[:4], "")
                aliased = self.type(node.type)
                self.types[node.name] = aliased._replace(format=order + aliased.format)
            case c_ast.Decl(init=c_ast.Node()):
                self.ints[node.name] = self.value(node.init)

    def value(self, node: c_ast.Node) -> Int:
        """Evaluate a constant expression. Only casts wrap: no header relies on more, as gcc's values show."""
        match node:
            case c_ast.Constant(type="char"):
                return Int(ord(literal_eval(node.value)))
            case c_ast.Constant():
                digits = node.value.rstrip("uUlL")
                return Int(int(digits, 0), f"#0{len(digits)}x" if "x" in digits.lower() else "d")
            case c_ast.ID():
                return self.ints[node.name]
            case c_ast.Cast():
                whole = self.value(node.expr)
                return whole._replace(value=whole.value % (1 << 8 * self.type(node.to_type).size))
            case c_ast.UnaryOp(op="sizeof"):
                return Int(self.type(node.expr).size)
            case c_ast.UnaryOp(op="-"):
                positive = self.value(node.expr)
                return positive._replace(value=-positive.value)
            case c_ast.UnaryOp(op="~"):
                operand = self.value(node.expr).value
                # A hexadecimal constant above INT_MAX is unsigned, and so is its complement.
                wraps = operand >= 1 << 31
                return Int(~operand % (1 << (32 if operand < 1 << 32 else 64)) if wraps else ~operand, "#x")
            case c_ast.BinaryOp():
                left, right = self.value(node.left), self.value(node.right)
                return Int(OPERATORS[node.op](left.value, right.value), style(left, node.op, right))
        raise TypeError(f"{node.coord}: {type(node).__name__} in a constant expression")

    def type(self, node: c_ast.Node) -> Type:
        """Return the type that a declarator or a specifier names."""
        match node:
            case c_ast.Decl() | c_ast.TypeDecl() | c_ast.Typename():
                return self.type(node.type)
            case c_ast.Struct() | c_ast.Union() | c_ast.Enum():
                return self.types[tag(node)]
            case c_ast.PtrDecl():
                return scalar("Q")
            case c_ast.ArrayDecl():
                return array(self.type(node.type), self.value(node.dim).value if node.dim else 0)
            case c_ast.IdentifierType() if node.names[0] in self.types:
                return self.types[node.names[0]]
            case c_ast.IdentifierType() if "__int128" in node.names:
                return Type(16, 16, "16s")
            case c_ast.IdentifierType():
                implied = {"int"} if "char" in node.names else {"int", "signed"}
                return scalar(SCALARS[" ".join(sorted(word for word in node.names if word not in implied))])
        raise TypeError(f"{node.coord}: {type(node).__name__} in a type")

    def enum(self, node: c_ast.Enum) -> Type:
        """Take in the enumerators, and return the type that holds them all."""
        last = Int(-1)
        values = []
        for item in node.values.enumerators:
            following = Int(last.value + 1, last.style.replace("<<", "d"))
            last = self.value(item.value) if item.value else following
            self.ints[item.name] = last
            values.append(last.value)
        return scalar("i" if min(values) < 0 else "I" if max(values) < 1 << 32 else "Q")

    def layout(self, node: c_ast.Struct | c_ast.Union) -> Type:
        """Lay out a struct or a union as the System V ABI does."""
        members: Members = {}
        packed = any(decl.name == PACKED for decl in node.decls)
        end = size = 0  # of the member before, in bits; of the whole, in bytes
        align = 1
        for decl in node.decls:
            member = self.type(decl.type)
            if decl.name == ALIGNED:
                align = max(align, member.size)
            if decl.name in (PACKED, ALIGNED) or (not decl.name and getattr(decl.type, "name", None)):
                continue  # the third declares a tag and no member
            unit = 8 if packed else 8 * member.align
            at = 0 if isinstance(node, c_ast.Union) else end
            if decl.bitsize:
                width = self.value(decl.bitsize).value
                if at // unit != (at + width - 1) // unit:
                    at = up(at, unit)
                start, end = at // unit * unit, at + width
                spelled = f"{member.format}:{at - start}:{width}"
            else:
                at = start = up(at, unit)
                end = at + 8 * member.size
                spelled = member.format
            if decl.name:
                members[decl.name] = (start // 8, member.size, spelled)
            if decl.name or not decl.bitsize:
                align = max(align, unit // 8)
            prefix = f"{decl.name}." if decl.name else ""
            for name, (offset, length, inner) in (member.members or {}).items():
                members[prefix + name] = (at // 8 + offset, length, inner)
            size = max(size, up(end, 8) // 8)
        size = up(size, align)
        return Type(size, align, f"{size}s", members)


def tag(node: c_ast.Struct | c_ast.Union | c_ast.Enum) -> str:
    """Return ``struct NAME``, or what stands for the name of one that has none."""
    return f"{type(node).__name__.lower()} {node.name or id(node)}"


def scalar(letter: str) -> Type:
    return Type(SIZES[letter], SIZES[letter], letter)


def array(item: Type, length: int) -> Type:
    """Return the type of an array; one of characters, or of structs or unions, reads as bytes."""
    size = length * item.size
    order, letter = item.format[:-1], item.format[-1]
    return Type(size, item.align, f"{size}s" if letter in "cs" else f"{order}{length}{letter}")


def style(left: Int, op: str, right: Int) -> str:
    """Return the style of a result: one bit, a mask, or a number."""
    if op == "<<" and left == Int(1) and right.style == "d":
        return "<<"
    return "d" if op in "+-*/" and left.style == right.style == "d" else "#x"


def up(value: int, to: int) -> int:
    """Round up to a multiple."""
    return -(-value // to) * to


class Headers(NamedTuple):
    """The headers of one version of the package, unpacked."""

    version: str
    include: Path

    def preprocess(self, machine: str, source: str, *options: str) -> str:
        """Run the C preprocessor over a source text as it would run on a machine."""
        own, known_as = MACHINES[machine]
        defines = [f"-D{define}" for define in (known_as, *DEFINES)]
        paths = [f"-I{self.include / own}", f"-I{self.include}"]
        command = ["gcc", "-E", "-undef", "-nostdinc", *defines, *paths, *options, "-"]
        return subprocess.run(command, input=source, check=True, stdout=subprocess.PIPE, text=True).stdout

    def parse(self, machine: str, header: str, macros: Iterable[str] = ()) -> Unit:
        """Read a header, and the values of some of its macros."""
        lines = [f"#include <{header}>", *(f"long {VALUE_OF}{name} = ({name});" for name in macros)]
        return Unit(standard(self.preprocess(machine, "\n".join(lines))))

    def macros(self, machine: str, header: str) -> dict[str, int]:
        """Return the macros to which a header itself gives a value, with their lines."""
        found: dict[str, int] = {}
        file, line = "", 0
        for text in self.preprocess(machine, f"#include <{header}>", "-dD").splitlines():
            if marker := re.match(r'# (\d+) "(.*)"', text):
                line, file = int(marker[1]), marker[2]
                continue
            define = re.match(r'#define (\w+) ([^\s"].*)', text)  # a string is no number
            if define and file.endswith(header) and define[1] not in (define[2], *SKIPPED):
                found[define[1]] = line
            line += 1
        return found


def standard(text: str) -> str:
    """Rewrite the attributes of GNU C, which pycparser does not read.

    Those of a struct or union become members of it. Those of members go: on LP64, what they ask for holds.
    """
    attribute = r"__attribute__\s*\(\(((?:[^()]|\([^()]*\))*)\)\)"

    def as_members(match: re.Match[str]) -> str:
        packed = f"char {PACKED};" if "packed" in match[1] else ""
        aligned = re.search(r"aligned\((\d+)\)", match[1])
        return packed + (f"char {ALIGNED}[{aligned[1]}];" if aligned else "") + "}"

    return re.sub(attribute, "", re.sub(r"\}\s*" + attribute, as_members, text))


# Python: the modules


def modules(headers: Headers) -> dict[Path, str]:
    """Return the text of every module."""
    written = {
        "unistd": ("Numbers of the system calls that bpfasm makes, by machine.", unistd_body(headers)),
        "unistd_all": ("Numbers of all system calls, by machine.", unistd_all_body(headers)),
        "ptrace": ("Registers as a program on a probe has them, by machine.", ptrace_body(headers)),
        "helpers": ("Prototypes of the helper functions, as ``linux/bpf.h`` gives them.", helpers_body(headers)),
    }
    for name, header in HEADERS.items():
        written[name] = (f"Constants and layouts of ``{header}``.", header_body(headers, header))
    made = f"Generated by tools/gen_uapi.py from {PACKAGE} {headers.version}, do not edit."
    return {
        UAPI / f"{name}.py": f'"""{title}\n\n{made}\n``bpfasm.uapi`` says how to read it.\n"""\n\n{body}'
        for name, (title, body) in written.items()
    }


def header_body(headers: Headers, header: str) -> str:
    """Write the constants, enums and layouts of a header, in its order."""
    macros = headers.macros("x86_64", header)
    unit = headers.parse("x86_64", header, macros)
    blocks = [(line, f"{name} = {unit.ints[VALUE_OF + name]}\n") for name, line in macros.items()]
    for node in unit.bodies:
        text = enum_text(node, unit) if isinstance(node, c_ast.Enum) else layout_text(node, unit)
        if text and node.coord.file.endswith(header):
            blocks.append((node.coord.line, f"\n{text}\n"))
    text = "".join(text for _, text in sorted(blocks, key=lambda block: block[0]))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def enum_text(node: c_ast.Enum, unit: Unit) -> str:
    """Write an enum: its constants, and the tuple of their names if it has a tag."""
    names = [item.name for item in node.values.enumerators]
    text = f"# enum {node.name or '(no tag)'}\n" + "".join(f"{name} = {unit.ints[name]}\n" for name in names)
    if node.name:
        listed = textwrap.fill(" ".join(f'"{name}",' for name in names), 106)
        text += f"enum_{node.name} = (\n{textwrap.indent(listed, '    ')}\n)\n"
    return text


def layout_text(node: c_ast.Struct | c_ast.Union, unit: Unit) -> str:
    """Write a struct or a union that has a tag: its size, and the places of its members."""
    layout, name = unit.types[tag(node)], tag(node).replace(" ", "_")
    if not node.name or not layout.members:
        return ""
    return f"sizeof_{name} = {layout.size}\n{name} = {{\n{members_text(layout)}}}\n"


def members_text(layout: Type) -> str:
    """Write the items of a layout's dict."""
    items = (layout.members or {}).items()
    return "".join(f'    "{name}": ({at}, {size}, "{spelled}"),\n' for name, (at, size, spelled) in items)


def unistd_body(headers: Headers) -> str:
    """Write the numbers of a few system calls, by machine: what a program loads as it starts."""
    text = ""
    for name, (machine, header) in UNISTD.items():
        ints = headers.parse(machine, header, SYSCALLS).ints
        numbers = ", ".join(f'"{call}": {ints[VALUE_OF + call]}' for call in SYSCALLS)
        text += f'    "{name}": {{{numbers}}},\n'
    return f"syscalls = {{\n{text}}}\n"


def unistd_all_body(headers: Headers) -> str:
    """Write the numbers of all system calls, by machine."""
    text = ""
    for name, (machine, header) in UNISTD.items():
        lines = headers.preprocess(machine, f"#include <{header}>", "-dM").splitlines()
        # what ends the list is no call, and grows
        names = sorted({line.split()[1] for line in lines if line.startswith("#define __NR_")} - {"__NR_syscalls"})
        ints = headers.parse(machine, header, names).ints
        calls = sorted((ints[VALUE_OF + call].value, call) for call in names)
        text += (
            f'    "{name}": {{\n' + "".join(f'        "{call}": {number},\n' for number, call in calls) + "    },\n"
        )
    return f"all_syscalls = {{\n{text}}}\n"


def ptrace_body(headers: Headers) -> str:
    """Write the layout of registers, by machine."""
    name = "bpf_user_pt_regs_t"
    layouts = {m: headers.parse(m, "linux/bpf_perf_event.h").types[name] for m in MACHINES}
    sizes = ", ".join(f'"{machine}": {layout.size}' for machine, layout in layouts.items())
    text = f"sizeof_{name} = {{{sizes}}}\n{name} = {{\n"
    for machine, layout in layouts.items():
        text += f'    "{machine}": {{\n{textwrap.indent(members_text(layout), "    ")}    }},\n'
    return text + "}\n"


def helpers_body(headers: Headers) -> str:
    """Write the prototypes of the helper functions, which the header has in a comment."""
    text = (headers.include / "linux/bpf.h").read_text()
    start = text.index("Start of BPF helper function descriptions")
    comment = text[start : text.index("*/", start)]
    found: dict[str, str] = {}
    for kind, name, arguments in re.findall(r"^ \* (\w[^\n(]*?)bpf_(\w+)\(([^()]*)\)\s*$", comment, re.M):
        found.setdefault(name, f"{kind}bpf_{name}({' '.join(arguments.split())})")
    items = "".join(f'    "{name}": "{prototype}",\n' for name, prototype in found.items())
    return f"prototypes = {{\n{items}}}\n"


def main() -> int:
    """Write the modules, or with --check say which would change."""
    parser = argparse.ArgumentParser(description="Write bpfasm/uapi from Debian's newest kernel headers.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a module would change")
    check = parser.parse_args().check
    try:
        unpacked = debian.fetch(PACKAGE, debian.KERNEL_SUITES)
    except debian.FetchError as error:
        sys.exit(f"error: {error}")
    headers = Headers(unpacked.name.split("_")[1], unpacked / "usr/include")
    print(PACKAGE, headers.version)
    changed = {p: text for p, text in modules(headers).items() if not p.exists() or p.read_text() != text}
    for path, text in changed.items():
        print("differs" if check else "written", path.relative_to(UAPI.parents[1]))
        if not check:
            path.write_text(text)
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
