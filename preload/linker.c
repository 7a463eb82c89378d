/* SPDX-License-Identifier: MIT */
/* The dynamic linker as a caller. */
#include "preload/linker.h"

#include "preload/unwind.h"

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>

#define NEAR_FRAMES 5u /* the slow path, one or two of jemalloc's, free's caller */

/* Of what is loaded of it: its first address and how far it reaches; size 0 where it is not known. */
struct extent {
	uint64_t start, size;
};

static struct extent extent(void)
{
	const char *base = (const char *)getauxval(AT_BASE);
	const Elf64_Ehdr *file = (const void *)base;
	struct extent all = { (uint64_t)base, 0 };

	for (unsigned i = 0; base && i < file->e_phnum; i++) {
		const Elf64_Phdr *p = (const Elf64_Phdr *)(const void *)(base + file->e_phoff) + i;

		if (p->p_type == PT_LOAD && p->p_vaddr + p->p_memsz > all.size)
			all.size = p->p_vaddr + p->p_memsz;
	}
	return all;
}

static bool has(const struct extent *all, uint64_t code)
{
	return all->size == 0 || code - all->start < all->size;
}

bool linker_has(const void *code)
{
	struct extent all = extent();

	return has(&all, (uint64_t)code);
}

bool linker_is_near(void)
{
	struct extent all = extent();
	struct unwind_registers here;
	uint64_t frame[NEAR_FRAMES];
	unsigned n;

	if (!unwind_is_possible())
		return true;
	unwind_here(&here);
	n = unwind_walk(NULL, &here, 0, 0, frame, NEAR_FRAMES, NULL, NULL).frames;
	for (unsigned i = 0; i < n; i++)
		if (has(&all, frame[i]))
			return true;
	return false;
}
