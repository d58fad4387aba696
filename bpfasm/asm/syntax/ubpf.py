"""uBPF's text, as far as bpf_conformance takes it: ``ldxw %r1, [%r2+4]``, ``jeq %r1, 5, +3``, ``lock fetch add ...``.

What it has no words for comes from rbpf (``ldabsb``) or is written as the kernel has it (``lddw %r1, map[counts]``);
the rest is a ``.8byte``. Registers may be written without the ``%``, and 64-bit arithmetic as ``add64``, as rbpf
does.
"""

from __future__ import annotations

from bpfasm.asm.syntax.dialect import U32, Dialect, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.syntax import Roles
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn


def _off(insn: Insn) -> str:
    return f"{insn.off:+d}" if insn.off else ""


ROLES: Roles = {
    "dst": ("%d", 1),
    "src": ("%d", 2),
    "off": ("%s", _off),
    "jump": ("%+d", 3),
    "jump32": ("%+d", 4),
    "callee": ("%+d", 4),
    "func": ("%+d", 4),
    "imm": ("%d", 4),
    "cmp": ("%d", 4),
    "imm64": ("0x%x", lambda insn: (insn.imm2 & U32) << 32 | (insn.imm & U32)),
    "map": ("%d", 4),
    "map_idx": ("%d", 4),
    "value_off": ("%d", 6),
    "btf_id": ("%d", 4),
    "btf_fd": ("%d", 6),
    "helper": ("%d", 4),
}

_NAMED = {
    "ld_map_fd": ("lddw %r{dst}, map[{map_name}]",),
    "ld_map_value": ("lddw %r{dst}, map[{map_name}][0]+{value_off}", "lddw %r{dst}, var[{variable}]+{value_off}"),
    "call_kfunc": ("call kernel-function#{kfunc}",),
}


def _aliases(form: Form) -> tuple[str, ...]:
    """Return other texts of a form."""
    first, _, rest = form.ubpf.partition(" ")
    if form.name in _NAMED:
        return _NAMED[form.name]
    if first.startswith("bswap"):
        return (f"{first[1:]} {rest}",)
    if form.kind == "alu" and f"{first}64" in (form.name, form.name.rpartition("_")[0]):
        return (f"{first}64 {rest}",)
    return ()


DIALECT = Dialect("ubpf", ROLES, raw=word, comment="#", max_reg=12, aliases=_aliases)
text = DIALECT.text
