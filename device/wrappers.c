/* SPDX-License-Identifier: MIT */
/* The functions that stand in for a driver's: one for each call and each copy of the driver. The
 * first copy's are exported by the driver's names.
 *
 * A driver may be built so that its calls of its own functions come to us: what it does inside a
 * call that we already look after is its own business, which `depth` tells. */
#include "device/cuda.h"

static __thread int depth __attribute__((tls_model("initial-exec")));

#define EXPORT __attribute__((visibility("default")))

#define AROUND(own, name, call_real, call_on) \
	struct copy *c = (own); \
	int result; \
	if (__builtin_expect(!c, 0)) \
		return CU_NOT_INITIALIZED; \
	if (__builtin_expect(!c->real[CALL_##name], 0)) \
		return CU_NOT_FOUND; \
	if (depth) \
		return call_real; \
	depth = 1; \
	result = call_on; \
	depth = 0; \
	return result;

#define WRAPPER(made, own, name, parameters, arguments) \
	int made parameters \
	{ \
		AROUND(own, name, REAL(c, name) arguments, on_##name(c, UNPACK arguments)) \
	}
#define WRAPPER0(made, own, name) \
	int made(void) \
	{ \
		AROUND(own, name, REAL(c, name)(), on_##name(c)) \
	}

#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	EXPORT int name parameters; \
	WRAPPER(name, resolve_own(LIBRARY_##library), name, parameters, arguments) \
	static WRAPPER(name##_in_1, resolve_copy(LIBRARY_##library, 1), name, parameters, arguments) static WRAPPER( \
		name##_in_2, resolve_copy(LIBRARY_##library, 2), name, parameters, arguments)
#define CALL0(library, name, base, version, per_thread, sentence) \
	EXPORT int name(void); \
	WRAPPER0(name, resolve_own(LIBRARY_##library), name) \
	static WRAPPER0(name##_in_1, resolve_copy(LIBRARY_##library, 1), \
			name) static WRAPPER0(name##_in_2, resolve_copy(LIBRARY_##library, 2), name)
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS

void *const resolve_wrapper[CALLS][COPIES] = {
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	[CALL_##name] = { (void *)name, (void *)name##_in_1, (void *)name##_in_2 },
#define CALL0(library, name, base, version, per_thread, sentence) CALL(library, name, , , , , , )
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS
};

/* What is not charged yet: seen, marked, passed on. */
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence)
#define CALL0(library, name, base, version, per_thread, sentence)
#define PASS(library, name, base, version, per_thread, parameters, arguments, sentence) \
	int on_##name(struct copy *copy, UNPACK parameters) \
	{ \
		device_member_mark_partial(); \
		return REAL(copy, name) arguments; \
	}
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS
