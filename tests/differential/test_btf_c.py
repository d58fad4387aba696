"""``bpfasm btf dump ... format c``: a compiler takes it, and lays everything out as it was."""

import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from bpfasm import cli
from bpfasm.btf.ordered import ordered_lines
from bpfasm.btf.read import Btf
from bpfasm.btf.text import WITH_BODY
from bpfasm.btf.write import Writer
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as u

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("gcc")]

VMLINUX = Path("/sys/kernel/btf/vmlinux")

#: In C23 bool is a word of the language, and the kernel's types have one of that name.
GCC = ("-std=gnu17", "-Werror", "-Wno-psabi")

#: Types of every kind that a compiler says something of.
KINDS = r"""
struct later;
enum colour { RED, GREEN = 5 };
typedef struct { int low : 3; unsigned high : 5; long rest; struct { int inner; }; } anonymous;
struct node {
    struct node *next;
    const volatile char *name;
    int (*call)(struct later *, int, ...);
    enum colour colour;
    union { float f; double d; } number;
    anonymous a;
    _Bool flag;
    int matrix[3][4];
    char *const restrict pointer;
};
"""

SOURCE = (
    KINDS
    + r"""
enum small { LOW, HIGH } __attribute__((packed));
enum wide { FAR = 1ull << 40, TOP = ~0ull };
enum wide_but_small { NEAR = 3 } __attribute__((mode(DI)));
struct enums { enum small small; enum wide wide; enum wide_but_small more; __int128 large; };
struct frame { char kind; struct { short length; int sum; } __attribute__((packed)) head; long body[]; };
struct tight {
    char a; int b; struct { char c; long d; } e; unsigned f : 3; unsigned long g : 40;
} __attribute__((packed));
struct apart { char a; int b __attribute__((aligned(32))); char c; } __attribute__((aligned(128)));
union room { char a; struct tight b; } __attribute__((aligned(64)));
struct bits { unsigned : 7; unsigned late : 2; long : 0; short next : 9; unsigned : 9; _Bool last : 1; };
struct nothing {};
struct all {
    char a; struct frame *b; struct tight c; struct apart d; union room e; struct bits f; struct nothing g; char h;
};
"""
)


def types_of(source, folder):
    """Compile C, and return its types, as pahole has them from what the compiler says for debuggers."""
    if not shutil.which("pahole"):
        pytest.skip("needs pahole (apt install pahole)")
    (folder / "a.c").write_text(source)
    command = [
        "gcc",
        "-g",
        "-fno-eliminate-unused-debug-types",
        "-Werror",
        "-c",
        "-o",
        folder / "a.o",
        folder / "a.c",
    ]
    subprocess.run(command, check=True)
    subprocess.run(["pahole", f"--btf_encode_detached={folder / 'a.btf'}", folder / "a.o"], check=True)
    return Btf((folder / "a.btf").read_bytes())


def sizes(types):
    """Return the size of each type with a name, and where each member is: bits, and those of a bit field."""
    found = {}

    def members(type):
        for each in type.members:
            inner = types.resolve(each.type)
            more = (
                (*members(inner),) if inner.kind in (u.BTF_KIND_STRUCT, u.BTF_KIND_UNION) and not inner.name else ()
            )
            yield each.name, each.offset, each.bits, types.size_of(each.type), more

    for id in range(1, len(types)):
        type = types.type(id)
        if type.kind in (u.BTF_KIND_STRUCT, u.BTF_KIND_UNION) and type.name:
            found[type.name] = type.size, *members(type)
        elif type.kind in (u.BTF_KIND_ENUM, u.BTF_KIND_ENUM64):
            found[type.name] = type.size, type.flag, *((each.name, each.value) for each in type.members)
        elif type.kind == u.BTF_KIND_TYPEDEF:
            found[f"typedef {type.name}"] = types.size_of(type.id), *members(types.resolve(type.id))
    return found


def again(types, folder):
    """Return types as they are when they were printed, and compiled from that."""
    return types_of("\n".join([*ordered_lines(types), ""]), folder)


def test_all_is_where_it_was(tmp_path):
    types = types_of(SOURCE, tmp_path)
    assert sizes(again(types, tmp_path)) == sizes(types)


PLAIN = ["char", "short", "int", "long", "_Bool", "double", "enum e", "void *", "__int128"]
BIT_FIELDS = {"int": 32, "short": 16, "char": 8, "long": 64, "_Bool": 1}


class ByChance:
    """C with structs and unions that each may hold those before, and say what moves members about."""

    def __init__(self, seed, count):
        self.chance = random.Random(seed)
        self.made = []
        self.names = itertools.count()
        lines = [self.composite(0, f"s{number}") for number in range(count)]
        self.source = "enum e { E };\n" + "".join(f"{line};\n" for line in lines)

    def once_in(self, times):
        return not self.chance.randrange(times)

    def composite(self, depth, tag=""):
        head = f"{'union' if self.once_in(3) else 'struct'} {tag}"
        members = " ".join(self.member(depth) for _ in range(self.chance.randrange(1, 7)))
        if tag:
            self.made.append(head)
        packed = "__attribute__((packed))" if self.once_in(4) else ""
        return f"{head} {{ {members} }} {packed} {self.aligned()}"

    def member(self, depth):
        name, kind = f"m{next(self.names)}", self.chance.randrange(10)
        if kind < 3:
            of, most = self.chance.choice([*BIT_FIELDS.items()])
            return f"{of} : {self.chance.randrange(most + 1)};" if self.once_in(5) else self.bits(of, name, most)
        if kind == 3 and depth < 2:
            return f"{self.composite(depth + 1)} {self.chance.choice(['', name, f'{name}[2]'])};"
        of = self.chance.choice(self.made if kind == 4 and self.made else PLAIN)
        return f"{of} {name}{self.chance.choice(['', '', '[3]', '[0]'])} {self.aligned()};"

    def bits(self, of, name, most):
        return f"{of} {name} : {self.chance.randrange(1, most + 1)};"

    def aligned(self):
        return f"__attribute__((aligned({2 ** self.chance.randrange(7)})))" if self.once_in(8) else ""


@pytest.mark.parametrize("seed", range(4))
def test_wherever_it_was(seed, tmp_path):
    types = types_of(ByChance(seed, 400).source, tmp_path)
    assert sizes(again(types, tmp_path)) == sizes(types)


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_the_kernel_s():
    """Each struct and union has its size, and each member its offset."""
    types = Btf(VMLINUX.read_bytes())
    lines, seen = [*ordered_lines(types)], set()
    for id in range(1, len(types)):
        type = types.type(id)
        word = WITH_BODY.get(type.kind)
        if not word or not type.name or type.name in seen:
            continue
        seen.add(type.name)
        if word == "enum":
            continue
        is_so = [f"sizeof({word} {type.name}) == {type.size}"]
        for each in type.members:
            if each.name and not each.bits:
                is_so.append(f"8 * __builtin_offsetof({word} {type.name}, {each.name}) == {each.offset}")
        lines += [f'_Static_assert({each}, "");' for each in is_so]
    assert len(seen) > 5000
    compiles("\n".join(lines), "-Wno-attributes")  # address_space is clang's


def test_in_any_order_a_compiler_takes_it(tmp_path, capsys):
    """A struct that is reached by a typedef, whose own struct holds the first; they come in the wrong order."""
    w = Writer()
    inner, outer, pointer, name = 2, 3, 4, 5
    w.add_int("int", 4)
    assert w.add_struct("inner", 16, [("up", pointer, 0), ("n", 1, 64)]) == inner
    assert w.add_struct("outer", 16, [("held", inner, 0)]) == outer
    assert w.add_pointer(name) == pointer
    assert w.add_name(u.BTF_KIND_TYPEDEF, outer, "outer_t") == name
    (tmp_path / "btf").write_bytes(w.to_bytes())
    assert cli.main(["btf", "dump", "file", str(tmp_path / "btf"), "format", "c"]) == 0
    text = capsys.readouterr().out
    assert text.index("typedef struct outer outer_t;") < text.index("struct inner {")
    assert text.index("struct inner {") < text.index("struct outer {")
    compiles(text)


def compiles(text, *words):
    """Have a compiler take a text, without a warning."""
    subprocess.run(["gcc", "-fsyntax-only", *GCC, *words, "-x", "c", "-"], input=text, text=True, check=True)


def printed(w):
    """Return what is printed of types, which a compiler takes."""
    text = "\n".join(ordered_lines(Btf(w.to_bytes()))).expandtabs(4)
    compiles(text + "\n", "-Wno-attributes")
    return text


def test_two_of_a_name():
    """As CO-RE has it, what follows three underscores is no part of a name."""
    w = Writer()
    number = w.add_int("int", 4)
    w.add_struct("state", 4, [("n", number, 0)])
    other = w.add_struct("state", 8, [("n", number, 0), ("m", number, 32)])
    w.add_pointer(other)
    w.add_forward("state")
    declared = w.add_forward("state", union=True)
    w.add_struct("holds", 24, [("it", other, 0), ("far", w.add_pointer(declared), 64), ("end", number, 128)])
    w.add_enum("", {"OFF": 0, "ON": 1})
    w.add_enum("toggle", {"ON": 7})
    w.add_name(u.BTF_KIND_TYPEDEF, number, "ON")
    text = printed(w)
    assert "struct state {\n    int n;\n};" in text
    assert "struct state___2 {\n    int n;\n    int m;\n};" in text
    assert "    struct state___2 it;\n    union state___3 *far;\n" in text
    assert "    ON = 1,\n};\n\nenum toggle {\n    ON___2 = 7,\n};\n\ntypedef int ON___3;" in text


def test_members_of_a_struct_with_a_name_stand_in_another():
    """As the kernel has it from 6.19 on (-fms-extensions)."""
    w = Writer()
    number = w.add_int("int", 4)
    inner = w.add_struct("inner", 4, [("n", number, 0)])
    w.add_struct("outer", 8, [("", inner, 0), ("m", number, 32)])
    assert "struct outer {\n    struct {\n        int n;\n    };\n    int m;\n};" in printed(w)


def test_notes_on_what_a_pointer_points_to():
    w = Writer()
    number = w.add_int("int", 4)
    user = w.add_name(u.BTF_KIND_TYPE_TAG, number, "user")
    percpu = w.add(u.BTF_KIND_TYPE_TAG, "address_space(1)", number, flag=True)
    w.add_struct("both", 16, [("a", w.add_pointer(user), 0), ("b", w.add_pointer(percpu), 64)])
    text = printed(w)
    assert '#define __user __attribute__((btf_type_tag("user")))' in text
    assert "    __user int *a;\n    __attribute__((address_space(1))) int *b;\n" in text


def test_what_compilers_have_themselves_and_enums_without_constants():
    w = Writer()
    number = w.add_int("int", 4)
    w.add_name(u.BTF_KIND_TYPEDEF, w.add_array(number, 1), "__builtin_va_list")
    w.add_enum("later", {})
    assert "__builtin_va_list" not in printed(w)
    assert printed(w).endswith("enum later;")


def test_a_struct_that_holds_itself_is_told():
    w = Writer()
    w.add_struct("", 8, [("it", 1, 0)])
    w.add_name(u.BTF_KIND_TYPEDEF, 1, "name")
    with pytest.raises(DecodeError, match="holds itself"):
        printed(w)


def test_a_gap_without_end_is_told():
    w = Writer()
    w.add_struct("large", 0xFFFFFFFF, [("n", w.add_int("int", 4), 0)])
    with pytest.raises(DecodeError, match="nothing in 4294967291 bytes"):
        printed(w)
