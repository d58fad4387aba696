/* Maps as they were declared before BTF: five numbers. No header of libbpf has the struct any more. */
#include "house.h"

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") first = {BPF_MAP_TYPE_HASH, 4, 8, 16, 0};
struct bpf_map_def SEC("maps") second = {BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0};

SEC("socket") int both(void *ctx)
{
	int key = 1;
	__u64 value = 3;

	bpf_map_update_elem(&first, &key, &value, BPF_ANY);
	return !!bpf_map_lookup_elem(&first, &key) + !!bpf_map_lookup_elem(&second, &key);
}
