"""What the running kernel has: the probes of ``bpfasm.syscall.probe``, and why some of them could not tell.

>>> from bpfasm.kernel.features import ask
>>> ask("map/hash").state                                           # doctest: +SKIP
'yes'
"""

from __future__ import annotations

from bpfasm.errors import FeatureMissing, KernelError, UsageError
from bpfasm.kernel.base.memlock import plenty
from bpfasm.kernel.base.privilege import not_permitted
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.syscall import system
from bpfasm.syscall.probe.answer import UNKNOWN, YES, refused
from bpfasm.syscall.probe.table import GROUPS, features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.syscall.probe.answer import Answer
    from bpfasm.syscall.probe.feature import Feature
    from bpfasm.syscall.probe.helpers import Helpers

#: What asking takes, whatever is asked for.
_NEEDS = ("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN")


def find(id: str) -> Feature:
    """Return the row of the table with an id, such as ``map/ringbuf``. Raises UsageError."""
    group = id.partition("/")[0]
    rows = {row.id: row for row in features(group)} if group in GROUPS else {}
    if id in rows:
        return rows[id]
    from difflib import get_close_matches

    close = get_close_matches(id, rows or [f"{name}/" for name in GROUPS], n=3)
    raise UsageError(
        f"there is no feature {id!r}",
        f"did you mean {' or '.join(close)}?" if close else f"the groups are {', '.join(GROUPS)}, helper",
        rule="no-such-feature",
    )


def ask(id: str) -> Answer:
    """Return whether the running kernel has a feature, by trying. Raises UsageError for one that the table lacks."""
    return answer(find(id))


def answer(feature: Feature) -> Answer:
    """Return whether the running kernel has a feature."""
    with plenty():
        return _probed(feature)


def _probed(feature: Feature) -> Answer:
    """Return what a probe answers; where what it takes to ask was refused already, that."""
    try:
        return explained(feature.probe())
    except KernelError:
        raise  # in words already: there was no file to ask with
    except OSError as error:
        return explained(refused(error))


def survey(group: str) -> list[tuple[Feature, Answer]]:
    """Return the answer to every feature of a group. Nothing that is made for it stays."""
    with plenty():
        return [(row, _probed(row)) for row in features(group)]


def helpers(types: Iterable[int] = (), *, loud: bool = False) -> list[Helpers]:
    """Return what programs may call: of some types, or of all. ``loud`` is that of ``probe.helpers.ask``."""
    from bpfasm.isa.helpers import HELPERS
    from bpfasm.syscall.probe.helpers import ask as ask_helpers

    with plenty():
        found = list(ask_helpers(HELPERS, types=types, loud=loud))
    return [each.replace(lack=explained(each.lack)) if each.lack else each for each in found]


def helper(name: str, types: Iterable[int] = (), *, loud: bool = False) -> list[Helpers]:
    """Return which programs may call a helper, given by its name: of some types, or of all. Raises UsageError."""
    from bpfasm.syscall.probe.helpers import ask as ask_helpers

    number = helper_number(name)
    with plenty():
        found = list(ask_helpers([number], types=types, loud=loud))
    return [each.replace(lack=explained(each.lack)) if each.lack else each for each in found]


def some_program() -> dict[int, Answer]:
    """Return for each helper, by number, whether some program may call it."""
    from bpfasm.isa.helpers import HELPERS
    from bpfasm.syscall.probe.helpers import anywhere

    with plenty():
        return {number: explained(answer) for number, answer in anywhere(HELPERS).items()}


def helper_number(name: str) -> int:
    """Return the number of a helper, given by its name with or without ``bpf_``. Raises UsageError."""
    from bpfasm.isa.helpers import HELPERS

    known = {called: number for number, called in HELPERS.items()}
    return _number(name.lower().removeprefix("bpf_"), known, "helper", "bpfasm features helper lists them")


def program_number(name: str) -> int:
    """Return the number of a type of program, given as ``xdp`` or ``BPF_PROG_TYPE_XDP``. Raises UsageError."""
    from bpfasm.syscall.probe.programs import PLAIN

    known = {each.label: number for number, each in PLAIN.items()}
    return _number(name.lower().removeprefix("bpf_prog_type_"), known, "type of program", "bpfasm features program")


def _number(name: str, known: dict[str, int], what: str, where: str) -> int:
    if name in known:
        return known[name]
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    raise UsageError(
        f"there is no {what} {name!r}",
        f"did you mean {' or '.join(close)}?" if close else where,
        rule="no-such-feature",
    )


def explained(answer: Answer) -> Answer:
    """Say what a lack of permission is due to."""
    if answer.state != UNKNOWN or not answer.errno:
        return answer
    reason = not_permitted("asking", _NEEDS, errno_name(answer.errno)).what
    return answer.replace(reason=reason.removeprefix("asking: "))


def lack_of(id: str) -> FeatureMissing | None:
    """Return the exception for a feature that the kernel is proven not to have, None for one it has or may have."""
    feature = find(id)
    found = answer(feature)
    if found.state == YES or (found.state == UNKNOWN and not found.errno):
        return None
    if found.state == UNKNOWN:
        return not_permitted(f"asking for {id}", _NEEDS, errno_name(found.errno))
    since = f"; it came with Linux {feature.since}" if feature.since else ""
    what = f"this kernel ({system.release()}) has no {id}: {found.reason}{since}"
    newer = feature.since and [int(part) for part in feature.since.split(".")] > _LAB_DEFAULT
    return FeatureMissing(what, "run it on a newer kernel (--on 7)" if newer else IN_THE_LAB, rule="no-feature")


#: The release of the kernel that the words of IN_THE_LAB name.
_LAB_DEFAULT = [6, 1]
