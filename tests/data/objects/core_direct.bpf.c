/* Loads whose size and place follow the field's: a pointer that BTF describes is read without a helper. */
#include "house.h"

struct task_struct { unsigned int flags; int pid; unsigned long long start_time; } core;

SEC("tp_btf/sched_switch") int wide(unsigned long long *ctx)
{
	struct task_struct *task = (void *)ctx[1];

	return (task->pid >= 0) + (task->start_time > 0) + (task->flags != 0);
}
