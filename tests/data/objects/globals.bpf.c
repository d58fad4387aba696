/* Variables of every section, with types of every kind. */
#include "house.h"

struct pair { int a; long long b; };
enum color { RED = 1, GREEN = 2 };

const volatile int limit = 7;
const volatile char name[16] = "house";
const volatile struct pair fixed = {3, -4};
int zero;
long long runs;
unsigned char flag = 1;
enum color shade = GREEN;
struct pair moving = {5, 6};
short numbers[4] = {1, 2, 3, 4};
static int hidden = 9;
int own SEC(".data.own") = 11;
const volatile int other SEC(".rodata.own") = 13;
int late SEC(".bss.own");

SEC("socket") int sum(void *ctx)
{
	runs++;
	hidden += flag;
	late = own;
	zero += numbers[runs & 3];
	return limit + name[1] + fixed.a + moving.a + shade + other + late + hidden + zero;
}
