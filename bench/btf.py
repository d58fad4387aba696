"""How fast 20 fields of the running kernel are found in its BTF, beside libbpf.

    python3 bench/btf.py [ROUNDS]

Each round is a new process that reads /sys/kernel/btf/vmlinux and finds offsets, nested ones and in unnamed structs.
Medians in ms are printed: of what it takes in the process, from opening the file on, by the clock and by the
processor, and of the whole command. Both have to give the same offsets. libbpf takes part where gcc and libbpf-dev
are there.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent

FIELDS = [
    ("task_struct", "pid"), ("task_struct", "tgid"), ("task_struct", "comm"), ("task_struct", "real_parent"),
    ("task_struct", "mm"), ("task_struct", "se.sum_exec_runtime"), ("task_struct", "thread_info.flags"),
    ("task_struct", "loginuid.val"),
    ("mm_struct", "arg_start"), ("file", "f_inode"), ("file", "f_path.dentry"), ("dentry", "d_name.name"),
    ("inode", "i_ino"), ("qstr", "len"), ("sock", "__sk_common.skc_dport"), ("sock", "sk_protocol"),
    ("request", "__data_len"), ("mount", "mnt.mnt_root"), ("sk_buff", "len"), ("bio", "bi_iter.bi_sector"),
]  # fmt: skip

OURS = """
import sys, time
sys.path.insert(0, {root!r})
from bpfasm.btf.core import named, resolve
from bpfasm.kernel.btf.kernel import vmlinux
start, busy = time.perf_counter_ns(), time.process_time_ns()
btf = vmlinux()
found = [resolve(named(0, struct, path), [btf]).value for struct, path in {fields!r}]
print(time.perf_counter_ns() - start, time.process_time_ns() - busy, *found)
"""

LIBBPF = r"""
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *fields[][2] = { FIELDS };

static long now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* The bit at which a member is, through unnamed ones; its type. */
static long member(const struct btf *btf, const char *name, size_t length, int id, int *type)
{
	id = btf__resolve_type(btf, id);
	const struct btf_type *t = btf__type_by_id(btf, id);
	if (!btf_is_composite(t))
		return -1;
	for (int i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		const char *called = btf__name_by_offset(btf, m->name_off);
		long bit = btf_member_bit_offset(t, i);
		if (!*called) {
			long inner = member(btf, name, length, m->type, type);
			if (inner >= 0)
				return bit + inner;
		} else if (strlen(called) == length && !memcmp(called, name, length)) {
			*type = m->type;
			return bit;
		}
	}
	return -1;
}

int main(void)
{
	long found[sizeof(fields) / sizeof(*fields)], start = now(CLOCK_MONOTONIC);
	long busy = now(CLOCK_PROCESS_CPUTIME_ID);
	struct btf *btf = btf__load_vmlinux_btf();
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		int type = btf__find_by_name_kind(btf, fields[i][0], BTF_KIND_STRUCT);
		long bits = 0;
		for (const char *part = fields[i][1], *dot; part; part = dot ? dot + 1 : NULL) {
			dot = strchr(part, '.');
			bits += member(btf, part, dot ? (size_t)(dot - part) : strlen(part), type, &type);
		}
		found[i] = bits / 8;
	}
	printf("%ld %ld", now(CLOCK_MONOTONIC) - start, now(CLOCK_PROCESS_CPUTIME_ID) - busy);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		printf(" %ld", found[i]);
	printf("\n");
}
"""


def build(folder):
    """Return the command that is libbpf's side, and its version; none where it cannot be built."""
    rows = ", ".join(f'{{"{struct}", "{path}"}}' for struct, path in FIELDS)
    source = Path(folder, "fields.c")
    source.write_text(LIBBPF.replace("FIELDS", rows))
    version = subprocess.run(["pkg-config", "--modversion", "libbpf"], capture_output=True, text=True, check=False)
    made = subprocess.run(["gcc", "-O2", "-o", f"{folder}/fields", source, "-lbpf"], capture_output=True, check=False)
    return ([f"{folder}/fields"], version.stdout.strip()) if made.returncode == 0 else (None, "")


def run(command):
    """Run one process; return (ms in it, ms of its processor time, ms of the whole command), and the offsets."""
    start = time.perf_counter_ns()
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    wall = time.perf_counter_ns() - start
    inside, busy, *offsets = map(int, done.stdout.split())
    return (inside / 1e6, busy / 1e6, wall / 1e6), offsets


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-I", "-S", "-c", OURS.format(root=str(ROOT), fields=FIELDS)]
        libbpf, version = build(folder)
        sides = {"bpfasm": ours} | ({f"libbpf {version}": libbpf} if libbpf else {})
        times = {name: [] for name in sides}
        for _ in range(rounds + 1):
            results = {name: run(command) for name, command in sides.items()}
            assert len({tuple(offsets) for _, offsets in results.values()}) == 1, results
            for name, (row, _) in results.items():
                times[name].append(row)
        print(f"{len(FIELDS)} fields of {os.uname().release}, ms, medians of {rounds} (least to most):")
        for name, rows in times.items():
            inside, busy, wall = (sorted(column) for column in zip(*rows[1:], strict=True))
            print(
                f"  {name:<14} in process {median(inside):6.2f} ({inside[0]:.2f} to {inside[-1]:.2f}), "
                f"of it the processor {median(busy):6.2f} ({busy[0]:.2f} to {busy[-1]:.2f}), "
                f"whole command {median(wall):6.2f}"
            )
        if libbpf:
            ours, theirs = ([median(column) for column in zip(*rows[1:], strict=True)] for rows in times.values())
            print(f"  ratio: in process {ours[0] / theirs[0]:.2f}, processor {ours[1] / theirs[1]:.2f}")


if __name__ == "__main__":
    main()
