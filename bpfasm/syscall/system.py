"""What /proc and /sys say about this machine and process. Readers only; a file that is not there is None."""

from __future__ import annotations

import os

from bpfasm.syscall.files import check_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Where the kernel lists its performance monitoring units, the ``kprobe`` one among them.
PMUS = "/sys/bus/event_source/devices"


def read(path: str) -> str | None:
    """Return a file's text, None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        check_files(error.errno, f"reading {path}")
        return None


def read_start(path: str, size: int) -> str | None:
    """Return the first ``size`` characters of a file, None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(size)
    except OSError as error:
        check_files(error.errno, f"reading {path}")
        return None


def read_bytes(path: str) -> bytes | None:
    """Return a file's bytes, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        check_files(error.errno, f"reading {path}")
        return None


def number(path: str) -> int | None:
    """Return the number in a file, None where there is none."""
    text = read(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def status(pid: int | str = "self") -> dict[str, str]:
    """Return /proc/PID/status by field."""
    lines = (read(f"/proc/{pid}/status") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities() -> int:
    """Return this process's effective capabilities, one bit each."""
    return int(status().get("CapEff", "0"), 16)


def seccomp() -> int:
    """Return this process's seccomp mode: 0 none, 1 strict, 2 filter."""
    return int(status().get("Seccomp", "0"))


def lockdown() -> str:
    """Return the kernel's lockdown mode: none, integrity, confidentiality, or empty where it is unknown."""
    text = read("/sys/kernel/security/lockdown") or ""
    return text.partition("[")[2].partition("]")[0]


def unprivileged_bpf_disabled() -> int | None:
    """Return the sysctl: 0 anybody may load, 1 and 2 only with capabilities."""
    return number("/proc/sys/kernel/unprivileged_bpf_disabled")


def perf_event_paranoid() -> int | None:
    """Return the sysctl: what perf_event_open(2) refuses to those without CAP_PERFMON."""
    return number("/proc/sys/kernel/perf_event_paranoid")


def release() -> str:
    """Return the kernel's release, as ``uname -r`` prints it."""
    return os.uname().release


def version() -> tuple[int, int]:
    """Return the first two numbers of the release. For words: what a kernel has is found by trying."""
    major, minor = release().split("-")[0].split(".")[:2]
    return int(major), int(minor)


def possible_cpus() -> int:
    """Return for how many CPUs a per-CPU map has a value: all that may ever come online."""
    return len(_cpus("possible")) or os.sysconf("SC_NPROCESSORS_CONF")


def cpu_numbers() -> int:
    """Return how many numbers CPUs may have: more than there may be CPUs, where some numbers are left out."""
    return max(_cpus("possible"), default=os.sysconf("SC_NPROCESSORS_CONF") - 1) + 1


def online_cpu() -> int:
    """Return a CPU that is online, the first."""
    return online_cpus()[0]


def online_cpus() -> list[int]:
    """Return the CPUs that are online; they need not be the first ones."""
    return _cpus("online") or [0]


def _cpus(which: str) -> list[int]:
    """Return the numbers of the CPUs in a list of the kernel's, as "0,2-5"; none where it cannot be read."""
    cpus: list[int] = []
    for part in (read(f"/sys/devices/system/cpu/{which}") or "").strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1) if first else ()
    return cpus


def start_time(pid: int | str = "self") -> int | None:
    """Return when a process started, in clock ticks since boot; with its pid it names a process for good."""
    fields = _stat(pid)
    # A time namespace sees boot at another time.
    return int(fields[19]) - _time_offset() if fields else None


def ended(pid: int | str) -> bool:
    """Return whether a process is over, and waits at most for its parent to ask how it ended."""
    fields = _stat(pid)
    return not fields or fields[0] in {"Z", "X"}


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; none where there is no such process."""
    text = read(f"/proc/{pid}/stat")
    # The command may hold spaces and brackets: count from the last bracket, which ends field 2.
    return text.rpartition(")")[2].split() if text else []


def _time_offset() -> int:
    """Return by how many clock ticks this process's time namespace sees times since boot changed."""
    for line in (read("/proc/self/timens_offsets") or "").splitlines():
        name, seconds, nanoseconds = line.split()
        if name in {"boottime", "7"}:
            ticks = os.sysconf("SC_CLK_TCK")
            return int(seconds) * ticks + int(nanoseconds) * ticks // 1_000_000_000
    return 0


def processes() -> list[int]:
    """Return the pids of all processes that /proc shows."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def own_proc() -> bool:
    """Return whether /proc is that of this process's own pid namespace."""
    try:
        return int(os.readlink("/proc/self")) == os.getpid()
    except (OSError, ValueError):
        return False


def pids_inside(pid: int) -> list[int]:
    """Return the pids of a process, from the namespace that /proc is of down to its own."""
    return [int(each) for each in status(pid).get("NSpid", "").split()]


def pid_namespace(pid: int | str = "self") -> int | None:
    """Return the number of a process's pid namespace."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def pmu_type(name: str) -> int | None:
    """Return the number of a performance monitoring unit for perf_event_attr.type, None if there is no such unit."""
    return number(f"{PMUS}/{name}/type")


def pmu_bit(name: str, field: str) -> int | None:
    """Return which bit of perf_event_attr.config a unit's field is."""
    text = read(f"{PMUS}/{name}/format/{field}")
    return int(text.partition(":")[2]) if text and text.startswith("config:") else None


#: Lists of names that the kernel takes long to write, by their files, with the modules that were loaded then.
_lists: dict[str, tuple[str, frozenset[str]]] = {}


def listed(path: str, names: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Return the names in a file of the kernel's that is another when modules are: read again only then."""
    modules = read("/proc/modules")
    kept = _lists.get(path)
    if kept and kept[0] == modules:
        return kept[1]
    found = frozenset(names(read(path) or ""))
    if modules is not None:
        _lists[path] = modules, found
    return found


def kernel_symbols() -> frozenset[str]:
    """Return the names in /proc/kallsyms; empty where it cannot be read. Takes 0.2 s: for error messages.

    Names of programs, which come and go without modules, may be missing.
    """
    return listed("/proc/kallsyms", lambda text: (line.split(None, 3)[2] for line in text.splitlines()))


def memlock_limit() -> tuple[int, int]:
    """Return the soft and the hard limit of locked memory in bytes, -1 for none."""
    from resource import RLIMIT_MEMLOCK, getrlimit

    return getrlimit(RLIMIT_MEMLOCK)


def set_memlock_limit(soft: int, hard: int) -> None:
    """Set the limit of locked memory. Raises OSError or ValueError where this process may not."""
    from resource import RLIMIT_MEMLOCK, setrlimit

    setrlimit(RLIMIT_MEMLOCK, (soft, hard))


def memory_cgroup_limit() -> int | None:
    """Return how many bytes the processes in this one's memory cgroup may use together, None where there is no limit.

    That is the least of its own and those of the cgroups above it, as far as they are seen.
    """
    found = []
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        kind, file = ("cgroup", "memory.limit_in_bytes") if controllers else ("cgroup2", "memory.max")
        for root in mounts(kind):
            here = path
            while here.startswith("/"):
                found.append(number(f"{root}{here}/{file}"))
                here = os.path.dirname(here) if here != "/" else ""
    return min((limit for limit in found if limit is not None and limit < _NO_LIMIT), default=None)


#: What cgroups of the first version have where there is no limit is near 1 << 63.
_NO_LIMIT = 1 << 60


def file_system(path: str) -> str:
    """Return the type of the file system that a directory is in (bpf, tmpfs ...), empty where that is unknown."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in (read("/proc/self/mountinfo") or "").splitlines():
        place, _, rest = line.partition(" - ")
        if place.split()[2] == wanted:
            return rest.split()[0]
    return ""


def in_user_namespace() -> bool:
    """Return whether this process is in a user namespace of its own, where its capabilities reach no further."""
    # The first namespace maps every id to itself.
    return (read("/proc/self/uid_map") or "0 0 4294967295").split() != ["0", "0", "4294967295"]


#: What the kernel writes in /proc/self/mountinfo instead of these characters; the backslash comes last.
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def mounts(kind: str, mountinfo: str | None = None) -> list[str]:
    """Return where file systems of a kind are mounted, whole ones only; the last mounted is the last.

    ``mountinfo`` is the text of /proc/self/mountinfo.
    """
    found = []
    for line in (read("/proc/self/mountinfo") or "" if mountinfo is None else mountinfo).splitlines():
        mount, _, source = line.partition(" - ")
        _, _, _, root, point, *_ = mount.split()
        if root == "/" and source.partition(" ")[0] == kind:
            for escape, meant in _ESCAPES:
                point = point.replace(escape, meant)
            found.append(point)
    return found
