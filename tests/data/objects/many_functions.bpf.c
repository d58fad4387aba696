/* A call graph in which functions are shared: what is called first is not what is called by the first. */
#include "house.h"

noinline int leaf(int x) { return x + 1; }
noinline int left(int x) { return leaf(x) * 2; }
noinline int right(int x) { return leaf(x) * left(x); }

SEC("socket") int root(struct __sk_buff *skb) { return left(skb->len) + right(skb->len) + leaf(1); }
