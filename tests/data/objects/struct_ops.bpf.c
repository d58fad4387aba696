/* A struct of functions: its programs are told by the member that they stand in. */
#include "house.h"

struct sock;
struct tcp_congestion_ops {
	char name[16];
	unsigned int (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, unsigned int ack, unsigned int acked);
	unsigned int (*undo_cwnd)(struct sock *sk);
} core;

SEC("struct_ops/half") unsigned int half(unsigned long long *ctx) { return 2; }
SEC("struct_ops/avoid") void avoid(unsigned long long *ctx) {}
SEC("struct_ops/undo") unsigned int undo(unsigned long long *ctx) { return 3; }

SEC(".struct_ops") struct tcp_congestion_ops house = {
	.name = "house",
	.ssthresh = (void *)half,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
};
