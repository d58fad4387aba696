"""Where fields are in each kernel of the matrix, by its own BTF: our offsets beside those that bpftool shows.

No guest is started: the types are in the kernel's image.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.bpftool import files
from support.commands import document

from bpfasm import lab
from bpfasm.btf.core import measure, named, resolve
from bpfasm.btf.files import btf_of
from bpfasm.lab.kernel import vmlinux
from bpfasm.uapi import bpf

pytestmark = pytest.mark.boots

STRUCTS = ["task_struct", "sock", "file", "request", "mount", "sk_buff", "inode", "mm_struct", "tcp_sock", "bio",
           "cred", "net_device", "dentry", "signal_struct", "perf_event", "bpf_prog"]  # fmt: skip

#: Fields of each struct.
EACH = 30


class Theirs:
    """The types of a kernel as bpftool prints them, and the ways to the fields of a struct."""

    def __init__(self, path):
        text = subprocess.run([files()[0], "-j", "btf", "dump", "file", path], capture_output=True, check=True).stdout
        self.types = {row["id"]: row for row in json.loads(text)["types"]}
        self.structs = {row["name"]: row["id"] for row in reversed(self.types.values()) if row["kind"] == "STRUCT"}

    def past_names(self, id):
        row = self.types.get(id)
        while row and row["kind"] in ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"):
            row = self.types.get(row["type_id"])
        return row

    def fields(self, id, depth=0, prefix="", start=0):
        """Yield (path, offset in bits, width of a bit field) of a struct, those of structs within it as well."""
        for member in self.past_names(id)["members"]:
            inner, at = self.past_names(member["type_id"]), start + member["bits_offset"]
            name = member["name"] if member["name"] != "(anon)" else ""
            if name:
                yield prefix + name, at, member.get("bitfield_size", 0)
            if inner and inner["kind"] in ("STRUCT", "UNION") and depth < 4 and (not name or depth < 2):
                yield from self.fields(inner["id"], depth + 1, f"{prefix}{name}." if name else prefix, at)


@pytest.mark.skipif(not files(), reason="needs bpftool (apt install bpftool)")
@pytest.mark.parametrize("version", [kernel.version for kernel in lab.kernels()])
def test_fields_are_where_bpftool_shows_them(version, tmp_path):
    image = vmlinux.unpack(lab.fetch(version).tree.vmlinuz.read_bytes())
    ours = btf_of(image)
    (tmp_path / "btf").write_bytes(ours.data)
    theirs = Theirs(tmp_path / "btf")
    compared = bits = nested = 0
    for struct in STRUCTS:
        all_of = {}
        for path, offset, width in theirs.fields(theirs.structs[struct]):
            all_of.setdefault(path, (offset, width))
        # Those with a bit field or a struct on their way first, then from the beginning.
        chosen = sorted(all_of, key=lambda path: (not all_of[path][1], "." not in path))[: EACH // 2]
        chosen += [path for path in all_of if path not in chosen][: EACH - len(chosen)]
        for path in chosen:
            offset, width = all_of[path]
            (place, *_) = resolve(named(bpf.BPF_CORE_FIELD_BYTE_OFFSET, struct, path), [ours]).found
            assert (place.offset, place.bits) == (offset, width), f"{struct}.{path}"
            number = measure(bpf.BPF_CORE_FIELD_BYTE_OFFSET, place)
            if not width:
                assert number.value == offset // 8
            else:
                size = measure(bpf.BPF_CORE_FIELD_BYTE_SIZE, place).value
                assert number.value * 8 <= offset
                assert offset + width <= 8 * (number.value + size)
            compared += 1
            bits += bool(width)
            nested += "." in path
    assert compared >= 200
    assert bits >= 20
    assert nested >= 40


def show(name, *words):
    command = [sys.executable, "-m", "bpfasm", "btf", "show", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_a_field_is_looked_up_in_all_kernels():
    """It became ``__state`` in 5.14 (commit 2f064a59a11f)."""
    status, shown, told = show("task_struct.state", "--on", "5.10,6.1,6.12,7")
    assert status == 1
    assert shown == ["task_struct.state: offset 16, size 8: volatile long int state"]
    assert [line for line in told if line.startswith("it may be called")] == [
        f'it may be called "__state" there: that is in the place it has in {version}'
        for version in ("5.10", "6.1", "6.1")
    ]
    assert told[-1] == "task_struct.state: in 5.10; not in 6.1, 6.12, 7"


def test_several_kernels_are_one_document():
    status, shown, told = show("list_head", "--on", "5.10,7", "--json")
    assert (status, told) == (0, [])
    kernels = document("btf-kernels-1", "\n".join(shown))["kernels"]
    assert [(each["kernel"], each["types"][0]["size"]) for each in kernels] == [("5.10", 16), ("7", 16)]
    status, shown, told = show("task_struct.state", "--on", "5.10,6.1", "--json")
    has, lacks = document("btf-kernels-1", "\n".join(shown))["kernels"]
    assert (status, told, has["fields"][0]["load"], lacks["error"]["rule"]) == (1, [], 16, "btf-type")
    status, shown, _ = show("list_head", "--on", "5.10", "--json")
    assert (status, document("btf-type-1", "\n".join(shown))["types"][0]["size"]) == (0, 16)


def test_several_kernels_are_one_file(tmp_path):
    status, shown, _ = show("task_struct.on_cpu", "--on", "5.10,7", "--out", tmp_path / "told")
    assert (status, shown) == (0, [])
    lines = (tmp_path / "told").read_text().splitlines()
    assert [lines[0], lines[2], lines[3]] == ["/* the lab's kernel 5.10 */", "", "/* the lab's kernel 7 */"]
    assert [line.partition(":")[0] for line in (lines[1], lines[4])] == ["task_struct.on_cpu"] * 2
