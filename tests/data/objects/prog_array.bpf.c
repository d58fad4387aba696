/* An array of programs, filled from the start: the programs refer to it, and it to them. */
#include "house.h"

int last(struct __sk_buff *skb);
int next(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int (struct __sk_buff *));
} jumps SEC(".maps") = {.values = {[0] = (void *)&next, [2] = (void *)&last}};

int visited;

SEC("tc") int last(struct __sk_buff *skb) { visited += 100; return visited; }
SEC("tc") int next(struct __sk_buff *skb) { visited += 10; bpf_tail_call(skb, &jumps, 2); return 1; }
SEC("tc") int entry(struct __sk_buff *skb) { visited += 1; bpf_tail_call(skb, &jumps, 0); return 2; }
