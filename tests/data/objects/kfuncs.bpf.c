/* Functions of the kernel: one of 6.4 or later, a weak one that nobody has, and the test for it. */
#include "house.h"

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int there_is_no_such_function(int x) __ksym __weak;

SEC("tc") int locked(struct __sk_buff *skb)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return 3;
}

SEC("tc") int guarded(struct __sk_buff *skb)
{
	if (&there_is_no_such_function)
		return there_is_no_such_function(1);
	return 4;
}
