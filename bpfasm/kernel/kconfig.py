"""The configuration that the running kernel was built with."""

from __future__ import annotations

import os

from bpfasm.asm.kconfig import Config, config_values, parse_config
from bpfasm.syscall import bpf, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.variables import Global, Section


def values(section: Section) -> dict[Global, Any]:
    """Return the values of the variables of ``.kconfig`` on this kernel. Raises FeatureMissing, LinkError."""
    variables = [each for each, _ in section.places if isinstance(each, Config)]
    wanted = {each.name for each in variables}
    own = {name: find() for name, find in _OWN.items() if name in wanted}
    config = read() if wanted - own.keys() else {}
    return config_values(variables, config, own)


def read() -> dict[str, str]:
    """Return the options of this kernel; none where its configuration is not to be had."""
    data = system.read_bytes("/proc/config.gz")
    if data:
        import gzip

        return parse_config(gzip.decompress(data).decode("utf-8", "replace"))
    for folder in ("/boot/config-", "/lib/modules/"):
        path = f"{folder}{system.release()}{'/config' if folder.endswith('modules/') else ''}"
        text = system.read(path)
        if text:
            return parse_config(text)
    return {}


def _version() -> int:
    """Return LINUX_VERSION_CODE: 0x060100 of 6.1.0.

    Where distributions keep the third number at 0 in the release, it is elsewhere, and looked for as libbpf does.
    """
    text = system.release()
    signature = (system.read("/proc/version_signature") or "").split()
    _, debian, rest = os.uname().version.partition("Debian ")
    if len(signature) == 3:
        text = signature[2]
    elif debian:
        text = rest
    numbers = [int("".join(c for c in part if c.isdigit()) or 0) for part in text.split("-")[0].split(".")]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major << 16 | minor << 8 | min(patch, 255)


def _has_cookie() -> int:
    """Tell whether perf events take a cookie (5.15): where the call looks at its fd, there are links of them."""
    from bpfasm.uapi.bpf import BPF_PERF_EVENT

    try:
        bpf.link_create(prog_fd=0xFFFFFFFF, target_fd=0xFFFFFFFF, attach_type=BPF_PERF_EVENT)
    except OSError as error:
        from errno import EBADF

        return int(error.errno == EBADF)
    return 0


def _has_wrapper() -> int:
    """Tell whether system calls have a function by machine that takes registers: ``__x64_sys_bpf``."""
    from bpfasm.kernel.links.tracing.kprobe import SYSCALL_PREFIX

    prefix = SYSCALL_PREFIX.get(os.uname().machine)
    return int(prefix is not None and f"{prefix}bpf" in system.kernel_symbols())


#: What libbpf says beside the configuration, by name.
_OWN = {
    "LINUX_KERNEL_VERSION": _version,
    "LINUX_HAS_BPF_COOKIE": _has_cookie,
    "LINUX_HAS_SYSCALL_WRAPPER": _has_wrapper,
}
