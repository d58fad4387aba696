/* The kernel's configuration: numbers, letters, states, texts, and what is not there. */
#include "house.h"

extern unsigned LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig __weak;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_BPF_JIT __kconfig;
extern char CONFIG_NET __kconfig;
extern int CONFIG_HZ __kconfig;
extern unsigned long long CONFIG_PHYSICAL_START __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig;
extern int CONFIG_THERE_IS_NO_SUCH_OPTION __kconfig __weak;

SEC("socket") int options(void *ctx)
{
	if (CONFIG_THERE_IS_NO_SUCH_OPTION || LINUX_KERNEL_VERSION < 0x050000)
		return -1;
	return CONFIG_HZ + CONFIG_NET * 10000 + CONFIG_BPF_SYSCALL * 3 + CONFIG_BPF_JIT * 5 + CONFIG_DEFAULT_HOSTNAME[0]
	       + LINUX_HAS_BPF_COOKIE * 100000;
}

SEC("socket") int start(void *ctx) { return CONFIG_PHYSICAL_START >> 20; }
