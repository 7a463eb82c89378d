/* SPDX-License-Identifier: MIT */
/* The driver's own lookup: it says which variant a name of a version with its flags means, and
 * writes all results; we look at nothing but the address. */
#include "device/cuda.h"

static void stand_in(const struct copy *copy, void **function)
{
	if (function && *function)
		*function = resolve_stand_in_of(copy, *function);
}

int on_cuGetProcAddress(struct copy *copy, const char *symbol, void **function, int version, uint64_t flags)
{
	int result = REAL(copy, cuGetProcAddress)(symbol, function, version, flags);

	if (!result)
		stand_in(copy, function);
	return result;
}

int on_cuGetProcAddress_v2(struct copy *copy, const char *symbol, void **function, int version, uint64_t flags,
			   int *status)
{
	int result = REAL(copy, cuGetProcAddress_v2)(symbol, function, version, flags, status);

	if (!result)
		stand_in(copy, function);
	return result;
}
