/* SPDX-License-Identifier: MIT */
/*
 * What code lies at an address of a file: function, source line, and the functions that were inlined there. By libdw,
 * from the file itself or its separate debug file (by build id); C++ and Rust names as they were written.
 */
#ifndef MEMCTL_SYMBOLS_H
#define MEMCTL_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

struct symbols;

/* One function at an address. Texts live as long as the struct symbols. */
struct symbols_frame {
	const char *function; /* never NULL: "libx.so+0x1234" where nothing is known */
	const char *file;     /* NULL: not known */
	int line;	      /* 0: not known */
	const char *module;
};

typedef void (*symbols_fn)(const struct symbols_frame *frame, void *arg);

/* Never NULL: without memory the command ends. */
struct symbols *symbols_new(void);
void symbols_free(struct symbols *s);

/* A file by path, and by build id when id_size is not 0: another build is not used. */
struct symbols_module *symbols_module(struct symbols *s, const char *path, const uint8_t *id, size_t id_size);

/* Calls `fn` for each function that is at `address` (the file's own), what was inlined first. */
void symbols_find(struct symbols *s, struct symbols_module *m, uint64_t address, symbols_fn fn, void *arg);

/* True when this memctl was built with libdw. */
_Bool symbols_are_possible(void);

#endif
