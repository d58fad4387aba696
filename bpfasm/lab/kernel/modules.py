"""Kernel modules of a guest: which it has, what they need, and the index that the kernel's modprobe finds them by.

A package of modules as Debian ships it has no index: each module's own .modinfo is asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab.kernel.objects import expand, modinfo
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: What the lab itself needs, loaded when the guest starts: the port to the host, and the disk of a guest with one.
LOADED = ("virtio_pci", "virtio_console")
DISK = ("virtio_blk", "ext4")

#: What programs and those who try them ask the kernel for, loaded by the kernel when it is first used.
#: Interfaces to attach to, and a network between namespaces:
NETWORK = ("veth", "dummy", "tun", "bridge", "vxlan")
#: Places for classifiers and actions; queues whose delays and losses can be measured, and set:
TRAFFIC = ("sch_ingress", "cls_bpf", "act_bpf", "sch_fq", "sch_netem")
#: Connection tracking's kfuncs, and the fragments put together that a netfilter link may ask for:
NETFILTER = ("nf_conntrack", "nf_defrag_ipv4", "nf_defrag_ipv6")
#: What the lists of sockets are compared with:
SOCKETS = ("tcp_diag", "udp_diag", "unix_diag")
#: A container's file system, a disk in a file, a disk that answers after a time that is set:
STORAGE = ("overlay", "loop", "null_blk")

ON_DEMAND = NETWORK + TRAFFIC + NETFILTER + SOCKETS + STORAGE

_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")


class Module(Value):
    """A kernel module: its name with "_" for "-", as the kernel has it; its bytes; what it says of itself.

    ``aliases`` are what the kernel may ask for it by.
    """

    name: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def files(folder: Path) -> dict[str, Path]:
    """Return the files of the modules below ``folder`` by the module's name."""
    found = {}
    for place, _, names in os.walk(folder / "kernel"):
        for name in names:
            if name.endswith(_SUFFIXES):
                found[name.partition(".ko")[0].replace("-", "_")] = Path(place, name)
    return found


def built_in(folder: Path) -> set[str]:
    """Return the names of the modules that are part of the kernel itself; none where no list of them is there."""
    try:
        lines = (folder / "modules.builtin").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line).stem.replace("-", "_") for line in lines}


def check(release: str, folder: Path | None, names: Iterable[str]) -> None:
    """Raise LabError for the first of these modules that the kernel does not have."""
    known = files(folder).keys() | built_in(folder) if folder else set()
    for name in names:
        if name.replace("-", "_") not in known:
            raise LabError(
                f"kernel {release} has no module {name}",
                f"its modules are in {folder}: kernels differ in what they are built with"
                if folder
                else "no modules were found for it: it has what is built in",
                rule="lab-module",
            )


def closure(folder: Path, names: Iterable[str]) -> list[Module]:
    """Return these modules and all that they need, each after what it needs; what is built in is left out."""
    known = files(folder)
    ordered: dict[str, Module] = {}

    def add(name: str) -> None:
        path = known.get(name)
        if path is None or name in ordered:
            return
        data = expand(path.name, path.read_bytes())
        says = modinfo(data)
        depends = tuple(other.replace("-", "_") for other in says.get("depends", [""])[0].split(",") if other)
        for other in depends:
            add(other)
        ordered[name] = Module(name, data, depends, tuple(says.get("alias", ())))

    for name in names:
        add(name.replace("-", "_"))
    return list(ordered.values())


def index(modules: list[Module]) -> dict[str, str]:
    """Return the files that modprobe reads for these modules in one folder: name to content.

    As depmod writes them: in modules.dep all that a module needs, what is to be loaded first last; in
    modules.devname the device nodes whose opening loads a module.
    """
    known = {module.name: module for module in modules}

    def needs(module: Module) -> dict[str, None]:
        found: dict[str, None] = {}
        for name in module.depends:
            if name in known:
                found |= needs(known[name]) | {name: None}
        return found

    depends, aliases, nodes = [], [], []
    for module in modules:
        depends.append(" ".join([f"{module.name}.ko:", *(f"{name}.ko" for name in reversed(needs(module)))]))
        aliases += [f"alias {alias} {module.name}" for alias in module.aliases]
        nodes += _nodes(module)
    return {
        name: "".join(f"{line}\n" for line in lines)
        for name, lines in (("modules.dep", depends), ("modules.alias", aliases), ("modules.devname", nodes))
    }


def _nodes(module: Module) -> list[str]:
    """Return a line for each device node that a module has a fixed number for: module, node, c|b major:minor."""
    names = [alias.partition(":")[2] for alias in module.aliases if alias.startswith("devname:")]
    numbers = [
        f"{kind[0]}{major}:{minor}"
        for alias in module.aliases
        for kind, _, rest in [alias.partition("-major-")]
        for major, _, minor in [rest.partition("-")]
        if kind in {"char", "block"} and minor.isdigit()
    ]
    return [f"{module.name} {name} {number}" for name, number in zip(names, numbers, strict=False)]
