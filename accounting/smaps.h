/* SPDX-License-Identifier: MIT */
/* A process's private anonymous mappings as /proc/PID/smaps tells of them: what is resident, touched, paged out.
 *
 * contract      raw system calls alone; the caller's buffer holds what is read. Reading walks over all pages of the
 *               process, 10 ns each, and holds up its mmap and munmap, not its page faults, for that of a mapping.
 */
#ifndef ACCOUNTING_SMAPS_H
#define ACCOUNTING_SMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In pages. */
struct smaps_mapping {
	uint64_t start, end; /* addresses */
	uint64_t resident;   /* private pages in memory, copies shared with relatives included */
	uint64_t referenced; /* of all that is resident: touched since that was cleared last (MADV_COLD does) */
	uint64_t swapped;
	uint64_t lazy_free; /* of resident: given up by MADV_FREE */
	uint64_t huge;	    /* of resident: in huge pages */
	bool is_anonymous;  /* private, no file behind it, no stack of a main thread */
	bool is_fixed;	    /* locked, huge or special pages, or watched by the program itself (userfaultfd) */
};

typedef void smaps_take(const struct smaps_mapping *m, void *to);

#define SMAPS_TEXT_LEAST 4096u

/* Calls take for each mapping, by address, with fd just opened. 0 or negative errno. */
int smaps_walk(int fd, char *text, size_t size, smaps_take *take, void *to);

/* The machine has swap, and some of it is free. 0.3 us. */
bool smaps_has_swap(void);

#endif
