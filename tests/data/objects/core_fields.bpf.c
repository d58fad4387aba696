/* Every kind of CO-RE record about fields, of a struct that each kernel has differently. */
#include "house.h"

struct list_head { struct list_head *next, *prev; } core;
struct task_struct {
	int pid, tgid;
	char comm[16];
	struct list_head tasks;
	struct task_struct *group_leader;
	unsigned int in_execve : 1;
	unsigned int flags;
	int not_there;
} core;
struct task_struct___old { long state; } core;

SEC("raw_tp") int offsets(void *ctx)
{
	struct task_struct *task = 0;

	return bpf_core_field_offset(task->pid) + bpf_core_field_offset(task->tasks.prev) + bpf_core_field_offset(task->comm[3]);
}

SEC("raw_tp") int sizes(void *ctx)
{
	struct task_struct *task = 0;

	return bpf_core_field_size(task->comm) * 100 + bpf_core_field_size(task->tasks) + bpf_core_field_size(task->flags);
}

SEC("raw_tp") int exists(void *ctx)
{
	struct task_struct *task = 0;
	struct task_struct___old *old = 0;

	return bpf_core_field_exists(task->pid) + 2 * bpf_core_field_exists(task->not_there) + 4 * bpf_core_field_exists(old->state);
}

SEC("raw_tp") int read(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, group_leader, tgid) > 0;
}

SEC("raw_tp") int bit_field(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ_BITFIELD_PROBED(task, in_execve) + BPF_CORE_READ(task, flags) * 0;
}

SEC("raw_tp") int is_signed(void *ctx)
{
	struct task_struct *task = 0;

	return __builtin_preserve_field_info(task->pid, BPF_FIELD_SIGNED) + 2 * __builtin_preserve_field_info(task->flags, BPF_FIELD_SIGNED);
}
