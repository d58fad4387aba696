"""As many files open as there may be: whatever is made then, the limit is named, and nothing stays open."""

import pytest

pytestmark = pytest.mark.lab(on="one")

#: Do something with all the files it needs, then with one more at a time, from none on, and say what came of each.
PROGRAM = """
    import os, resource, sys
    from bpfasm.asm import *
    from bpfasm.errors import KernelError
    from bpfasm.kernel import features, load
    from bpfasm.kernel.readers.perfbuf import FlightRecorder

    counts = HashMap("counts", key=u32, value=u64, max_entries=8)
    inner = HashMap("inner", key=u32, value=u64, max_entries=1)
    outer = ArrayOfMaps("outer", inner=inner, max_entries=1)
    ring, events, seen = RingBuf("ring", max_entries=4096), PerfEventArray("events"), Global("seen", u64, 0)
    program = Program("prog", BPF_PROG_TYPE_XDP, [
        BPF_LD_MAP_FD(R1, counts), BPF_LD_MAP_VALUE(R1, seen, 0), BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()])

    def loading():
        with load(program, lines=True) as obj:
            obj[program].info(), obj[counts].info(), obj[program].test_run(bytes(14))
            obj[seen] = 1

    def nesting():
        with load(outer, inner) as obj:
            obj[outer][0] = obj[inner]
            obj[outer][0]

    def reading():
        with load(ring) as obj:
            obj.reader(ring).close()

    def reading_perf():
        with load(events) as obj:
            obj.reader(events).close()

    def recording():
        with load(events) as obj:
            FlightRecorder(obj[events]).close()

    def asking():
        features.ask("map/hash")

    do = globals()[sys.argv[1]]
    do()
    before = os.listdir("/proc/self/fd")
    free = os.dup(0)
    os.close(free)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in range(free, free + 64):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            do()
        except KernelError as error:
            print(error.errno, error.rule, f", {limit}\\n" in str(error), f"ulimit -n {2 * limit}" in error.do)
        else:
            break
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(os.listdir("/proc/self/fd") == before)
"""


@pytest.mark.parametrize(
    ("doing", "least"),
    [("loading", 3), ("nesting", 2), ("reading", 3), ("reading_perf", 4), ("recording", 2), ("asking", 1)],
)
def test_the_limit_is_named(python, doing, least):
    with python(PROGRAM, doing) as process:
        out, err = process.communicate(timeout=300)
    *refused, clean = out.splitlines()
    assert err == ""
    assert set(refused) == {"24 open-files True True"}
    assert len(refused) >= least
    assert clean == "True"


@pytest.mark.parametrize("words", ["map list", "prog list", "btf list"])
def test_the_command_line(python, words):
    """What it imports is a file, too."""
    code = """
        import os, resource, sys
        from bpfasm.asm import *
        from bpfasm.cli import main
        from bpfasm.kernel import load

        program = Program("prog", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()])
        with load(program, HashMap("counts", key=u32, value=u64, max_entries=1)):
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + int(sys.argv[2]), free + int(sys.argv[2])))
            print(main(sys.argv[1].split()), file=sys.stderr)
    """
    said = []
    for more in range(2):
        with python(code, words, more) as process:
            err = process.communicate(timeout=300)[1]
        said.append(err.splitlines())
    for lines in said:
        assert len(lines) == 3, lines
        assert lines[0].endswith("[open-files]")
        assert lines[1].startswith("close what is not used any more, or raise the limit: ulimit -n ")
        assert lines[2] == "3"
