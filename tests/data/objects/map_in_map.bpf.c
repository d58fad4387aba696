/* Maps of maps that hold maps from the start, and one whose elements come later. */
#include "house.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {[1] = &second, [3] = &first}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} by_key SEC(".maps");

static __always_inline int add(int key)
{
	int zero = 0;
	void *map = bpf_map_lookup_elem(&outer, &key);
	__u64 *value = map ? bpf_map_lookup_elem(map, &zero) : 0;

	if (!value)
		return 0;
	*value += key;
	return 1 << key;
}

SEC("tc") int there(struct __sk_buff *skb) { return add(0) | add(1) | add(2) | add(3); }
