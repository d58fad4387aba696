/* Loads an object with libbpf, attaches its programs, makes so many fchownat(2) calls, and prints what was counted.
 *
 * loader OBJECT MAP CALLS [VARIABLE=NUMBER ...]
 * loader PROGRAM MAP CALLS
 *
 * MAP is an array of u64, per CPU or not, of which element 0 is printed. VARIABLE is set before loading: a u32 of .data
 * or .rodata, by its name in the object's types. A PROGRAM that begins with "/" is pinned there, as the map is; it is
 * attached to the system call. Status 2: it was not opened, 3: not loaded, 4: not attached.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

static int say(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, arguments);
}

/* Set a variable in the first content of the map that holds it. */
static int set(struct bpf_object *object, const char *name, unsigned int number)
{
	struct btf *btf = bpf_object__btf(object);
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *section = strrchr(bpf_map__name(map), '.');
		int id = section ? btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC) : -1;
		const struct btf_type *type = id > 0 ? btf__type_by_id(btf, id) : NULL;
		size_t size;
		char *data = (char *)bpf_map__initial_value(map, &size);

		for (int i = 0; type && data && i < btf_vlen(type); i++) {
			const struct btf_var_secinfo *place = btf_var_secinfos(type) + i;
			const struct btf_type *variable = btf__type_by_id(btf, place->type);

			if (strcmp(btf__name_by_offset(btf, variable->name_off), name))
				continue;
			memcpy(data + place->offset, &number, sizeof(number));
			return 0;
		}
	}
	return -1;
}

static void call(int calls)
{
	for (int worker = 0; worker < WORKERS; worker++) {
		if (fork())
			continue;
		for (int i = calls / WORKERS + (worker < calls % WORKERS); i; i--)
			if (syscall(SYS_fchownat, AT_FDCWD, "/", -1, -1, 0))
				_exit(1);
		_exit(0);
	}
	for (int worker = 0, status; worker < WORKERS; worker++)
		if (wait(&status) < 0 || status)
			exit(5);
}

static int print(int map)
{
	unsigned long long values[4096] = {0}, sum = 0;
	struct bpf_map_info info = {0};
	unsigned int key = 0, size = sizeof(info);

	if (bpf_obj_get_info_by_fd(map, &info, &size) || bpf_map_lookup_elem(map, &key, values))
		return 5;
	for (int cpu = 0; cpu < (info.type == BPF_MAP_TYPE_PERCPU_ARRAY ? libbpf_num_possible_cpus() : 1); cpu++)
		sum += values[cpu];
	printf("%llu\n", sum);
	return 0;
}

/* Attach a program that is pinned. */
static int pinned(char **argv)
{
	struct perf_event_attr attr = {.size = sizeof(attr), .config1 = (unsigned long)"__x64_sys_fchownat"};
	int program = bpf_obj_get(argv[1]), map = bpf_obj_get(argv[2]), event;
	FILE *file = fopen("/sys/bus/event_source/devices/kprobe/type", "r");

	if (program < 0 || map < 0)
		return 2;
	if (!file || fscanf(file, "%u", &attr.type) != 1)
		return 4;
	event = syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
	if (event < 0 || ioctl(event, PERF_EVENT_IOC_SET_BPF, program) || ioctl(event, PERF_EVENT_IOC_ENABLE))
		return 4;
	call(atoi(argv[3]));
	return print(map);
}

int main(int argc, char **argv)
{
	struct bpf_program *program;
	struct bpf_object *object;

	libbpf_set_print(say);
	if (argv[1][0] == '/')
		return pinned(argv);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return 2;
	for (int i = 4; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		*equals = 0;
		if (set(object, argv[i], atoi(equals + 1)))
			return 2;
	}
	if (bpf_object__load(object))
		return 3;
	bpf_object__for_each_program(program, object)
		if (!bpf_program__attach(program))
			return 4;
	call(atoi(argv[3]));
	return print(bpf_object__find_map_fd_by_name(object, argv[2]));
}
