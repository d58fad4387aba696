/* Functions whose address is taken: bpf_for_each_map_elem from 5.13 on, bpf_loop from 5.17 on. */
#include "house.h"

struct bpf_map;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} elements SEC(".maps");

struct state { long long sum; };

static long add(struct bpf_map *map, __u32 *key, __u64 *value, struct state *state)
{
	state->sum += *key + *value;
	return 0;
}

static long step(__u32 index, struct state *state)
{
	state->sum += index;
	return 0;
}

SEC("tc") int each(struct __sk_buff *skb)
{
	struct state state = {0};

	bpf_for_each_map_elem(&elements, add, &state, 0);
	return state.sum;
}

SEC("tc") int loop(struct __sk_buff *skb)
{
	struct state state = {0};

	bpf_loop(10, step, &state, 0);
	return state.sum;
}
