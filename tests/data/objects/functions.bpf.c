/* Functions of .text, static and global, called from two programs. */
#include "house.h"

static noinline int inner(int x) { return x * 3; }
static noinline int middle(int x) { return inner(x) + 1; }
noinline int shared(int x) { return middle(x) + x; }

SEC("socket") int one(struct __sk_buff *skb) { return shared(skb->len); }
SEC("tc") int two(struct __sk_buff *skb) { return middle(skb->len) + inner(2); }
