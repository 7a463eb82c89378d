/* SPDX-License-Identifier: MIT */
/* All names of the fake driver. What is not defined elsewhere exists, counts, and is not supported.
 */
#include "tests/device/fake.h"

#define DRIVER(name, base, version, per_thread) \
	SHOW __attribute__((weak)) int name(void); \
	int name(void) \
	{ \
		ENTER(name) \
		LEAVE(name, NOT_SUPPORTED); \
	}
#include "tests/device/driver.def"
#undef DRIVER

const struct fake_name fake_names[FAKE_CALLS] = {
#define DRIVER(call, of, since, streams) { #call, of, since, streams, (void *)call },
#include "tests/device/driver.def"
#undef DRIVER
};
