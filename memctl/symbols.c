/* SPDX-License-Identifier: MIT */
/* What code lies at an address of a file. */
#include "memctl/symbols.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LIBDW
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <unistd.h>
#endif

struct symbols_module {
	struct symbols_module *next;
	char *path;
	uint8_t id[20];
	size_t id_size;
#ifdef HAVE_LIBDW
	Dwfl *dwfl;
	Dwfl_Module *module;
	Dwarf_Addr bias; /* address in libdw minus the file's own */
#endif
};

typedef char *demangle_fn(const char *name, char *buf, size_t *size, int *status);

struct symbols {
	struct symbols_module *modules;
	demangle_fn *demangle;
	void *texts; /* each begins with a pointer to the next */
};

static void *must(void *p)
{
	if (!p) {
		fputs("memctl: no memory left\n", stderr);
		exit(1);
	}
	return p;
}

static const char *keep(struct symbols *s, const char *text, size_t n)
{
	void **block = must(malloc(sizeof(void *) + n + 1));
	char *copy = (char *)(block + 1);

	*block = s->texts;
	s->texts = block;
	memcpy(copy, text, n);
	copy[n] = 0;
	return copy;
}

/* Only where a name wants it: no other command needs libstdc++. */
struct symbols *symbols_new(void)
{
	return must(calloc(1, sizeof(struct symbols)));
}

static demangle_fn *demangler(struct symbols *s)
{
	void *library;

	if (s->demangle)
		return s->demangle;
	library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
	if (library)
		*(void **)&s->demangle = dlsym(library, "__cxa_demangle");
	return s->demangle;
}

/* Rust ends a path with ::h and 16 digits of hash. */
static size_t without_hash(const char *name)
{
	size_t n = strlen(name);

	if (n > 19 && memcmp(name + n - 19, "::h", 3) == 0 && strspn(name + n - 16, "0123456789abcdef") == 16)
		return n - 19;
	return n;
}

static const char *demangle(struct symbols *s, const char *name)
{
	int status = -1;
	char *plain = NULL;

	if (strncmp(name, "_Z", 2) == 0 && demangler(s))
		plain = s->demangle(name, NULL, NULL, &status);
	name = keep(s, plain ? plain : name, without_hash(plain ? plain : name));
	free(plain);
	return name;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void say_unknown(struct symbols *s, const struct symbols_module *m, uint64_t address, symbols_fn fn, void *arg)
{
	struct symbols_frame f = { .module = base_of(m->path) };
	char text[400];
	int n = snprintf(text, sizeof(text), "%.300s+0x%llx", f.module, (unsigned long long)address);

	f.function = keep(s, text, (size_t)n);
	fn(&f, arg);
}

#ifdef HAVE_LIBDW

_Bool symbols_are_possible(void)
{
	return true;
}

static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = dwfl_standard_find_debuginfo,
	.section_address = dwfl_offline_section_address,
};

static bool is_this_build(struct symbols_module *m)
{
	const unsigned char *id;
	GElf_Addr at;
	int n = dwfl_module_build_id(m->module, &id, &at);

	return m->id_size == 0 || n <= 0 || ((size_t)n == m->id_size && memcmp(id, m->id, m->id_size) == 0);
}

static bool open_file(struct symbols_module *m, const char *path)
{
	GElf_Addr bias = 0;

	m->dwfl = dwfl_begin(&callbacks);
	if (!m->dwfl)
		return false;
	dwfl_report_begin(m->dwfl);
	m->module = dwfl_report_offline(m->dwfl, base_of(path), path, -1);
	dwfl_report_end(m->dwfl, NULL, NULL);
	if (m->module && is_this_build(m) && dwfl_module_getelf(m->module, &bias)) {
		m->bias = bias;
		return true;
	}
	dwfl_end(m->dwfl);
	m->dwfl = NULL;
	m->module = NULL;
	return false;
}

/* The file may have been replaced or removed: its debug file still has all names. */
static void open_module(struct symbols_module *m)
{
	char path[96] = "/usr/lib/debug/.build-id/";
	char *to = path + strlen(path);

	if (open_file(m, m->path) || m->id_size < 2)
		return;
	for (size_t i = 0; i < m->id_size; i++)
		to += sprintf(to, i == 1 ? "/%02x" : "%02x", m->id[i]);
	strcpy(to, ".debug");
	(void)open_file(m, path);
}

/* ---- functions at an address ------------------------------------------------------------------------------ */

static const char *attribute_text(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;

	return dwarf_attr_integrate(die, name, &a) ? dwarf_formstring(&a) : NULL;
}

static const char *name_of(struct symbols *s, Dwarf_Die *die)
{
	const char *name = attribute_text(die, DW_AT_linkage_name);

	if (!name)
		name = attribute_text(die, DW_AT_MIPS_linkage_name);
	if (!name)
		name = dwarf_diename(die);
	return name ? demangle(s, name) : NULL;
}

/* Where an inlined function was called: that is the line of the function around it. */
static void call_site(Dwarf_Die *inlined, Dwarf_Die *unit, struct symbols_frame *outer)
{
	Dwarf_Attribute a;
	Dwarf_Word number;
	Dwarf_Files *files;
	size_t n;

	outer->file = NULL;
	outer->line = 0;
	if (dwarf_attr(inlined, DW_AT_call_line, &a) && dwarf_formudata(&a, &number) == 0)
		outer->line = (int)number;
	if (dwarf_attr(inlined, DW_AT_call_file, &a) && dwarf_formudata(&a, &number) == 0 &&
	    dwarf_getsrcfiles(unit, &files, &n) == 0 && number < n)
		outer->file = dwarf_filesrc(files, number, NULL, NULL);
}

static const char *symbol_of(struct symbols *s, const struct symbols_module *m, Dwarf_Addr at)
{
	GElf_Off offset;
	GElf_Sym symbol;
	const char *name = dwfl_module_addrinfo(m->module, at, &offset, &symbol, NULL, NULL, NULL);

	if (!name || (symbol.st_size && offset >= symbol.st_size))
		return NULL;
	return demangle(s, name);
}

/* False: the debug information does not say. */
static bool find_in_scopes(struct symbols *s, struct symbols_module *m, Dwarf_Addr at, struct symbols_frame *f,
			   symbols_fn fn, void *arg)
{
	Dwarf_Addr bias;
	Dwarf_Die *unit = dwfl_module_addrdie(m->module, at, &bias);
	Dwarf_Die *scopes = NULL;
	Dwarf_Die *chain = NULL;
	int n = unit ? dwarf_getscopes(unit, at - bias, &scopes) : 0;
	bool found = false;

	if (n > 0) /* the innermost; its own parents, not those of where it was inlined from */
		n = dwarf_getscopes_die(&scopes[0], &chain);
	for (int i = 0; i < n && !found; i++) {
		int tag = dwarf_tag(&chain[i]);

		if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
			continue;
		found = tag == DW_TAG_subprogram;
		f->function = name_of(s, &chain[i]);
		if (!f->function && found)
			f->function = symbol_of(s, m, at);
		if (!f->function)
			f->function = "??";
		fn(f, arg);
		if (!found)
			call_site(&chain[i], unit, f);
	}
	free(chain);
	free(scopes);
	return found;
}

static void find(struct symbols *s, struct symbols_module *m, uint64_t address, symbols_fn fn, void *arg)
{
	Dwarf_Addr at = address + m->bias;
	Dwfl_Line *line = dwfl_module_getsrc(m->module, at);
	struct symbols_frame f = { .module = base_of(m->path) };

	if (line)
		f.file = dwfl_lineinfo(line, NULL, &f.line, NULL, NULL, NULL);
	if (find_in_scopes(s, m, at, &f, fn, arg))
		return;
	f.function = symbol_of(s, m, at);
	if (f.function)
		fn(&f, arg);
	else
		say_unknown(s, m, address, fn, arg);
}

void symbols_find(struct symbols *s, struct symbols_module *m, uint64_t address, symbols_fn fn, void *arg)
{
	if (m->module)
		find(s, m, address, fn, arg);
	else
		say_unknown(s, m, address, fn, arg);
}

static void close_module(struct symbols_module *m)
{
	if (m->dwfl)
		dwfl_end(m->dwfl);
}

#else

_Bool symbols_are_possible(void)
{
	return false;
}

static void open_module(struct symbols_module *m)
{
	(void)m;
}

void symbols_find(struct symbols *s, struct symbols_module *m, uint64_t address, symbols_fn fn, void *arg)
{
	(void)demangle;
	say_unknown(s, m, address, fn, arg);
}

static void close_module(struct symbols_module *m)
{
	(void)m;
}

#endif

struct symbols_module *symbols_module(struct symbols *s, const char *path, const uint8_t *id, size_t id_size)
{
	struct symbols_module *m;

	for (m = s->modules; m; m = m->next)
		if (strcmp(m->path, path) == 0 && m->id_size == id_size && memcmp(m->id, id, id_size) == 0)
			return m;
	m = must(calloc(1, sizeof(*m)));
	m->path = must(strdup(path));
	m->id_size = id_size;
	memcpy(m->id, id, id_size);
	m->next = s->modules;
	s->modules = m;
	open_module(m);
	return m;
}

void symbols_free(struct symbols *s)
{
	while (s->modules) {
		struct symbols_module *next = s->modules->next;

		close_module(s->modules);
		free(s->modules->path);
		free(s->modules);
		s->modules = next;
	}
	while (s->texts) {
		void *next = *(void **)s->texts;

		free(s->texts);
		s->texts = next;
	}
	free(s);
}
