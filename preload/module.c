/* SPDX-License-Identifier: MIT */
/* The symbols of a loaded file. */
#include "preload/module.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

/* The dynamic linker makes addresses of some of these in place, not of all. */
static const void *address_of(const struct module_symbols *m, uint64_t value)
{
	if (value < m->start)
		value += m->bias;
	return value >= m->start && value < m->end ? (const void *)value : NULL; /* NOLINT */
}

static void read_dynamic(struct module_symbols *m, const ElfW(Dyn) * d)
{
	for (; d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_GNU_HASH)
			m->hash = address_of(m, d->d_un.d_ptr);
		else if (d->d_tag == DT_SYMTAB)
			m->symbol = address_of(m, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			m->name = address_of(m, d->d_un.d_ptr);
}

bool module_open(struct module_symbols *m, uint64_t start, uint64_t end, uint64_t bias)
{
	const ElfW(Ehdr) *elf = (const void *)start;			  /* NOLINT: where a file is mapped */
	const ElfW(Phdr) *segment = (const void *)(start + elf->e_phoff); /* NOLINT */

	*m = (struct module_symbols){ .start = start, .end = end, .bias = bias };
	if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phoff + elf->e_phnum * sizeof(*segment) > 4096)
		return false;
	for (unsigned i = 0; i < elf->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC && address_of(m, bias + segment[i].p_vaddr))
			read_dynamic(m, address_of(m, bias + segment[i].p_vaddr));
	return m->hash && m->symbol && m->name;
}

static uint32_t hash_of(const char *name)
{
	uint32_t h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h;
}

uint64_t module_find(const struct module_symbols *m, const char *name)
{
	uint32_t buckets = m->hash[0], first = m->hash[1], words = m->hash[2], shift = m->hash[3];
	const uint64_t *bloom = (const void *)(m->hash + 4); /* aligned by the format */
	const uint32_t *bucket = (const uint32_t *)(bloom + words);
	const uint32_t *chain = bucket + buckets;
	const ElfW(Sym) *symbol = m->symbol;
	uint32_t h = hash_of(name);
	uint64_t word = bloom[h / 64 % words];

	if (!(word >> h % 64 & word >> (h >> shift) % 64 & 1))
		return 0;
	for (uint32_t i = bucket[h % buckets]; i >= first; i++) {
		if ((chain[i - first] | 1) == (h | 1) && strcmp(m->name + symbol[i].st_name, name) == 0)
			return symbol[i].st_shndx == SHN_UNDEF ? 0 : symbol[i].st_value + m->bias;
		if (chain[i - first] & 1)
			break;
	}
	return 0;
}
