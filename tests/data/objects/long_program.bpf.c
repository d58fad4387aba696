/* Some thousands of instructions, of which each line has a record. */
#include "house.h"

#define ONE(n) sum += (sum ^ n) * 3 + (sum >> 3); sum ^= sum << 1;
#define TEN(n) ONE(n) ONE(n + 1) ONE(n + 2) ONE(n + 3) ONE(n + 4) ONE(n + 5) ONE(n + 6) ONE(n + 7) ONE(n + 8) ONE(n + 9)
#define HUNDRED(n) TEN(n) TEN(n + 10) TEN(n + 20) TEN(n + 30) TEN(n + 40) TEN(n + 50) TEN(n + 60) TEN(n + 70) TEN(n + 80) TEN(n + 90)

SEC("socket") int mix(struct __sk_buff *skb)
{
	unsigned long long sum = skb->len;

	HUNDRED(0)
	HUNDRED(100)
	return sum;
}
