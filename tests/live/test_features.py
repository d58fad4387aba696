"""``bpfasm features`` on the running kernel: its tables, its document, and its status.

What each kernel answers is in test_probes.py; how that is shown is the same on all.
"""

import json
import os
from pathlib import Path

import pytest
from support import zygote

ROOT = Path(__file__).parents[2]


def features(*words, status=0):
    """Run the command; return what it printed."""
    words = ["-m", "bpfasm", "features", *words, "--on", "live"]
    done = zygote.run(*words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout
    return done.stdout


def document(*words, status=0):
    (kernel,) = json.loads(features(*words, "--json", status=status))["kernels"]
    return kernel


def test_a_summary_counts_every_group():
    lines = features().splitlines()
    assert lines[0] == f"Linux {os.uname().release}, {os.uname().machine}"
    counts = {line.split()[0]: line.split()[1:4] for line in lines if line[:1].isalpha() and " of " in line}
    assert set(counts) == {
        "machine", "program", "map", "mapuse", "attach", "link", "testrun", "isa", "verifier", "kfunc", "btf",
        "command", "field", "helper",
    }  # fmt: skip
    kernel = document()
    for group, (there, _, all_of_them) in counts.items():
        rows = [row for row in kernel["features"] if row["id"].startswith(f"{group}/")]
        assert len(rows) == int(all_of_them)
        assert sum(row["state"] == "yes" for row in rows) == int(there)
    told = " ".join(line for line in lines if line.startswith("  "))
    for row in kernel["features"]:
        if row["state"] != "yes":
            assert row["id"].partition("/")[2] in told


def test_a_group_and_a_feature():
    text = features("map", "isa/alu64", "helper/bpf_map_lookup_elem")
    assert "isa/alu64  yes  since 3.18  arithmetic of 64 bits\n    BPF_PROG_LOAD: done\n" in text
    assert "helper/map_lookup_elem  yes  since 3.19\n    programs: socket_filter kprobe" in text
    assert "\ntypes of maps:\n  yes  hash " in text


@pytest.mark.lab(on="ends")
def test_the_status_says_whether_what_was_named_is_there():
    features("map/hash", "map/array")
    row = document("isa/cpu_v1", "program/lirc_mode2", status=1)["features"][1]
    assert row["state"] == "no"
    assert row["evidence"] == "BPF_PROG_LOAD (lirc_mode2): EINVAL"


def test_helpers_of_one_type_of_program():
    kernel = document("--prog-type", "xdp")
    callers = {row["id"]: row["programs"] for row in kernel["features"]}
    assert callers["helper/xdp_adjust_head"] == ["xdp"]
    assert callers["helper/skb_load_bytes"] == []
    assert kernel["not_asked"] == {}
    text = features("--prog-type", "BPF_PROG_TYPE_XDP")
    assert "xdp_adjust_head " in text
    row = next(row for row in kernel["features"] if row["id"] == "helper/trace_printk")
    assert (row["state"], row["reason"]) == ("unknown", "to ask is to leave something in the kernel (--full asks)")


def test_documents_follow_their_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "bpfasm" / "views" / "schemas" / "features-1.json").read_text())
    for words in ([], ["map", "helper"], ["helper/loop", "btf/int", "--prog-type", "kprobe"]):
        jsonschema.validate({"schema": "bpfasm/features/1", "kernels": [document(*words)]}, schema)


def test_a_type_of_program_is_named_in_its_answers():
    lines = features("--prog-type", "xdp").splitlines()
    told = {words[1]: " ".join(words[3:]) for words in map(str.split, lines) if words[:1] in (["yes"], ["no"])}
    assert told["xdp_adjust_head"] == "xdp"
    assert told["skb_load_bytes"] == "no xdp program may call it"
    # A helper that is named is one answer, and not the table of all.
    assert features("--prog-type", "xdp", "helper/skb_load_bytes", status=1).splitlines()[2:] == [
        "helper/skb_load_bytes  no  since 4.5",
        "    no xdp program may call it",
    ]


@pytest.mark.lab(on="ends")
def test_who_may_not_ask_is_told_nothing_that_is_false(python):
    """Each answer that nobody in particular gets is root's, or that it cannot be told."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    code = """
        import json, sys
        from support.privileges import become
        from support.zygote import IN_GUEST
        from bpfasm.kernel import features
        from bpfasm.syscall.probe import table

        def states():
            rows = [row for group in table.GROUPS if group != "machine" for row in table.features(group)]
            if IN_GUEST:  # where all of them take half a minute
                return {row.id: features.answer(row).state for row in rows[::3]}
            found = {row.id: features.answer(row).state for row in rows}
            return found | {f"helper/{number}": each.state for number, each in features.some_program().items()}

        root = states()
        become(65534)
        nobody = states()
        print(json.dumps([root, nobody]))
    """
    with python(code) as process:
        out, err = process.communicate(timeout=600)
    assert err == ""
    root, nobody = json.loads(out)
    assert {id: (root[id], state) for id, state in nobody.items() if state not in ("unknown", root[id])} == {}
    assert list(nobody.values()).count("unknown") > (30 if zygote.IN_GUEST else 300)


@pytest.mark.lab(on="ends")
def test_unprivileged_answers_say_what_is_lacking(python):
    """Nobody in particular is told what asking takes, and nothing fails."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    code = """
        import sys
        from support.privileges import become
        from bpfasm.cli import main
        become(65534)
        sys.exit(main(["features", "program/xdp", "map/hash", "machine/jit", "--json", "--on", "live"]))
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    rows = {row["id"]: row for row in json.loads(out)["kernels"][0]["features"]}
    assert err == ""
    assert rows["program/xdp"]["state"] == "unknown"
    assert rows["program/xdp"]["reason"] == (
        "asking needs CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN, and this process is not root"
    )
    assert rows["program/xdp"]["evidence"] == "BPF_PROG_LOAD (xdp): EPERM"
    assert process.returncode == 1
