/* Atomic operations of 32 and 64 bits, in .bss. */
#include "house.h"

long long wide = 5;
int narrow = 7;

SEC("socket") int change(void *ctx)
{
	__sync_fetch_and_add(&wide, 2);
	__sync_fetch_and_add(&narrow, 3);
	return wide * 100 + narrow;
}
