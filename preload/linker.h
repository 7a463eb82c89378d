/* SPDX-License-Identifier: MIT */
/* The dynamic linker as a caller: what it frees it may free under the lock of the thread stacks (a thread's end gives back
 * stacks beyond 40 MiB, and their dtv by ld.so), which making a thread takes. So no helper is made there.
 *
 * contract      any thread, in malloc. Never allocates or locks. Where the linker is not known, as when it was started as a
 *               program itself, everything is its. */
#ifndef PRELOAD_LINKER_H
#define PRELOAD_LINKER_H

#include <stdbool.h>

/* True when this address lies in the dynamic linker. */
bool linker_has(const void *code);

/* True when the caller's function was called by the dynamic linker, by way of free and jemalloc's slow path; also where the
 * stack cannot be walked (unwind.h). About 5 us. */
bool linker_is_near(void);

#endif
