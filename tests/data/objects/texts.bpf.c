/* Strings and tables that the compiler puts into sections of its own. */
#include "house.h"

static const int table[5] = {10, 20, 30, 40, 50};
const char *const words[2] = {"one", "two"};

SEC("tc") int print(struct __sk_buff *skb)
{
	char format[] = "length %d\n";

	bpf_trace_printk(format, sizeof(format), skb->len);
	bpf_printk("mark %d", skb->mark);
	return table[skb->len % 5];
}
