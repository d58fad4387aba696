"""C as people have it: macros, structs and declarations around the arrays, and what they are made of."""

import pytest

from bpfasm.asm import *
from bpfasm.asm.syntax import c
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import Insn

MOVE, EXIT = BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()
PROG = "struct bpf_insn prog[] = { BPF_MOV64_IMM(BPF_REG_0, 0), BPF_EXIT_INSN() };\n"


def programs(text):
    """Return the instructions of each program of a file, by its name."""
    return {program.name: list(program.insns) for program in c.programs(c.read(text, "f.c"))}


def number(expression, before=""):
    """Return what an expression is in the immediate of an instruction."""
    text = f"{before}\nstruct bpf_insn prog[] = {{ BPF_MOV64_IMM(BPF_REG_0, {expression}) }};"
    return programs(text)["prog"][0].imm


def error(text):
    with pytest.raises(BpfasmError) as caught:
        c.read(text, "f.c")
    return caught.value.report().splitlines()[0]


# Macros


def test_parameters_that_gnu_c_names():
    text = """
        #define INSNS(args...) { args }
        #define LOAD(reg, args...) BPF_MOV64_IMM(reg, ##args)
        struct bpf_insn prog[] = INSNS(LOAD(BPF_REG_0, 0), BPF_EXIT_INSN());"""
    assert programs(text) == {"prog": [MOVE, EXIT]}


@pytest.mark.parametrize("before", ["/* a \\\n b */", "// a \\\n b", "#define A 1 \\\n 2", 'x = "a\\\nb";', "\x00\n"])
def test_joined_lines_are_counted(before):
    assert error(f"{before}\nstruct bpf_insn prog[] = {{ NO }};").startswith("f.c:3:28: error:")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__", True),
        ("__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__", False),
        ("__BYTE_ORDER == __LITTLE_ENDIAN", True),
        ("__BYTE_ORDER == __BIG_ENDIAN", False),
        ("defined(__LITTLE_ENDIAN_BITFIELD)", True),
        ("defined __BIG_ENDIAN_BITFIELD", False),
        ("defined(__x86_64__)", True),
        ("defined(__aarch64__)", False),
        ("defined(__NR_read) && __NR_bpf == 321", True),
        ("defined(__NR_sigreturn)", False),
        ("LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)", True),
        ("LINUX_VERSION_CODE < KERNEL_VERSION(5, 12, 0)", False),
    ],
)
def test_what_a_compiler_defines(condition, holds):
    assert number("YES", f"#if {condition}\n#define YES 1\n#else\n#define YES 0\n#endif") == holds


def test_the_machine_is_the_one_that_is_asked_for():
    text = "#ifdef __aarch64__\n#define NR __NR_read\n#endif\nstruct bpf_insn p[] = { BPF_MOV64_IMM(BPF_REG_0, NR) };"
    found = c.read(text, "f.c", machine="aarch64")
    assert c.programs(found)[0].insns[0].imm == 63
    assert "NR is not known" in error(text)


@pytest.mark.parametrize("before", ["#if", "#define NOTHING\n#if NOTHING", "#if 0\n#elif"])
def test_a_condition_of_nothing(before):
    line = before.count("\n") + 1
    assert error(f"{before}\n#endif\n{PROG}") == f"f.c:{line}:1: error: an #if without a condition [c-syntax]"


def test_an_error_that_is_reached_is_refused_with_its_words():
    text = '#ifndef HAVE\n#error "say -DHAVE" or\n#endif\n'
    assert error(text + PROG) == 'f.c:2:1: error: #error "say -DHAVE" or [c-syntax]'
    assert programs("#define HAVE\n" + text + PROG) == {"prog": [MOVE, EXIT]}


# What has nothing to do with the program


@pytest.mark.parametrize(
    "text",
    [
        "struct opts { unsigned verbose:1; unsigned debug:1; };",
        "struct worker { pthread_t thread; FILE *log; struct timespec ts; };",
        "typedef pthread_t mine;",
        "struct t { struct epoll_event events[16]; int n; };",
        "enum { MAX = sizeof(struct epoll_event), NEXT };",
        "static struct bpf_insn one(int x) { struct bpf_insn i = { .code = BPF_ALU64, .imm = x }; return i; }",
        "struct a { DECLARE_BITMAP(bits, 5); int n; struct { odd_t x } y };",
        "static inline odd_t f(struct odd *x, odd_t y, const odd_t z) { odd_t a = { 1 }, b; return (odd_t)(x); }",
        'extern "C" { static const odd_t table[] = { { 1 }, }; }',
        "enum { A B, C = , D };",
        "enum { A = ), B ], C };",
        "struct a { int ) x; int ] y; };",
        "int table[] = { 1 ), 2 ] };",
    ],
)
def test_what_is_not_known_ends_no_file(text):
    assert programs(text + PROG) == {"prog": [MOVE, EXIT]}


@pytest.mark.parametrize(
    ("before", "expression", "column", "what"),
    [
        (
            "struct t { pthread_t x; int y; };",
            "offsetof(struct t, y)",
            12,
            "'pthread_t': this type is not known here",
        ),
        ("struct t { pthread_t x; int y; };", "sizeof(struct t)", 12, "'pthread_t': this type is not known here"),
        ("struct t { struct u x[2]; };", "sizeof(struct t)", 19, "'u': this struct is not known here"),
        ("enum { A = sizeof(struct u), B };", "B", 26, "'u': this struct is not known here"),
        ("typedef pthread_t x;", "sizeof(x)", 9, "'pthread_t': this type is not known here"),
    ],
)
def test_what_is_not_known_is_said_where_it_is_asked_for(before, expression, column, what):
    text = f"{before}\nstruct bpf_insn prog[] = {{ BPF_MOV64_IMM(BPF_REG_0, {expression}) }};"
    assert error(text) == f"f.c:1:{column}: error: {what} [c-type]"


def test_a_bit_field_has_no_offset():
    text = "struct t { int a:3, b; }; struct bpf_insn prog[] = { BPF_MOV64_IMM(BPF_REG_0, offsetof(struct t, a)) };"
    assert "a bit field has no byte of its own" in error(text)
    assert number("offsetof(struct t, b)", "struct t { int a:3, b; };") == 4


# Maps that have no number


def test_each_expression_is_a_map_of_its_own():
    operands = ["fds[0]", "fds[1]", "bpf_map__fd(skel->maps.a)", "bpf_map__fd(skel->maps.b)", "fds_1", "fd", "fds[0]"]
    loads = ", ".join(f"BPF_LD_MAP_FD(BPF_REG_1, {each})" for each in operands)
    found = programs(f"struct bpf_insn prog[] = {{ {loads} }};")["prog"]
    assert [insn.imm.name for insn in found] == [
        "fds_0", "fds_1", "bpf_map__fd_skel_maps_a", "bpf_map__fd_skel_maps_b", "fds_1_2", "fd", "fds_0",
    ]  # fmt: skip


def test_a_file_may_have_many_of_them():
    """A name without a number leaves brackets that are as open as before it."""
    loads = "BPF_LD_MAP_FD(BPF_REG_1, map((fd))), " * 300
    table = "int table[] = { " + "(int)odd(x), " * 300 + "}; " + "const int c = ((odd(x))); " * 300
    assert len(programs(f"{table} struct bpf_insn prog[] = {{ {loads} }};")["prog"]) == 300


# Structs and calls of the headers


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("offsetof(struct iphdr, protocol)", 9),
        ("sizeof(struct ipv6hdr)", 40),
        ("offsetof(struct tcphdr, window)", 14),
        ("offsetof(struct udphdr, dest)", 2),
        ("offsetof(struct ethhdr, h_source[2])", 8),
        ("offsetof(struct pt_regs, rdi)", 112),
        ("sizeof(struct pt_regs)", 168),
        ("offsetofend(struct __sk_buff, mark)", 12),
        ("sizeof_field(struct __sk_buff, cb)", 20),
        ("__NR_read", 0),
        ("__NR_exit_group", 231),
        ("(u_int)-1 >> 1", 0x7FFFFFFF),
        ("BIT(4) | BIT_ULL(5)", 48),
        ("BPF_CLASS(BPF_JMP | BPF_CALL) + BPF_SIZE(BPF_LDX | BPF_DW)", 5 + 0x18),
        ("__bpf_constant_htonl(0x7f000001)", 0x0100007F),
        ("bpf_htons(ETH_P_IP)", 8),
        ("AF_INET6", 10),
    ],
)
def test_what_the_headers_have(expression, value):
    assert number(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sizeof(e)", 16),
        ("sizeof e.b", 8),
        ("sizeof(((struct ev *)0)->b)", 8),
        ("sizeof(*p)", 16),
        ("sizeof(p->a)", 4),
        ("sizeof(value)", 8),
        ("ARRAY_SIZE(table) + sizeof(table) / sizeof(table[0])", 6),
        ("ARRAY_SIZE(first)", 3),
    ],
)
def test_sizes_of_variables(expression, value):
    before = """
        struct ev { __u32 a; __u64 b; };
        struct bpf_insn first[] = { BPF_LD_IMM64(BPF_REG_1, 5), BPF_EXIT_INSN() };
        int f(struct ev *p) { struct ev e; int key = 0; long long value = 0, n;
        const short table[] = { 1, 2, (3) };"""
    assert number(expression, before) == value


# Where the arrays are


def test_every_array_of_a_file_is_read():
    text = """
        #include <linux/bpf.h>
        typedef struct bpf_insn insn_t;
        struct bpf_insn a[] = { BPF_MOV64_IMM(BPF_REG_0, 1) }, b[] = { BPF_MOV64_IMM(BPF_REG_0, 2) };
        const struct bpf_insn *c = (struct bpf_insn[]) { BPF_MOV64_IMM(BPF_REG_0, 3) };
        static struct bpf_insn const d[] __attribute__((unused)) = { BPF_MOV64_IMM(BPF_REG_0, 4) };
        insn_t e[] = { BPF_MOV64_IMM(BPF_REG_0, 5) };
        struct template { int x; struct bpf_insn code[4]; } t = { 1, { BPF_MOV64_IMM(BPF_REG_0, 6) } };
        struct bpf_insn two[2][1] = { { BPF_MOV64_IMM(BPF_REG_0, 7) } };
        int f(void) { return load((struct bpf_insn[]) { BPF_MOV64_IMM(BPF_REG_0, 8) }, 2); }
        static struct test tests[] = { [7] = { "four", { XDP, { BPF_MOV64_IMM(BPF_REG_0, 9) } } } };"""
    found = {name: [insn.imm for insn in insns] for name, insns in programs(text).items()}
    assert found == {
        "a": [1], "b": [2], "c": [3], "d": [4], "e": [5], "t": [6], "two": [7], "insns": [8], "four": [9],
    }  # fmt: skip


def test_a_table_of_both_kinds_is_told_by_what_is_in_it():
    text = """
        static struct bpf_test tests[] = {
            { "TAX", .u.insns = { BPF_STMT(BPF_RET | BPF_A, 0) }, CLASSIC, { 10, 20 }, { { 2, 10 } } },
            { "MUL", .u.insns_int = { BPF_EXIT_INSN() }, INTERNAL, { }, { { 0, 1 } } },
        };"""
    found = c.read(text, "f.c")
    assert [name for name, _ in found.classic] == ["TAX"]
    assert [name for name, _ in found.found] == ["MUL"]


def test_a_range_of_elements():
    text = "struct bpf_insn p[] = { [0 ... 2] = BPF_MOV64_IMM(BPF_REG_0, 0), [3] = BPF_EXIT_INSN() };"
    assert programs(text) == {"p": [MOVE, MOVE, MOVE, EXIT]}
    assert all(isinstance(insn, Insn) for insn in programs(text)["p"])
    assert "elements 0 to -1 are none" in error("struct bpf_insn p[] = { [0 ... -1] = BPF_EXIT_INSN() };")
