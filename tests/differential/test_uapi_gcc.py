"""``bpfasm.uapi`` against the headers it was made from as gcc reads them, and against the running kernel.

gcc compiles programs over the headers of the version that the modules name. What it says of constants is
what the program prints, and what it says of layouts is the BTF that it writes.
"""

import importlib
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from bpfasm.uapi import bpf, ptrace, unistd, unistd_all

MACHINE = os.uname().machine
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

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

pytestmark = pytest.mark.oracle
every_header = pytest.mark.parametrize("name", HEADERS)


class Gcc:
    """gcc with the kernel's headers and no others."""

    def __init__(self, headers, scratch):
        self.headers = headers
        self.include = headers / "usr/include"
        self.source, self.output, self.btf_section = scratch / "source.c", scratch / "output", scratch / "btf"

    def run(self, source, *options, machine=MACHINE):
        """Compile a source, or do what else the options say, and return what gcc prints."""
        self.source.write_text(source)
        paths = [f"-I{self.include}/{machine}-linux-gnu", f"-I{self.include}"]
        known_as = ["-U__x86_64__", "-U__aarch64__", f"-D__{machine}__"]
        command = ["gcc", "-w", "-nostdinc", *known_as, *paths, *options, "-o", self.output, self.source]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def ints(self, header, names):
        """Return the values of constants, as a program prints them."""
        lines = "".join(f'printf("{n} %d %llu\\n", ({n}) < 0, (unsigned long long)({n}));\n' for n in names)
        self.run(f"#include <{header}>\nint printf(const char *, ...);\nint main(void) {{\n{lines}}}")
        printed = subprocess.run([self.output], check=False, capture_output=True, text=True).stdout
        words = map(str.split, printed.splitlines())
        return {name: int(value) - (int(negative) << 64) for name, negative, value in words}

    def btf(self, header, machine=MACHINE):
        """Return the types of a header as gcc lays them out."""
        options = ("-gbtf", "-fno-eliminate-unused-debug-types", "-c")
        try:
            self.run(f"#include <{header}>", *options, machine=machine)
        except subprocess.CalledProcessError as error:
            if "-gbtf" in error.stderr:
                pytest.skip("this gcc does not know -gbtf (gcc 12 does)")
            raise
        subprocess.run(["objcopy", f"--dump-section=.BTF={self.btf_section}", self.output], check=True)
        return Btf(self.btf_section.read_bytes())

    def own_text(self, header):
        """Return what the preprocessor leaves of a header, without what it includes."""
        self.run(f"#include <{header}>", "-E")
        pieces = re.split(r'^# \d+ "(.*?)".*\n', self.output.read_text(), flags=re.M)
        return "".join(text for file, text in zip(pieces[1::2], pieces[2::2], strict=True) if file.endswith(header))


INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)

#: what follows a type in BTF: one record, or as many as the type says
ONE = {INT: "<I", ARRAY: "<3I", VAR: "<I", DECL_TAG: "<I"}
MANY = {STRUCT: "<3I", UNION: "<3I", ENUM: "<Ii", FUNC_PROTO: "<2I", DATASEC: "<3I", ENUM64: "<Iq"}


class Btf:
    """The least of a reader of BTF: enumerators and layouts. No part of bpfasm, so that it can judge it."""

    def __init__(self, data):
        header, types, types_len, strings = struct.unpack_from("<4I", data, 4)
        self.strings = data[header + strings :]
        self.types = [(0, "void", 0, False, [])]
        at, end = header + types, header + types + types_len
        while at < end:
            name, info, size = struct.unpack_from("<3I", data, at)
            kind = info >> 24 & 0x7F
            record = ONE.get(kind) or MANY.get(kind)
            length = struct.calcsize(record) * (1 if kind in ONE else info & 0xFFFFFF) if record else 0
            records = list(struct.iter_unpack(record, data[at + 12 : at + 12 + length])) if length else []
            self.types.append((kind, self.string(name), size, bool(info >> 31), records))
            at += 12 + length

    def string(self, at):
        return self.strings[at : self.strings.index(b"\0", at)].decode()

    def enumerators(self):
        """Return the names and values in all enums, read as signed numbers."""
        enums = [records for kind, *_, records in self.types if kind in (ENUM, ENUM64)]
        return {self.string(name): value for records in enums for name, value in records}

    def layouts(self):
        """Return the sizes and members of the structs and unions that have a tag."""
        prefix = {STRUCT: "struct", UNION: "union"}
        return {
            f"{prefix[kind]}_{tag}": (size, self.members(records, flag))
            for kind, tag, size, flag, records in self.types
            if kind in prefix and tag
        }

    def members(self, records, has_bit_fields):
        """Return members as bpfasm.uapi has them."""
        found = {}
        for name_at, type_id, place in records:
            name, (size, form, inner) = self.string(name_at), self.shape(type_id)
            width, bit = (place >> 24, place & 0xFFFFFF) if has_bit_fields else (0, place)
            if width:
                start = bit // (8 * size) * size
                found[name] = (start, size, f"{form}:{bit - 8 * start}:{width}")
                continue
            if name:
                found[name] = (bit // 8, size, form)
            for member, (at, *rest) in inner.items():
                found[f"{name}.{member}" if name else member] = (bit // 8 + at, *rest)
        return found

    def shape(self, type_id):
        """Return the size of a type, its format, and its members."""
        kind, name, size, flag, records = self.types[type_id]
        if kind in (TYPEDEF, CONST, VOLATILE):
            size, form, inner = self.shape(size)  # the field has the id of the type below
            return size, {"__be": ">", "__le": "<"}.get(name[:4], "") + form, inner
        if kind in (STRUCT, UNION):
            return size, f"{size}s", self.members(records, flag)
        if kind == ARRAY:
            [(item, _, count)] = records
            size, form, _ = self.shape(item)
            size *= count
            return size, f"{size}s" if form[-1] in "cs" else f"{form[:-1]}{count}{form[-1]}", {}
        if kind == PTR:
            return 8, "Q", {}
        letter = "c" if name == "char" else {1: "b", 2: "h", 4: "i", 8: "q", 16: "16s"}[size]
        signed = any(v < 0 for _, v in records) if kind == ENUM else records[0][0] >> 24 & 1
        return size, letter if signed or size == 16 or name == "char" else letter.upper(), {}


@pytest.fixture(scope="module")
def tools():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "tools")
        yield


@pytest.fixture(scope="module")
def gcc(tools, tmp_path_factory):
    """Give a gcc over the headers that the modules were made from."""
    import debian

    if MACHINE not in ptrace.bpf_user_pt_regs_t or not shutil.which("gcc") or not shutil.which("objcopy"):
        pytest.skip("needs gcc and objcopy on x86_64 or aarch64")
    package, version = re.search(r"from (\S+) (\S+),", bpf.__doc__).groups()
    try:
        headers = debian.fetch(package, debian.KERNEL_SUITES, version=version)
    except debian.FetchError as error:
        pytest.skip(f"cannot get {package} {version}: {error}")
    return Gcc(headers, tmp_path_factory.mktemp("gcc"))


def constants(module):
    """Return the integers of a module, without the sizes of layouts."""
    return {
        name: value
        for name, value in vars(module).items()
        if type(value) is int and not name.startswith(("sizeof_struct_", "sizeof_union_"))
    }


def load(name):
    return importlib.import_module(f"bpfasm.uapi.{name}")


@every_header
def test_constants_have_the_values_that_gcc_prints(gcc, name):
    ours = constants(load(name))
    assert ours == gcc.ints(HEADERS[name], ours)


@every_header
def test_every_enumerator_is_there_in_its_enum(gcc, name):
    module, tagged = load(name), 0
    for tag, body in re.findall(r"\benum\s*(\w*)\s*\{(.*?)\}", gcc.own_text(HEADERS[name]), re.S):
        names = tuple(re.findall(r"(?:^|,)\s*(\w+)", re.sub(r"^#.*", "", body, flags=re.M)))
        assert names and constants(module).keys() >= set(names)
        if tag:
            assert getattr(module, f"enum_{tag}") == names
            tagged += 1
    assert tagged == sum(key.startswith("enum_") for key in vars(module))


@every_header
def test_every_macro_with_a_value_is_there(gcc, name):
    text = (gcc.include / HEADERS[name]).read_text()
    macros = set(re.findall(r"^\s*#\s*define\s+(\w+)[ \t]+[^\s/]", text, re.M))
    missing = macros - constants(load(name)).keys()
    # the first tells libc which side defines a struct, the others are names of structs
    for macro in missing - {"__UAPI_DEF_ETHHDR", "ipv6_destopt_hdr", "ipv6_hopopt_hdr"}:
        with pytest.raises(subprocess.CalledProcessError):
            gcc.run(f"#include <{HEADERS[name]}>\nenum {{ value = ({macro}) }};", "-fsyntax-only")


@every_header
def test_layouts_are_those_of_gcc(gcc, name):
    module, theirs = load(name), gcc.btf(HEADERS[name]).layouts()
    ours = {key: members for key, members in vars(module).items() if re.match("struct_|union_", key)}
    for key, members in ours.items():
        assert (getattr(module, f"sizeof_{key}"), members) == theirs[key], key
    with_members = re.findall(r"\b(struct|union)\s+(\w+)\s*\{\s*[^\s}]", gcc.own_text(HEADERS[name]))
    assert ours.keys() == {"_".join(tag) for tag in with_members}


def test_system_calls_have_the_numbers_of_the_headers(gcc):
    for machine, (header, include) in {
        "x86_64": ("asm/unistd.h", "x86_64"),
        "aarch64": ("asm/unistd.h", "aarch64"),
        "generic": ("asm-generic/unistd.h", "aarch64"),
    }.items():
        calls = unistd_all.all_syscalls[machine]
        assert unistd.syscalls[machine].items() <= calls.items()
        lines = "".join(f'_Static_assert({call} == {number}, "{call}");\n' for call, number in calls.items())
        gcc.run(f"#include <{header}>\n{lines}", "-fsyntax-only", machine=include)
        gcc.run(f"#include <{header}>", "-E", "-dM", machine=include)
        defined = set(re.findall(r"#define (__NR_\w+) ", gcc.output.read_text()))
        assert defined - {"__NR_syscalls"} == calls.keys()


def test_registers_are_where_gcc_puts_them(gcc):
    for machine, tag in {"x86_64": "struct_pt_regs", "aarch64": "struct_user_pt_regs"}.items():
        ours = ptrace.sizeof_bpf_user_pt_regs_t[machine], ptrace.bpf_user_pt_regs_t[machine]
        assert ours == gcc.btf("linux/bpf_perf_event.h", machine).layouts()[tag]


def test_the_tool_writes_what_is_committed(gcc):
    pytest.importorskip("pycparser")
    gen_uapi = importlib.import_module("gen_uapi")
    assert gen_uapi.HEADERS == HEADERS
    for path, text in gen_uapi.modules(gen_uapi.Headers(gcc.headers.name.split("_")[1], gcc.include)).items():
        assert path.read_text() == text


@pytest.mark.skipif(not KERNEL_BTF.exists(), reason="the running kernel has no BTF")
def test_the_running_kernel_has_the_same_enums():
    kernel = Btf(KERNEL_BTF.read_bytes()).enumerators()
    ours = {n: value for name in HEADERS for n, value in constants(load(name)).items()}
    growing = {n for n in ours if re.search(r"^_|^MAX_|_MAX$|_MAX_SHIFT$|_NUMPROTO$", n)}
    common = (ours.keys() & kernel.keys()) - growing
    assert len(common) > 400
    # a constant with the highest bit set may be unsigned there
    assert {n: (ours[n], kernel[n]) for n in common if ours[n] - kernel[n] not in (0, 1 << 32, 1 << 64)} == {}
