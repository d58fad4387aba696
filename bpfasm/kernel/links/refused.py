"""Why something was not attached, or a link not changed, in words: what the kinds have in common."""

from __future__ import annotations

from errno import EACCES, EEXIST, EINVAL, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import event_not_permitted, lacking, not_permitted
from bpfasm.kernel.base.words import errno_name, prog_type
from bpfasm.syscall import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach import Place
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import KernelProgram, LoadedProgram


def wrong_type(program: LoadedProgram, where: Place) -> KernelError:
    """The program is not of a type that is attached there."""
    wanted = " or ".join(map(prog_type, where.takes))
    return KernelError(
        EINVAL,
        f"{program.name} is of type {prog_type(program.type)}, and {where} takes a {wanted}",
        "give the program that type",
        rule="program-type",
    )


def loaded_otherwise(program: LoadedProgram, where: Place, field: str, value: Any) -> KernelError:
    """The program was verified for another place."""
    return KernelError(
        EINVAL,
        f"{program.name} was loaded with {field} {program.program.__dict__[field]!r}, and {where} takes one with "
        f"{value!r}",
        "declare the program with this place as its attach=: the verifier has to know it",
        rule="attach-target",
    )


def no_kernel_link(link: Link, lack: str) -> FeatureMissing:
    """The mechanism makes no link of the kernel's."""
    return FeatureMissing(
        f"{link.program.name} is attached at {link.target} by {link.mode}, and the kernel {lack}",
        'attach it with mode="link" where the kernel has that; link.program.info() tells of the program',
        rule="no-link-object",
    )


def several(link: Link) -> FeatureMissing:
    """It is a link for each CPU."""
    return FeatureMissing(
        f"{link.program.name} is attached at {link.target} by {len(link.fds)} links, one for each CPU",
        "a pin is of one: attach it to a CPU at a time, cpus=(0,), and pin those",
        rule="no-link-object",
    )


def no_perf_link() -> FeatureMissing:
    """There are no BPF links on perf events."""
    return FeatureMissing(
        f"this kernel ({system.release()}) has no BPF links on perf events",
        'they came with 5.15; mode="perf" or "auto" does without',
        rule="no-perf-link",
    )


def no_cookie(where: Place, since: str) -> FeatureMissing:
    """The mechanism that is there takes no cookie."""
    return FeatureMissing(
        f"{where} has a cookie, and this kernel ({system.release()}) or this mode takes none there",
        f"cookies came with {since}, for links; load a program for each place, or take --on 7",
        rule="no-cookie",
    )


def not_bound(program: LoadedProgram, where: Place, number: int) -> BpfasmError:
    """Say why the program was not tied to the event that was made for it."""
    if number in (EPERM, EACCES):
        return event_not_permitted(f"attaching {program.name} at {where}", errno_name(number))
    what = f"{program.name} was not attached at {where}"
    if number == EEXIST:
        return KernelError(
            number,
            f"{what}: it runs there already, and an event runs a program once",
            "load it a second time, under another name, to have it twice",
            rule="attach-refused",
        )
    return KernelError(number, f"{what}: {errno_name(number)}", "dmesg may tell more", rule="attach-refused")


def not_attached(
    program: KernelProgram,
    where: Place,
    number: int,
    do: str = "",
    needs: tuple[str, ...] = ("CAP_BPF", "CAP_PERFMON"),
) -> BpfasmError:
    """Say why a program was not attached, where the number is all that is known."""
    if number == EPERM and (lacking(needs) or not do):
        return not_permitted(f"attaching {program.name} at {where}", needs)
    return KernelError(
        number,
        f"{program.name} was not attached at {where}: {errno_name(number)}",
        do or "dmesg may tell more",
        rule="attach-refused",
    )
