/* What every object of the tests begins with: the kernel's numbers, libbpf's helpers, and types of the kernel's. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define noinline __attribute__((noinline))
#define core __attribute__((preserve_access_index))

char _license[] SEC("license") = "GPL";
