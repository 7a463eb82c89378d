/* SPDX-License-Identifier: MIT */
/* Whose function an address is, and which of ours stands in for it.
 *
 * A driver library may be loaded once in the program's own namespace and again in others (dlmopen):
 * each is a copy with addresses and state of its own, and each has wrappers of its own, made from
 * calls.def. An address that a lookup has answered is compared with those that the copies have;
 * what is not one of them is nobody's business here.
 *
 * contract      any thread; nothing is looked up before the program has looked for something.
 */
#ifndef DEVICE_RESOLVE_H
#define DEVICE_RESOLVE_H

#include "accounting/atomic.h"
#include "device/abi.h"

#include <link.h>

enum library { LIBRARY_CUDA, LIBRARY_NVML, LIBRARY_HIP, LIBRARY_ZE, LIBRARIES };

enum call {
#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) CALL_##name,
#define CALL0(library, name, base, version, per_thread, sentence) \
	CALL(library, name, base, version, per_thread, (void), (), sentence)
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS
	CALLS
};

#define COPIES 3

struct copy {
	enum library library;
	unsigned index;	      /* 0: the first of the program's own namespace */
	struct link_map *map; /* NULL: not loaded yet */
	void *real[CALLS];    /* NULL: this driver has no such function */
	mc_word32 ready;
	struct cuda_devices *_Atomic devices; /* cuda.c's; sync: release when made */
};

/* The functions of a copy, for what wrappers need beside what they wrap. NULL: this driver lacks
 * it. */
void *resolve_in(const struct copy *copy, const char *name);

/* For calls that reach our exported symbols: the copy of the program's own namespace, or NULL while
 * there is none. */
struct copy *resolve_own(enum library library);

/* Another one: only who was given one of its wrappers asks. */
struct copy *resolve_copy(enum library library, unsigned index);

/* What is to be used instead of `found`, which a lookup of a name has answered; `found` itself
 * where it is not one of a driver's functions that we wrap. */
void *resolve_stand_in(const char *name, void *found);
void *resolve_stand_in_of(const struct copy *copy, void *found);

/* True when the table has a call of this name. */
bool resolve_is_ours(const char *name);

typedef void *resolve_dlsym(void *, const char *);
typedef void *resolve_dlvsym(void *, const char *, const char *);
extern resolve_dlsym *resolve_real_dlsym;
extern resolve_dlvsym *resolve_real_dlvsym;
void resolve_start(void);

/* Our functions by call and copy; wrappers.c's. */
extern void *const resolve_wrapper[CALLS][COPIES];

#endif
