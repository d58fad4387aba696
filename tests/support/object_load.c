/* What libbpf makes of an object: object_load OBJECT... prints a line of JSON for each program.
 *
 * Each program is loaded alone, with all maps of its object, or with -a before the object all of them at once, and run
 * where its type has a test run. A program that is not loaded has the errno instead.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (getenv("LOUD"))
		return vfprintf(stderr, format, arguments);
	return 0;
}

static void hex(const char *name, const unsigned char *data, size_t size)
{
	printf(", \"%s\": \"", name);
	for (size_t at = 0; at < size; at++)
		printf("%02x", data[at]);
	printf("\"");
}

static void run(int fd, enum bpf_prog_type type)
{
	unsigned char data[64] = {0}, context[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options);

	switch (type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_XDP:
		for (int at = 0; at < (int)sizeof(data); at++)
			data[at] = at;
		options.data_in = data;
		options.data_size_in = sizeof(data);
		break;
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		for (int at = 0; at < (int)sizeof(context); at++)
			context[at] = at;
		options.ctx_in = context;
		options.ctx_size_in = sizeof(context);
		break;
	default:
		return;
	}
	if (!bpf_prog_test_run_opts(fd, &options))
		printf(", \"retval\": %u", options.retval);
	if (type == BPF_PROG_TYPE_SYSCALL)
		hex("ctx", context, sizeof(context));
}

static void maps(struct bpf_object *object)
{
	struct bpf_map *map;
	const char *comma = "";

	printf(", \"maps\": {");
	bpf_object__for_each_map(map, object) {
		struct bpf_map_info info = {0};
		unsigned int size = sizeof(info), key = 0;
		static unsigned char value[1 << 16];
		const char *name = strrchr(bpf_map__name(map), '.');

		if (bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &size))
			continue;
		/* Those of sections go by the object's name as well. */
		name = bpf_map__is_internal(map) && name != bpf_map__name(map) && strchr(bpf_map__name(map), '.') == name
			       ? name : bpf_map__name(map);
		printf("%s\"%s\": {\"id\": %u, \"name\": \"%s\", \"type\": %u, \"key\": %u, \"value\": %u, \"entries\": %u",
		       comma, name, info.id, info.name, info.type, info.key_size, info.value_size, info.max_entries);
		if (info.type == BPF_MAP_TYPE_ARRAY && info.value_size <= sizeof(value)
		    && !bpf_map_lookup_elem(bpf_map__fd(map), &key, value))
			hex("first", value, info.value_size);
		printf("}");
		comma = ", ";
	}
	printf("}");
}

static void tell(const char *path, struct bpf_object *object, struct bpf_program *program, int error)
{
	static unsigned char code[1 << 20];
	struct bpf_prog_info info = {0};
	unsigned int size = sizeof(info);
	int fd = bpf_program__fd(program);

	printf("{\"object\": \"%s\", \"program\": \"%s\"", path, bpf_program__name(program));
	if (error || fd < 0) {
		printf(", \"errno\": %d}\n", -error);
		return;
	}
	info.xlated_prog_insns = (unsigned long)code;
	info.xlated_prog_len = sizeof(code);
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		exit(2);
	printf(", \"type\": %u, \"name\": \"%s\", \"functions\": %u, \"lines\": %u", info.type, info.name,
	       info.nr_func_info, info.nr_line_info);
	hex("xlated", code, info.xlated_prog_len);
	run(fd, info.type);
	maps(object);
	printf("}\n");
	fflush(stdout);
}

/* Load a program of an object, or all of them where none is named. */
static void load(const char *path, const char *wanted)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	int error;

	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !wanted || !strcmp(bpf_program__name(program), wanted));
	error = bpf_object__load(object);
	bpf_object__for_each_program(program, object)
		if (bpf_program__autoload(program))
			tell(path, object, program, error);
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	int all = 0;

	libbpf_set_print(quiet);
	for (int i = 1; i < argc; i++) {
		struct bpf_object *object;
		struct bpf_program *program;

		if (!strcmp(argv[i], "-a")) {
			all = 1;
			continue;
		}
		object = bpf_object__open_file(argv[i], NULL);
		if (!object) {
			printf("{\"object\": \"%s\", \"errno\": %d}\n", argv[i], errno);
			continue;
		}
		if (all)
			load(argv[i], NULL);
		else
			bpf_object__for_each_program(program, object)
				load(argv[i], bpf_program__name(program));
		bpf_object__close(object);
		all = 0;
	}
	return 0;
}
