/* CO-RE records about types: their ids, whether they are there, their sizes. */
#include "house.h"

struct task_struct { int pid; } core;
struct there_is_no_such_struct { int x; } core;
typedef struct { int counter; } atomic_t;
union bpf_attr___mine { int map_type; } core;

SEC("raw_tp") int exists(void *ctx)
{
	return bpf_core_type_exists(struct task_struct) + 2 * bpf_core_type_exists(struct there_is_no_such_struct)
	       + 4 * bpf_core_type_exists(atomic_t) + 8 * bpf_core_type_exists(union bpf_attr___mine);
}

SEC("raw_tp") int sizes(void *ctx)
{
	return bpf_core_type_size(struct task_struct) + bpf_core_type_size(struct there_is_no_such_struct)
	       + bpf_core_type_size(atomic_t);
}

SEC("raw_tp") int id_of_kernel(void *ctx) { return bpf_core_type_id_kernel(struct task_struct); }
SEC("raw_tp") int id_of_object(void *ctx) { return bpf_core_type_id_local(struct task_struct); }

#if __clang_major__ > 14
struct list_head { struct list_head *next; } core;

SEC("raw_tp") int matches(void *ctx)
{
	return bpf_core_type_matches(struct list_head) + 2 * bpf_core_type_matches(struct there_is_no_such_struct);
}
#endif
