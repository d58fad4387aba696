/* Maps of many types, with what else a declaration may say. */
#include "house.h"

struct key { __u32 prefixlen; __u8 data[4]; };
struct value { struct bpf_spin_lock lock; int count; };

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(key_size, 4); __uint(value_size, 8); __uint(max_entries, 3); } sizes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, struct value); __uint(max_entries, 3); } locked SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __type(key, struct key); __type(value, __u32); __uint(max_entries, 3); __uint(map_flags, BPF_F_NO_PREALLOC); } routes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, __u32); __uint(max_entries, 3); } each_cpu SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __type(key, char[16]); __type(value, __u32); __uint(max_entries, 64); } recent SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __type(value, __u32); __uint(max_entries, 4); } queue SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(key_size, 4); __uint(value_size, 80); __uint(max_entries, 4); } stacks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_SK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, long); } of_socket SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_DEVMAP); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 2); } devices SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64[8]); __uint(max_entries, 2); __uint(map_flags, BPF_F_MMAPABLE); } a_map_with_a_long_name SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64); __uint(max_entries, 2); } a_map_with_a_long_name_too SEC(".maps");

SEC("tc") int use(struct __sk_buff *skb)
{
	int key = 0, found = 0;
	__u32 number = 5;
	struct value *value, fresh = {};
	char text[16] = "abc";

	bpf_map_update_elem(&locked, &key, &fresh, 0);
	value = bpf_map_lookup_elem(&locked, &key);
	if (value) {
		bpf_spin_lock(&value->lock);
		value->count += 2;
		found = value->count;
		bpf_spin_unlock(&value->lock);
	}
	bpf_map_push_elem(&queue, &number, 0);
	bpf_map_update_elem(&recent, text, &number, 0);
	number = 0;
	bpf_map_pop_elem(&queue, &number);
	found += !!bpf_map_lookup_elem(&each_cpu, &key);
	found += !!bpf_map_lookup_elem(&a_map_with_a_long_name, &key);
	found += !!bpf_map_lookup_elem(&a_map_with_a_long_name_too, &key);
	found += !!bpf_map_lookup_elem(&sizes, &key);
	return found * 10 + number;
}
