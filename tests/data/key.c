#define KEY_OFF (-(int)sizeof(struct key))

struct key {
	__u16 port;
	__u32 address;
};

struct bpf_insn prog[] = {
	BPF_ST_MEM(BPF_W, BPF_REG_10, KEY_OFF + offsetof(struct key, address), 1 << 4), /* the key */
	BPF_LD_MAP_FD(BPF_REG_1, map_fd),
	{ .code = BPF_JMP | BPF_EXIT },
};
