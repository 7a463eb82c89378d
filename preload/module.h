/* SPDX-License-Identifier: MIT */
/* The symbols of a loaded file, without the dynamic linker: it may hold its lock, or be what called us. */
#ifndef PRELOAD_MODULE_H
#define PRELOAD_MODULE_H

#include <stdbool.h>
#include <stdint.h>

struct module_symbols {
	uint64_t start, end, bias;
	const uint32_t *hash;
	const void *symbol;
	const char *name;
};

/* False: it has none that could be found this way. */
bool module_open(struct module_symbols *m, uint64_t start, uint64_t end, uint64_t bias);

/* The address; 0: not defined there. */
uint64_t module_find(const struct module_symbols *m, const char *name);

#endif
