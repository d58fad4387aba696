/* CO-RE records about enumerators. */
#include "house.h"

enum pid_type { PIDTYPE_PID = 7, PIDTYPE_TGID = 9, THERE_IS_NO_SUCH_VALUE = 11 };
enum bpf_map_type___mine { BPF_MAP_TYPE_RINGBUF___mine = 1 };

SEC("raw_tp") int exists(void *ctx)
{
	return bpf_core_enum_value_exists(enum pid_type, PIDTYPE_PID)
	       + 2 * bpf_core_enum_value_exists(enum pid_type, THERE_IS_NO_SUCH_VALUE)
	       + 4 * bpf_core_enum_value_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_RINGBUF___mine);
}

SEC("raw_tp") int values(void *ctx)
{
	return 1000 + bpf_core_enum_value(enum pid_type, PIDTYPE_TGID) * 100
	       + bpf_core_enum_value(enum bpf_map_type___mine, BPF_MAP_TYPE_RINGBUF___mine);
}
