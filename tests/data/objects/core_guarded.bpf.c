/* Code that a kernel cannot run, behind the question whether it could. */
#include "house.h"

struct task_struct { int pid; int not_there; struct no_such_struct *neither; } core;
struct no_such_struct { int value; } core;

SEC("raw_tp") int guarded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (bpf_core_field_exists(task->not_there))
		return BPF_CORE_READ(task, not_there);
	if (bpf_core_type_exists(struct no_such_struct))
		return BPF_CORE_READ(task, neither, value);
	return 5;
}

SEC("raw_tp") int reached(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, not_there);
}
