"""LLVM's text: what ``llvm-objdump -d`` prints and ``llvm-mc``, clang's inline assembly and libbpf's selftests take.

Numbers are decimal. A call of the program's own function has no number in it, only a name; what has neither is a
``.8byte``, which llvm-mc takes as well. A symbol stands for whatever it names: ``limit+4 ll`` is a place in a map's
value or in a variable, ``call f`` a function of the program or of the kernel.
"""

from __future__ import annotations

from bpfasm.asm.syntax.dialect import U32, Dialect, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.syntax import Roles
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn


def _off(insn: Insn) -> str:
    return f"- {-insn.off}" if insn.off < 0 else f"+ {insn.off}"


def _function(insn: Insn) -> str:
    """Refuse a number: LLVM has the same text for the helper of that number."""
    raise TypeError


ROLES: Roles = {
    "dst": ("%d", 1),
    "src": ("%d", 2),
    "off": ("%s", _off),
    "jump": ("%+d", 3),
    "jump32": ("%+d", 4),
    "callee": ("%s", _function),
    "func": ("%d", lambda insn: insn.imm & U32),
    "imm": ("%d", 4),
    "cmp": ("%d", 4),
    "cast": ("%s", lambda insn: f"{insn.imm >> 16 & 0xFFFF}, {insn.imm & 0xFFFF}"),
    "imm64": ("%d", lambda insn: insn.imm2 << 32 | (insn.imm & U32)),
    "map": ("%d", lambda insn: insn.imm & U32),
    "map_idx": ("%d", lambda insn: insn.imm & U32),
    "btf_id": ("%d", lambda insn: insn.imm & U32),
    "value_off": ("%+d", 6),
    "helper": ("%d", 4),
}


def _aliases(form: Form) -> tuple[str, ...]:
    """Return other texts of a form: by name, and with the registers' other names, as LLVM without alu32 has them."""
    named = {
        "ld_map_fd": ("r{dst} = {map_name} ll",),
        "ld_map_value": (
            "r{dst} = map[{map_name}][0]+{value_off} ll",
            "r{dst} = var[{variable}]+{value_off} ll",
            "r{dst} = {variable}{value_off} ll",
        ),
        "ld_func": ("r{dst} = {label} ll",),
        "call_kfunc": ("call kernel-function#{kfunc}", "call {kfunc}"),
    }
    if form.kind in ("load", "store", "atomic") and "w{" in form.llvm:
        return (form.llvm.replace("w{", "r{").replace("w0", "r0"),)
    return named.get(form.name, ())


DIALECT = Dialect(
    "llvm",
    ROLES,
    raw=word,
    comment="#",
    max_reg=10,
    named={"ld_map_fd": "r{dst} = {map} ll", "ld_func": "r{dst} = {func} ll"},
    value="r{{dst}} = {}{{value_off}} ll",
    kfunc="call {}",
    aliases=_aliases,
)
text = DIALECT.text
