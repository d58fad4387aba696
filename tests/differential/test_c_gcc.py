"""C as it is read, and as it is printed, against gcc over the kernel's own headers."""

import os
import random
import re
import subprocess

import pytest
from samples import samples

from bpfasm.asm import Program, Target, assemble, link
from bpfasm.asm.classic import encode as encode_classic
from bpfasm.asm.syntax import c
from bpfasm.asm.syntax.c import names as cnames
from bpfasm.asm.syntax.c.parser import Parser
from bpfasm.asm.syntax.c.scope import Scope
from bpfasm.asm.syntax.c.tokens import Preprocessor, lex
from bpfasm.isa.insn import encode
from bpfasm.views.listing import listing

pytestmark = pytest.mark.oracle

HEAD = """\
#include <stddef.h>
#include <stdio.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/ptrace.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "filter.h"
"""


@pytest.fixture(scope="module")
def compiled(gcc, source, tmp_path_factory):
    """Give a function that compiles C and returns what it prints: the arrays' bytes."""
    scratch = tmp_path_factory.mktemp("c")
    header = (source / "tools/include/linux/filter.h").read_text()
    (scratch / "filter.h").write_text(header.replace("uapi/linux/filter.h", "linux/filter.h"))

    def compiled(text, names):
        body = "".join(f"fwrite({name}, sizeof({name}), 1, stdout);\n" for name in names)
        (scratch / "a.c").write_text(f"{HEAD}{text}\nint main(void) {{\n{body}return 0; }}\n")
        paths = [f"-I{scratch}", f"-I{source / 'include/uapi'}"]
        subprocess.run(["gcc", "-w", *paths, "-o", scratch / "a", scratch / "a.c"], check=True)
        return subprocess.run([scratch / "a"], check=True, capture_output=True).stdout

    return compiled


def test_what_is_printed_compiles_to_the_same_bytes(compiled):
    insns = [insn for _, insn in samples(12, seed=41)]
    text = "\n".join(listing(assemble(Program("prog", 0, insns)), "c"))
    assert compiled(text, ["prog"]) == encode(insns)


FILES = {
    "as in a blog": """
        #define KEY_OFF (-4)
        #define R(n) BPF_REG_##n
        #define LOOKUP(map) \\
            BPF_LD_MAP_FD(BPF_REG_1, map), \\
            BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem)
        enum { map_fd = 5, drop = 1 << 2, LAST };
        struct bpf_insn prog[] = {
            BPF_MOV64_REG(R(6), R(1)), /* ctx */
            BPF_LD_ABS(BPF_B, ETH_HLEN + 9 /* protocol */),
            BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, KEY_OFF), // key
            BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
            BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, KEY_OFF),
            LOOKUP(map_fd),
            BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 2),
            BPF_MOV64_IMM(BPF_REG_1, 1),
            BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, 0),
            BPF_MOV64_IMM(BPF_REG_0, LAST | drop),
            BPF_EXIT_INSN(),
        };""",
    "structs": """
        struct inner { __u8 a; __u16 b[3]; } __attribute__((packed));
        struct event {
            __u32 pid, tgid; __u64 ts; char comm[16];
            union { struct { short x, y; }; __u64 whole; };
            struct inner in; const void *p; int (*call)(int);
            struct { unsigned long long deep[2]; } named[4];
        };
        typedef struct event event_t;
        struct bpf_insn prog[] = {
            BPF_ST_MEM(BPF_DW, BPF_REG_10, -(int)sizeof(struct event), offsetof(struct event, y)),
            BPF_LDX_MEM(BPF_W, 1, 2, offsetof(struct event, in.b[2])),
            BPF_LDX_MEM(BPF_W, 1, 2, offsetof(event_t, named[3].deep[1])),
            BPF_LDX_MEM(BPF_W, 1, 2, offsetof(struct event, call)),
            BPF_MOV64_IMM(0, sizeof(event_t)), BPF_MOV64_IMM(0, sizeof(struct inner[3])),
            BPF_MOV64_IMM(0, sizeof(char *) + sizeof(unsigned short)),
            BPF_LDX_MEM(BPF_W, 1, 6, offsetof(struct __sk_buff, remote_ip6[2])),
            BPF_LDX_MEM(BPF_W, 1, 6, offsetof(struct __sk_buff, cb[4])),
            BPF_LDX_MEM(BPF_W, 1, 6, offsetof(struct xdp_md, data_end)),
        };""",
    "bit fields": """
        struct bits {
            __u8 a:3, b:6; char c; int d:20, :0; long e:33; short f:9, g:9; __u8 h; unsigned i:1; __u64 j:40, k:30;
            __u16 end;
        };
        struct packed { __u8 a:3; __u32 b:17; __u8 c; __u64 d:33; __u16 end; } __attribute__((packed));
        struct __attribute__((aligned(16))) wide { char a; __u32 b __attribute__((aligned(8))), c; char *d, e; };
        struct holder { char a; struct wide b; struct ethhdr c; struct iphdr d; };
        union mixed { int a:5; char b[7]; short c; };
        struct bpf_insn prog[] = {
            BPF_MOV64_IMM(0, offsetof(struct bits, c)), BPF_MOV64_IMM(0, offsetof(struct bits, h)),
            BPF_MOV64_IMM(0, offsetof(struct bits, end)), BPF_MOV64_IMM(0, sizeof(struct bits)),
            BPF_MOV64_IMM(0, offsetof(struct packed, c)), BPF_MOV64_IMM(0, offsetof(struct packed, end)),
            BPF_MOV64_IMM(0, sizeof(struct packed)), BPF_MOV64_IMM(0, sizeof(union mixed)),
            BPF_MOV64_IMM(0, offsetof(struct wide, b)), BPF_MOV64_IMM(0, offsetof(struct wide, c)),
            BPF_MOV64_IMM(0, offsetof(struct wide, e)), BPF_MOV64_IMM(0, sizeof(struct wide)),
            BPF_MOV64_IMM(0, offsetof(struct holder, b.e)), BPF_MOV64_IMM(0, offsetof(struct holder, d.ttl)),
            BPF_MOV64_IMM(0, sizeof(struct holder)), BPF_MOV64_IMM(0, _Alignof(struct holder)),
        };""",
    "headers": """
        #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ || !defined(__LITTLE_ENDIAN_BITFIELD)
        #error this is another machine
        #endif
        #define LOAD(reg, args...) BPF_MOV64_IMM(reg, ##args)
        struct bpf_insn prog[] = {
            BPF_LD_ABS(BPF_B, ETH_HLEN + offsetof(struct iphdr, protocol)),
            LOAD(0, sizeof(struct iphdr)), LOAD(0, sizeof(struct ipv6hdr)), LOAD(0, sizeof(struct tcphdr)),
            LOAD(0, offsetof(struct ipv6hdr, daddr)), LOAD(0, offsetof(struct tcphdr, check)),
            LOAD(0, offsetof(struct udphdr, check)), LOAD(0, TCP_FLAG_SYN), LOAD(0, BPF_CLASS(0xb7)),
            LOAD(0, BPF_SIZE(BPF_LDX | BPF_DW) + BPF_MODE(BPF_LD | BPF_ABS) + BPF_OP(BPF_JSGT) + BPF_SRC(BPF_X)),
            [10 ... 12] = BPF_MOV64_REG(BPF_REG_0, BPF_REG_1),
        };""",
    "sizes": """
        struct ev { __u32 a; struct { __u64 b[3]; } in; };
        typedef struct ev ev_t;
        static const short table[] = { 1, 2, (3) };
        static ev_t e, *p, several[5];
        enum { A = sizeof(several), B };
        struct bpf_insn first[] = { BPF_LD_IMM64(BPF_REG_1, 5), BPF_EXIT_INSN() };
        struct bpf_insn prog[] = {
            BPF_MOV64_IMM(0, sizeof(e)), BPF_MOV64_IMM(0, sizeof e.in.b), BPF_MOV64_IMM(0, sizeof(*p)),
            BPF_MOV64_IMM(0, sizeof(p->in.b[1])), BPF_MOV64_IMM(0, sizeof(((ev_t *)0)->in)),
            BPF_MOV64_IMM(0, sizeof(table) / sizeof(table[0])), BPF_MOV64_IMM(0, sizeof(first)),
            BPF_MOV64_IMM(0, B), BPF_MOV64_IMM(0, sizeof(several[1]) - (int)sizeof(several)),
            BPF_MOV64_IMM(0, sizeof(&e) + sizeof(p)),
        };""",
    "fields": """
        static const struct bpf_insn prog[3] = {
            { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
            { 0xb7, 1, 0, 0, 'A' },
            [2] = ((struct bpf_insn) { .code = BPF_JMP | BPF_EXIT }),
        };
        struct bpf_insn more[] = {
            BPF_RAW_INSN(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, 0, 0, 7), BPF_RAW_INSN(0, 0, 0, 0, 9),
            BPF_LD_IMM64(BPF_REG_2, ~0ULL), BPF_LD_IMM64(BPF_REG_2, 0xffffffff), BPF_LD_IMM64(BPF_REG_2, -5),
        };""",
    "conditions": """
        #define HAVE 2
        #if defined(HAVE) && HAVE > 1
        #define VALUE 10
        #elif 1
        #define VALUE 11
        #else
        #error no
        #endif
        #ifndef HAVE
        this is no C
        #endif
        #define BOTH(x, ...) BPF_MOV64_IMM(BPF_REG_1, x), __VA_ARGS__
        #define SELF SELF_ + 1
        struct bpf_insn prog[] = { BOTH(VALUE, BPF_MOV32_IMM(BPF_REG_2, 0x80000000), BPF_EXIT_INSN()) };""",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_gcc_reads_it(compiled, name):
    found = c.programs(c.read(FILES[name], "f.c"))
    ours = b"".join(link(program, Target(byteorder="little")).code for program in found)
    assert ours == compiled(FILES[name], [program.name for program in found])


def test_what_a_seccomp_filter_has_is_read_as_gcc_reads_it(gcc, tmp_path):
    text = """
        struct sock_filter strict[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offsetof(struct seccomp_data, args[1]))),
            { 0x15, 0, 1, __NR_bpf },
            BPF_STMT(BPF_RET + BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
            { .code = BPF_RET, .k = SECCOMP_RET_ALLOW },
        };"""
    head = ["stddef.h", "stdio.h", "errno.h", "linux/filter.h", "linux/seccomp.h", "linux/audit.h", "sys/syscall.h"]
    includes = "".join(f"#include <{name}>\n" for name in head)
    main = "int main(void) { fwrite(strict, sizeof strict, 1, stdout); return 0; }\n"
    (tmp_path / "a.c").write_text(f"{includes}{text}\n{main}")
    subprocess.run(["gcc", "-w", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    printed = subprocess.run([tmp_path / "a"], check=True, capture_output=True).stdout
    ((name, insns),) = c.read(text, "f.c").classic
    assert name == "strict"
    assert encode_classic(insns, "little") == printed


def test_names_of_other_headers_have_their_values(gcc, tmp_path):
    """Those of the kernel's own limits.h (S32_MAX) are compared with C's."""
    stdint = {"S16": "INT16", "S32": "INT32", "S64": "INT64", "U16": "UINT16", "U32": "UINT32", "U64": "UINT64"}
    own = {"true", "false", "NULL", "BPF_REG_AX"}
    lines = []
    for name, value in cnames.NUMBERS.items():
        known = f"{stdint[name[:3]]}{name[3:]}" if name[:3] in stdint and "_M" in name[3:] else name
        if name not in own:
            lines.append(
                f'if ((unsigned long long)({known}) != (unsigned long long){value % 2**64}ULL) puts("{name}");'
            )
    head = ["stdio.h", "stdint.h", "limits.h", "sys/socket.h"]
    includes = "".join(f"#include <{name}>\n" for name in head)
    (tmp_path / "a.c").write_text(f"{includes}int main(void) {{ {' '.join(lines)} return 0; }}\n")
    subprocess.run(["gcc", "-w", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    printed = subprocess.run([tmp_path / "a"], check=True, capture_output=True, text=True).stdout
    # C's own are int where these are the bits of 32: -1 and 0xffffffff are one.
    assert printed.split() == []


def test_what_a_compiler_defines_has_gccs_values(gcc, tmp_path):
    """Those of gcc itself, of endian.h and the kernel's headers; none of another machine's."""
    scope = Scope(os.uname().machine)
    lines = [f"#include <{name}>" for name in ("endian.h", "asm/byteorder.h", "asm/bitsperlong.h", "sys/syscall.h")]
    machines = [name for names in cnames.OF_MACHINE.values() for name in names]
    for name in (*cnames.PREDEFINED, *machines, "__NR_read", "__NR_bpf", "__NR_sigreturn"):
        value = scope.predefined(name)
        wrong = f"defined({name})" if value is None else f"!defined({name}) || {name} + 0 != {value}"
        lines.append(f"#if {wrong}\n#error {name}\n#endif")
    (tmp_path / "a.c").write_text("\n".join(lines))
    done = subprocess.run(["gcc", "-E", tmp_path / "a.c"], check=False, capture_output=True, text=True)
    # these two say which gcc it is
    assert set(re.findall("#error (.*)", done.stderr)) <= {"__GNUC__", "__STDC_VERSION__"}


def test_expressions_have_the_values_that_gcc_gives_them(gcc, tmp_path):
    """At random, with every operator, type and suffix; a division by zero is left out."""
    choose = random.Random(42)
    texts = [expression(choose, 4) for _ in range(1500)]
    values = {}
    for number, text in enumerate(texts):
        try:
            values[number] = evaluate(text)
        except ZeroDivisionError:
            continue
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({texts[n]}));\n' for n in values)
    (tmp_path / "a.c").write_text(
        f"#include <stdio.h>\n#include <linux/types.h>\nint main(void) {{ {lines} return 0; }}"
    )
    subprocess.run(["gcc", "-w", "-O0", "-fwrapv", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    printed = subprocess.run([tmp_path / "a"], check=True, capture_output=True, text=True).stdout.split()
    assert len(values) > 1000
    wrong = [
        (texts[n], value, int(theirs))
        for (n, value), theirs in zip(values.items(), printed, strict=True)
        if value % 2**64 != int(theirs)
    ]
    assert wrong == []


def evaluate(text):
    tokens = [token for line in lex(text, "f") for token in line]
    try:
        return Parser(Preprocessor("f", lambda _: 0).expand(tokens), "f", Scope()).number()
    except Exception as error:
        if "division by zero" in str(error):
            raise ZeroDivisionError from None
        raise


def expression(choose, depth):
    """Return a random expression of C."""
    kind = choose.randrange(8) if depth else 0
    if kind <= 1:
        number = choose.choice(
            (0, 1, 2, 7, 31, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, choose.getrandbits(40))
        )
        return choose.choice((str, hex, lambda n: f"0{n:o}"))(number) + choose.choice(("", "", "U", "L", "UL", "ull"))
    if kind == 2:
        return choose.choice("-~!") + f"({expression(choose, depth - 1)})"
    if kind == 3:
        types = ("int", "unsigned", "__u8", "__s16", "unsigned long", "char", "__u64", "short", "long long", "__s8")
        return f"({choose.choice(types)})({expression(choose, depth - 1)})"
    if kind == 4:
        return f"(({expression(choose, depth - 1)}) {choose.choice(('<<', '>>'))} {choose.randrange(31)})"
    if kind == 5:
        return (
            f"(({expression(choose, depth - 1)}) ? {expression(choose, depth - 1)} : {expression(choose, depth - 1)})"
        )
    operators = ("+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "<=", ">=", "==", "!=", "&&", "||")
    return f"({expression(choose, depth - 1)} {choose.choice(operators)} {expression(choose, depth - 1)})"
