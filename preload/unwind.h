/* SPDX-License-Identifier: MIT */
/*
 * Walking up the calling thread's stack.
 *
 * How a frame is left is read from .eh_frame, found through glibc's _dl_find_object, and remembered by address in a
 * table of the caller's. Frames without it (code made at run time) are left by the frame pointer where that leads up
 * the same stack.
 *
 * contract      any thread, signal handlers, in malloc. Never allocates, locks, waits or enters the dynamic linker;
 *               reads no memory but the stack above `sp` and loaded files. x86-64 with glibc 2.35 and newer;
 *               elsewhere unwind_is_possible is false.
 * price         about 5 ns a frame that is remembered, 0.3 to 2 us one that is not.
 */
#ifndef PRELOAD_UNWIND_H
#define PRELOAD_UNWIND_H

#include "accounting/atomic.h"

#include <stdbool.h>
#include <stddef.h>

#define UNWIND_CACHE 4096u

/* Where the walk begins. */
struct unwind_registers {
	uint64_t pc, sp, fp;
};

/* How to leave a frame at one address. data ^ check is the address: a torn pair fits no address. */
struct unwind_rule {
	mc_word check, data; /* sync: relaxed; validated together */
};

/* Zeroed: empty. Shared by threads. Empty it when a file is unmapped (unwind_forget). */
struct unwind_cache {
	struct unwind_rule rule[UNWIND_CACHE];
};

struct unwind_result {
	unsigned frames;
	bool cut; /* it goes on, but could not be followed or did not fit */
};

/* Called for an address that is not remembered: the file's first address, end, bias and name. */
typedef void (*unwind_module_fn)(uint64_t start, uint64_t end, uint64_t bias, const char *name, void *arg);

bool unwind_is_possible(void);

/* The caller's registers, as they are after the call. */
#if defined(__x86_64__)
#define unwind_here(r) \
	__asm__ volatile("leaq 0(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2" \
			 : "=r"((r)->pc), "=r"((r)->sp), "=r"((r)->fp))
#else
#define unwind_here(r) ((void)((r)->pc = (r)->sp = (r)->fp = 0))
#endif

/* Fills frame[0..max) with return addresses, from the one of the function that `from` lies in outwards; those in
 * [skip_start, skip_end) at the beginning are left out. An address where a signal struck, which is none to return
 * to, has bit 62. cache may be NULL: nothing is remembered. */
struct unwind_result unwind_walk(struct unwind_cache *cache, const struct unwind_registers *from, uint64_t skip_start,
				 uint64_t skip_end, uint64_t *frame, unsigned max, unwind_module_fn module, void *arg);

/* What is remembered may be wrong from now on. */
void unwind_forget(struct unwind_cache *cache);

#endif
