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

SEC("tc") int there(struct __sk_buff *skb)
{
	int found = 0, zero = 0;

#pragma unroll
	for (int key = 0; key < 4; key++) {
		void *map = bpf_map_lookup_elem(&outer, &key);
		__u64 *value = map ? bpf_map_lookup_elem(map, &zero) : 0;

		if (value) {
			*value += key;
			found |= 1 << key;
		}
	}
	return found;
}
