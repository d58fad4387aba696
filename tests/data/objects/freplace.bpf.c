/* What replaces a function of another program. */
#include "house.h"

SEC("freplace/shared") int replaced(int x) { return 42; }
