/* SPDX-License-Identifier: MIT */
/* The functions that stand in for a driver's: one for each call and each copy of the driver. The
 * first copy's are exported by the driver's names.
 *
 * A driver may be built so that its calls of its own functions come to us: what it does inside a
 * call that we already look after is its own business, which `depth` tells. */
#include "device/ze.h"

static __thread int depth __attribute__((tls_model("initial-exec")));

#define EXPORT __attribute__((visibility("default")))

/* What each library answers before it is there, and what it answers to what it has not. */
#define CUDA_ABSENT CU_NOT_INITIALIZED
#define CUDA_LACKING CU_NOT_FOUND
#define NVML_ABSENT NVML_UNINITIALIZED
#define NVML_LACKING NVML_FUNCTION_NOT_FOUND
#define HIP_ABSENT CU_NOT_INITIALIZED
#define HIP_LACKING CU_NOT_FOUND
#define ZE_ABSENT ZE_UNINITIALIZED
#define ZE_LACKING ZE_UNSUPPORTED_FEATURE

#define AROUND(library, own, name, call_real, call_on) \
	struct copy *c = (own); \
	int result; \
	if (__builtin_expect(!c, 0)) \
		return library##_ABSENT; \
	if (__builtin_expect(!c->real[CALL_##name], 0)) \
		return library##_LACKING; \
	if (depth) \
		return call_real; \
	depth = 1; \
	result = call_on; \
	depth = 0; \
	return result;

#define WRAPPER(library, made, own, name, parameters, arguments) \
	int made parameters \
	{ \
		AROUND(library, own, name, REAL(c, name) arguments, on_##name(c, UNPACK arguments)) \
	}
#define WRAPPER0(library, made, own, name) \
	int made(void) \
	{ \
		AROUND(library, own, name, REAL(c, name)(), on_##name(c)) \
	}

#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	EXPORT int name parameters; \
	WRAPPER(library, name, resolve_own(LIBRARY_##library), name, parameters, arguments) \
	static WRAPPER(library, name##_in_1, resolve_copy(LIBRARY_##library, 1), name, parameters, \
		       arguments) static WRAPPER(library, name##_in_2, resolve_copy(LIBRARY_##library, 2), name, \
						 parameters, arguments)
#define CALL0(library, name, base, version, per_thread, sentence) \
	EXPORT int name(void); \
	WRAPPER0(library, name, resolve_own(LIBRARY_##library), name) \
	static WRAPPER0(library, name##_in_1, resolve_copy(LIBRARY_##library, 1), \
			name) static WRAPPER0(library, name##_in_2, resolve_copy(LIBRARY_##library, 2), name)
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS

/* What Level Zero's tables have instead. */
#define OF_TABLES_CUDA(name, parameters, arguments)
#define OF_TABLES_NVML(name, parameters, arguments)
#define OF_TABLES_HIP(name, parameters, arguments)
#define OF_TABLES_ZE(name, parameters, arguments) \
	WRAPPER(ZE, name##_of_table_0, &ze_tables[0], name, parameters, arguments) \
	WRAPPER(ZE, name##_of_table_1, &ze_tables[1], name, parameters, arguments) \
	WRAPPER(ZE, name##_of_table_2, &ze_tables[2], name, parameters, arguments)
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	OF_TABLES_##library(name, parameters, arguments)
#define CALL0(library, name, base, version, per_thread, sentence)
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

#define CUDA_PARTIAL MEMBER_PARTIAL
#define NVML_PARTIAL MEMBER_PARTIAL
#define HIP_PARTIAL (MEMBER_PARTIAL | MEMBER_PARTIAL_HIP)
#define ZE_PARTIAL (MEMBER_PARTIAL | MEMBER_PARTIAL_ZE)

/* What is not charged yet: seen, marked, passed on. */
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence)
#define CALL0(library, name, base, version, per_thread, sentence)
#define PASS(library, name, base, version, per_thread, parameters, arguments, sentence) \
	int on_##name(struct copy *copy, UNPACK parameters) \
	{ \
		device_member_mark(library##_PARTIAL); \
		return REAL(copy, name) arguments; \
	}
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS
