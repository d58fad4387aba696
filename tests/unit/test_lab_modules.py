"""Kernel modules in a guest: the index for modprobe, compared with busybox's depmod, and which there are."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.kernel import modules

WORDS = {
    "base": {},
    "left": {"depends": "base", "alias": "rtnl-link-left"},
    "right-one": {"depends": "base"},
    "top": {"depends": "left,right-one,elsewhere", "alias": "fs-top"},
    "loop": {"alias": "block-major-7-*"},
}


def module(words: dict[str, str], more: tuple[str, ...] = ()) -> bytes:
    """Return an ELF file with a .modinfo section and a table of section names."""
    info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in {"depends": "", **words}.items())
    info += b"".join(f"alias={alias}".encode() + b"\0" for alias in more)
    names = b"\0.modinfo\0.shstrtab\0"
    rows = [(0, 0, 0, 0), (1, 1, 64, len(info)), (10, 3, 64 + len(info), len(names))]
    body = info + names
    body += bytes(-len(body) % 8)
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, at, size, 0, 0, 1, 0) for name, kind, at, size in rows
    )
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(rows), 2
    )
    return head + body + table


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "lib/modules/9.9.9-test"
    (place / "kernel/drivers").mkdir(parents=True)
    for name, words in WORDS.items():
        data = module(words, ("devname:loop-control", "char-major-10-237") if name == "loop" else ())
        (place / f"kernel/drivers/{name}.ko").write_bytes(data)
    (place / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/lib/crc-32c.ko\n")
    return place


def index(folder: Path, *names: str) -> dict[str, list[str]]:
    made = modules.index(modules.closure(folder, names))
    return {name: text.splitlines() for name, text in made.items()}


def test_each_module_with_all_that_it_needs_the_first_to_load_last(folder):
    assert index(folder, "top")["modules.dep"] == [
        "base.ko:",
        "left.ko: base.ko",
        "right_one.ko: base.ko",
        "top.ko: right_one.ko left.ko base.ko",
    ]


@pytest.mark.oracle
def test_the_index_is_what_depmod_writes(folder, tmp_path):
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    made = index(folder, *WORDS)
    subprocess.run([busybox, "depmod", "-b", tmp_path, folder.name], check=True, capture_output=True)
    aliases = (folder / "modules.alias").read_text().splitlines()
    assert sorted(made["modules.alias"]) == sorted(line for line in aliases if not line.startswith("#"))

    def needs(lines: list[str]) -> dict[str, set[str]]:
        pairs = (line.split(":") for line in lines if ":" in line)
        plain = {Path(name).stem.replace("-", "_"): rest.split() for name, rest in pairs}
        return {name: {Path(other).stem.replace("-", "_") for other in rest} for name, rest in plain.items()}

    assert needs(made["modules.dep"]) == needs((folder / "modules.dep").read_text().splitlines())


def test_the_nodes_whose_opening_loads_a_module(folder):
    assert index(folder, "loop", "top")["modules.devname"] == ["loop loop-control c10:237"]


def test_what_a_kernel_has(folder):
    modules.check("9.9.9-test", folder, ["top", "right-one", "right_one", "ext4", "crc_32c"])
    with pytest.raises(LabError, match=r"kernel 9\.9\.9-test has no module nonesuch") as error:
        modules.check("9.9.9-test", folder, ["top", "nonesuch"])
    assert error.value.rule == "lab-module"
    assert str(folder) in error.value.do
    with pytest.raises(LabError) as error:
        modules.check("9.9.9-test", None, ["top"])
    assert len(str(error.value).splitlines()) == 2


def test_modules_of_every_guest_that_a_kernel_does_not_have_are_left_out(folder):
    assert modules.closure(folder, modules.LOADED + modules.ON_DEMAND) == modules.closure(folder, ["loop"])
