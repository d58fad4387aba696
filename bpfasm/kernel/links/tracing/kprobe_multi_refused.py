"""Why many kernel functions were not attached to, in words."""

from __future__ import annotations

from errno import E2BIG, EINVAL, ENOENT, EOPNOTSUPP, ESRCH

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.links.refused import not_attached
from bpfasm.syscall import system, tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.kprobe import KprobeMulti
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram


def nothing_matches(where: KprobeMulti) -> KernelError | FeatureMissing:
    """No function matches the pattern, or they are not listed."""
    root = tracefs.find()
    if not (root and tracefs.probed_functions(root)):
        return FeatureMissing(
            "the functions that can be probed are not listed here (available_filter_functions in tracefs)",
            "mount tracefs and run it as root, or name the functions: the kernel must have CONFIG_DYNAMIC_FTRACE",
            rule="no-tracefs",
        )
    return KernelError(
        ENOENT,
        f"no function of this kernel matches {where.pattern}",
        f"* stands for any letters, ? for one; look: grep vfs_ {root}/available_filter_functions",
        rule="no-symbol",
    )


def refusal(program: LoadedProgram, where: KprobeMulti, symbols: list[str], number: int) -> BpfasmError:
    """Say why the kernel refused."""
    if number in (EINVAL, EOPNOTSUPP) and _absent(where):
        since = "6.10" if where.session else "5.18"
        return FeatureMissing(
            f"this kernel ({system.release()}) has no {str(where).partition(' ')[0]}: it came with {since} and needs "
            "CONFIG_FPROBE",
            "attach a program at each function by kprobe(), or take --on 7",
            rule="no-kprobe-multi",
        )
    root = tracefs.find()
    there = tracefs.probed_functions(root) if root else frozenset()
    unknown = [each for each in symbols if each not in there] if there else []
    if number in (ESRCH, ENOENT, EINVAL) and unknown:
        from bpfasm.asm.attach.kprobe import kprobe
        from bpfasm.kernel.links.tracing.kprobe_refused import no_symbol

        return no_symbol(kprobe(unknown[0]), number)
    do = "a link has room for a million functions" if number == E2BIG else ""
    return not_attached(program, where, number, do)


def _absent(where: KprobeMulti) -> bool:
    from bpfasm.kernel.features import ask
    from bpfasm.syscall.probe.answer import NO

    return ask("link/kprobe_session" if where.session else "link/kprobe_multi").state == NO
