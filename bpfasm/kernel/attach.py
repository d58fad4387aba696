"""``attach()``: from a program and the description of a place to a link."""

from __future__ import annotations

from bpfasm.errors import AssemblyError
from bpfasm.kernel.links import OPENERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import Place
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import LoadedProgram


def attach(program: LoadedProgram, target: Place | None = None, mode: str = "auto") -> Link:
    """Attach a program where its ``attach`` says, or at ``target``; return the link, which is the caller's to close.

    ``mode`` picks a mechanism where there are several (docs/links.rst has those of each kind); ``auto`` takes the
    best that is there, and ``link.mode`` says which. Raises FeatureMissing, KernelError.
    """
    where = target or program.program.attach
    if where is None:
        raise AssemblyError(
            f"{program.name} does not say where it is to be attached",
            'declare it with attach=kprobe("vfs_read"), or name the place here',
            rule="attach-target",
        )
    kind = next(each.__name__ for each in type(where).__mro__ if each.__name__ in OPENERS)
    opener = __import__(f"bpfasm.kernel.links.{OPENERS[kind]}", fromlist=["open_link"])
    if mode != "auto" and mode not in opener.MODES:
        raise AssemblyError(
            f"there is no mode {mode!r} for {where}", f"its modes are {', '.join(('auto', *opener.MODES))}",
            rule="attach-mode",
        )  # fmt: skip
    if program.type not in where.takes:
        from bpfasm.kernel.links.refused import wrong_type

        raise wrong_type(program, where)
    for field, value in where.told_at_load().items() if target else ():
        if program.program.__dict__[field] != value:
            from bpfasm.kernel.links.refused import loaded_otherwise

            raise loaded_otherwise(program, where, field, value)
    link: Link = opener.open_link(program, where, mode)
    return link
