/* Symbols of the kernel: a variable with a type, addresses without, and those that are not there. */
#include "house.h"

extern const int bpf_prog_active __ksym;
extern const void init_task __ksym __weak;
extern const void there_is_no_such_symbol __ksym __weak;
extern const int there_is_no_such_variable __ksym __weak;

SEC("raw_tp") int untyped(void *ctx)
{
	return (&there_is_no_such_symbol ? 100 : 0) + (&there_is_no_such_variable ? 10 : 0) + (&init_task ? 1 : 0);
}

SEC("raw_tp") int typed(void *ctx)
{
	const int *active = bpf_this_cpu_ptr(&bpf_prog_active);

	return *active + 1 > 0;
}
