"""BTF of every kind that is written here, in both byte orders: read back, and by bpftool."""

import json
import subprocess

import pytest
from support.bpftool import files

from bpfasm.btf.read import Btf, Member
from bpfasm.btf.write import Writer
from bpfasm.uapi import btf as u

pytestmark = pytest.mark.oracle


def written(order):
    """Return a writer with a type of each kind, and their ids by name."""
    w, ids = Writer(order), {}
    ids["int"] = number = w.add_int("int", 4, u.BTF_INT_SIGNED)
    ids["pointer"] = w.add_pointer(number)
    ids["void"] = w.add_pointer()
    ids["array"] = w.add_array(number, 5)
    ids["struct"] = w.add_composite(
        u.BTF_KIND_STRUCT, "bits", 8, [("a", number, 0, 3), ("b", number, 3, 29), ("c", number, 32, 0)]
    )
    ids["union"] = w.add_composite(u.BTF_KIND_UNION, "both", 8, [("n", number, 0, 0), ("p", ids["pointer"], 0, 0)])
    ids["enum"] = w.add_enum("order", {"FIRST": 0, "LAST": 9})
    ids["signed"] = w.add_enum("verdict", {"BAD": -1, "GOOD": 1})
    ids["wide"] = w.add_enum("wide", {"HUGE": 1 << 40, "SMALL": 1}, 8)
    ids["forward"] = w.add_forward("later")
    ids["forward union"] = w.add_forward("later_union", union=True)
    ids["typedef"] = w.add_name(u.BTF_KIND_TYPEDEF, number, "pid_t")
    ids["const"] = w.add_name(u.BTF_KIND_CONST, ids["typedef"])
    ids["volatile"] = w.add_name(u.BTF_KIND_VOLATILE, ids["const"])
    ids["restrict"] = w.add_name(u.BTF_KIND_RESTRICT, ids["pointer"])
    ids["type tag"] = w.add_name(u.BTF_KIND_TYPE_TAG, number, "rcu")
    ids["proto"] = w.add_prototype(number, [("ctx", ids["pointer"]), ("", 0)])
    ids["func"] = w.add_function("main", ids["proto"], u.BTF_FUNC_GLOBAL)
    ids["float"] = w.add_float("double", 8)
    ids["tag"] = w.add_tag("note", ids["struct"], 1)
    ids["var"] = w.add_var("counter", number)
    ids["section"] = w.add_datasec(".data", 4, [(ids["var"], 0, 4)])
    return w, ids


@pytest.mark.parametrize("order", ["little", "big"])
def test_every_kind_is_read_back(order):
    w, ids = written(order)
    btf = Btf(w.to_bytes())
    assert btf.byteorder == order
    assert {btf.type(id).kind for id in range(len(btf))} == set(range(u.NR_BTF_KINDS))
    assert btf.type(ids["struct"]).members == (
        Member("a", ids["int"], bits=3), Member("b", ids["int"], offset=3, bits=29),
        Member("c", ids["int"], offset=32),
    )  # fmt: skip
    assert [each.value for each in btf.type(ids["signed"]).members] == [-1, 1]
    assert [each.value for each in btf.type(ids["wide"]).members] == [1 << 40, 1]
    assert btf.type(ids["wide"]).kind == u.BTF_KIND_ENUM64
    assert (btf.type(ids["forward union"]).flag, btf.type(ids["forward"]).flag) == (True, False)
    assert btf.type(ids["func"]).detail == u.BTF_FUNC_GLOBAL


@pytest.mark.parametrize("order", ["little", "big"])
def test_types_are_there_once(order):
    w, ids = written(order)
    before = len(w.to_bytes())
    assert w.add_pointer(ids["int"]) == ids["pointer"]
    assert w.add_enum("order", {"FIRST": 0, "LAST": 9}) == ids["enum"]
    assert w.add_prototype(ids["int"], [("ctx", ids["pointer"]), ("", 0)]) == ids["proto"]
    assert len(w.to_bytes()) == before


@pytest.mark.skipif(not files(), reason="needs bpftool (apt install bpftool)")
@pytest.mark.parametrize("order", ["little", "big"])
def test_bpftool_reads_every_kind(order, tmp_path):
    w, ids = written(order)
    (tmp_path / "btf").write_bytes(w.to_bytes())
    command = [files()[0], "-j", "btf", "dump", "file", tmp_path / "btf"]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["types"]
    rows = {row["id"]: row for row in shown}
    assert len(rows) == len(Btf(w.to_bytes())) - 1
    assert rows[ids["int"]]["encoding"] == "SIGNED"
    assert rows[ids["array"]]["nr_elems"] == 5
    members = [
        (each["name"], each["bits_offset"], each.get("bitfield_size", 0)) for each in rows[ids["struct"]]["members"]
    ]
    assert members == [("a", 0, 3), ("b", 3, 29), ("c", 32, 0)]
    assert [each["val"] for each in rows[ids["wide"]]["values"]] == [1 << 40, 1]
    assert [each["val"] for each in rows[ids["signed"]]["values"]] == [-1, 1]
    assert [rows[ids[name]]["kind"] for name in ("forward", "type tag", "tag", "float", "section", "restrict")] == [
        "FWD", "TYPE_TAG", "DECL_TAG", "FLOAT", "DATASEC", "RESTRICT",
    ]  # fmt: skip
    assert rows[ids["forward union"]]["fwd_kind"] == "union"
    assert rows[ids["func"]]["linkage"] == "global"
    assert rows[ids["tag"]]["component_idx"] == 1
