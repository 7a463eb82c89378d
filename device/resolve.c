/* SPDX-License-Identifier: MIT */
/* Whose function an address is, and which of ours stands in for it. */
#include "device/resolve.h"

#include "device/lock.h"
#include "device/member.h"

#include <dlfcn.h>
#include <string.h>

struct row {
	const char *name, *base;
	int version;
	unsigned char library, per_thread;
};

static const struct row row[CALLS] = {
#define CALL(where, call, of, since, streams, parameters, arguments, sentence) \
	[CALL_##call] = { \
		.name = #call, .base = (of), .version = (since), .library = LIBRARY_##where, .per_thread = (streams) \
	},
#define CALL0(library, name, base, version, per_thread, sentence) \
	CALL(library, name, base, version, per_thread, (void), (), sentence)
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS
};

#define SONAMES 4

static const char *const sonames[LIBRARIES][SONAMES] = {
	[LIBRARY_CUDA] = { "libcuda.so.1" },
	[LIBRARY_NVML] = { "libnvidia-ml.so.1" },
	[LIBRARY_HIP] = { "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so.4" },
	[LIBRARY_ZE] = { "libze_loader.so.1" },
};

static struct copy copies[LIBRARIES][COPIES];

resolve_dlsym *resolve_real_dlsym;
resolve_dlvsym *resolve_real_dlvsym;

/* ---- names ----------------------------------------------------------------------------------------------- */

#define NAMES 1024u	       /* slots: a power of two, several times CALLS */
static uint8_t by_name[NAMES]; /* call + 1 */

_Static_assert(CALLS < UINT8_MAX, "calls fit into a byte, and leave their table sparse");

static uint32_t hash_name(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash;
}

/* Several threads may be at it, or the child of one that was: each finds what another has put where
 * it would itself. */
static void fill_names(void)
{
	for (unsigned c = 0; c < CALLS; c++) {
		uint32_t i = hash_name(row[c].name) % NAMES;

		while (by_name[i] && by_name[i] != c + 1)
			i = (i + 1) % NAMES;
		by_name[i] = (uint8_t)(c + 1);
	}
}

static int find_name(const char *name)
{
	uint32_t i = hash_name(name) % NAMES;

	for (; by_name[i]; i = (i + 1) % NAMES)
		if (strcmp(row[by_name[i] - 1].name, name) == 0)
			return by_name[i] - 1;
	return -1;
}

/* What is not the driver's by its first letters costs two comparisons. */
bool resolve_is_ours(const char *name)
{
	static const char beginnings[LIBRARIES][2] = { { 'c', 'u' }, { 'n', 'v' }, { 'h', 'i' }, { 'z', 'e' } };

	for (unsigned l = 0; l < LIBRARIES; l++)
		if (name[0] == beginnings[l][0] && name[1] == beginnings[l][1])
			return find_name(name) >= 0;
	return false;
}

/* ---- libc's own ------------------------------------------------------------------------------------------ */

struct symbols {
	const ElfW(Sym) * all;
	const char *names;
	const uint32_t *hash; /* DT_GNU_HASH: buckets, symbols without, words of filter, shift, filter, ... */
};

static bool read_symbols(const struct link_map *map, struct symbols *ret)
{
	*ret = (struct symbols){ NULL, NULL, NULL };
	for (const ElfW(Dyn) *d = map->l_ld; d && d->d_tag != DT_NULL; d++) {
		uintptr_t at = d->d_un.d_ptr < map->l_addr ? map->l_addr + d->d_un.d_ptr : d->d_un.d_ptr;

		if (d->d_tag == DT_SYMTAB)
			ret->all = (const void *)at; /* NOLINT: an address */
		else if (d->d_tag == DT_STRTAB)
			ret->names = (const void *)at; /* NOLINT */
		else if (d->d_tag == DT_GNU_HASH)
			ret->hash = (const void *)at; /* NOLINT */
	}
	return ret->all && ret->names && ret->hash;
}

static uint32_t hash_gnu(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static void *find_defined(const struct link_map *map, const char *name)
{
	uint32_t hash = hash_gnu(name), i;
	const uint32_t *buckets, *chain;
	struct symbols s;

	if (!read_symbols(map, &s))
		return NULL;
	buckets = s.hash + 4 + s.hash[2] * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
	chain = buckets + s.hash[0];
	for (i = buckets[hash % s.hash[0]]; i >= s.hash[1]; i++) {
		if (((chain[i - s.hash[1]] ^ hash) | 1) == 1 && s.all[i].st_shndx != SHN_UNDEF &&
		    strcmp(s.names + s.all[i].st_name, name) == 0)
			return (void *)(map->l_addr + s.all[i].st_value); /* NOLINT: an address */
		if (chain[i - s.hash[1]] & 1)
			break;
	}
	return NULL;
}

/* Both ways to ask for the next one are ours: this is the one behind us that we would be given. */
static resolve_dlvsym *find_dlvsym(void)
{
	struct link_map *map = NULL;
	void *found = NULL;
	Dl_info info;

	if (!dladdr1(sonames, &info, (void **)&map, RTLD_DL_LINKMAP))
		return NULL;
	while (!found && map && (map = map->l_next))
		found = find_defined(map, "dlvsym");
	return (resolve_dlvsym *)found;
}

/* A dlsym of ours without a version stands in for those of every version; libc's own is found by
 * its version. */
void resolve_start(void)
{
	static const char *const versions[] = { "GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17" };
	static mc_word32 started;

	if (mc_load_acquire(&started))
		return;
	resolve_real_dlvsym = find_dlvsym();
	for (unsigned i = 0; resolve_real_dlvsym && i < sizeof(versions) / sizeof(versions[0]) && !resolve_real_dlsym;
	     i++)
		*(void **)&resolve_real_dlsym = resolve_real_dlvsym(RTLD_NEXT, "dlsym", versions[i]);
	fill_names();
	mc_store_release(&started, 1);
}

/* ---- addresses ------------------------------------------------------------------------------------------- */

#define ADDRESSES 512u

struct address {
	void *real;
	uint8_t call;
};

static struct address addresses[LIBRARIES][COPIES][ADDRESSES];

static uint32_t hash_address(const void *at)
{
	return (uint32_t)((uintptr_t)at >> 4) * 2654435761u >> 16;
}

static void add_address(const struct copy *copy, void *at, unsigned call)
{
	struct address *table = addresses[copy->library][copy->index];
	uint32_t i = hash_address(at) % ADDRESSES;

	if (!at)
		return;
	for (; table[i].real; i = (i + 1) % ADDRESSES)
		if (table[i].real == at)
			return; /* two names of one function: the first will do */
	table[i] = (struct address){ .real = at, .call = (uint8_t)call };
}

static int find_address(const struct copy *copy, const void *at)
{
	const struct address *table = addresses[copy->library][copy->index];
	uint32_t i = hash_address(at) % ADDRESSES;

	for (; table[i].real; i = (i + 1) % ADDRESSES)
		if (table[i].real == at)
			return table[i].call;
	return -1;
}

/* ---- copies ---------------------------------------------------------------------------------------------- */

/* glibc's handles are its link maps. */
static void *find_in(const struct link_map *map, const char *name)
{
	void *at;

	if (!resolve_real_dlsym)
		return NULL;
	at = resolve_real_dlsym((void *)(uintptr_t)map, name);
	if (!at)
		(void)dlerror();
	return at;
}

void *resolve_in(const struct copy *copy, const char *name)
{
	return find_in(copy->map, name);
}

typedef int lookup_v1(const char *, void **, int, uint64_t);
typedef int lookup_v2(const char *, void **, int, uint64_t, int *);

/* A driver may answer other addresses here than the dynamic linker does. */
static void ask_driver(struct copy *copy, unsigned call)
{
	void *lookup = copy->real[CALL_cuGetProcAddress_v2], *at = NULL;
	int status = 0;

	if (!row[call].version)
		return;
	if (lookup && ((lookup_v2 *)lookup)(row[call].base, &at, row[call].version, row[call].per_thread, &status) == 0)
		add_address(copy, at, call);
	lookup = copy->real[CALL_cuGetProcAddress];
	at = NULL;
	if (lookup && ((lookup_v1 *)lookup)(row[call].base, &at, row[call].version, row[call].per_thread) == 0)
		add_address(copy, at, call);
}

static void fill(struct copy *copy, struct link_map *map)
{
	copy->map = map;
	for (unsigned c = 0; c < CALLS; c++) {
		if (row[c].library != copy->library)
			continue;
		copy->real[c] = find_in(map, row[c].name);
		add_address(copy, copy->real[c], c);
	}
	for (unsigned c = 0; c < CALLS && copy->library == LIBRARY_CUDA; c++)
		ask_driver(copy, c);
}

static struct copy *ready_copy(enum library library, const struct link_map *map)
{
	for (unsigned i = 0; i < COPIES; i++)
		if (mc_load_acquire(&copies[library][i].ready) && copies[library][i].map == map)
			return &copies[library][i];
	return NULL;
}

/* Our tables point into it: from now on closing it does not unload it. */
static void hold(const struct link_map *map, Lmid_t in)
{
	if (!dlmopen(in, map->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE))
		(void)dlerror();
}

static struct copy *choose(enum library library, struct link_map *map)
{
	Lmid_t in = LM_ID_BASE;
	unsigned i = 0;

	(void)dlinfo(map, RTLD_DI_LMID, &in);
	if (in != LM_ID_BASE || mc_load_relaxed(&copies[library][0].ready)) /* one of another version is there */
		for (i = 1; i < COPIES && mc_load_relaxed(&copies[library][i].ready);)
			i++;
	if (i == COPIES)
		return NULL;
	hold(map, in);
	return &copies[library][i];
}

/* In the child of a fork what was half done is done anew. */
static struct copy *make_copy(enum library library, struct link_map *map)
{
	static __thread bool is_making;
	struct copy *copy;

	if (is_making) /* the driver looks for something while we ask it: that is its own affair */
		return NULL;
	is_making = true;
	lock_take(LOCK_RESOLVE);
	copy = ready_copy(library, map);
	if (!copy)
		copy = choose(library, map);
	if (copy && !(mc_load_relaxed(&copy->ready) && copy->map == map)) {
		copy->library = library;
		copy->index = (unsigned)(copy - copies[library]);
		memset(addresses[library][copy->index], 0, sizeof(addresses[library][copy->index]));
		fill(copy, map);
		mc_store_release(&copy->ready, 1);
	}
	lock_release(LOCK_RESOLVE);
	is_making = false;
	if (!copy)
		device_member_mark_partial(); /* in more namespaces than we have wrappers for */
	return copy;
}

static bool is_library(const struct link_map *map, enum library library)
{
	const char *slash = strrchr(map->l_name, '/');
	const char *file = slash ? slash + 1 : map->l_name;
	size_t n = strlen(sonames[library][0]) - 2; /* without ".1" */

	return strncmp(file, sonames[library][0], n) == 0;
}

static struct copy *copy_of(void *at)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!dladdr1(at, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name)
		return NULL;
	for (unsigned l = 0; l < LIBRARIES; l++) {
		struct copy *copy;

		if (!is_library(map, (enum library)l))
			continue;
		copy = ready_copy((enum library)l, map);
		return copy ? copy : make_copy((enum library)l, map);
	}
	return NULL;
}

struct copy *resolve_own(enum library library)
{
	struct copy *copy = &copies[library][0];
	void *handle = NULL;

	if (__builtin_expect(mc_load_acquire(&copy->ready), 1))
		return copy;
	resolve_start();
	for (unsigned i = 0; i < SONAMES && sonames[library][i] && !handle; i++)
		handle = dlopen(sonames[library][i], RTLD_LAZY | RTLD_NOLOAD);
	return handle ? make_copy(library, handle) : NULL; /* kept open: our tables point into it */
}

/* For wrappers of other copies: only who was given one calls it, so it is ready. */
struct copy *resolve_copy(enum library library, unsigned index)
{
	return &copies[library][index];
}

/* ---- standing in ----------------------------------------------------------------------------------------- */

void *resolve_stand_in_of(const struct copy *copy, void *found)
{
	int call = find_address(copy, found);

	return call < 0 ? found : resolve_wrapper[call][copy->index];
}

void *resolve_stand_in(const char *name, void *found)
{
	const struct copy *copy = copy_of(found);
	int call = find_name(name);

	if (!copy)
		return found;
	/* by its own name where the driver has one function under two */
	if (call >= 0 && copy->real[call] == found)
		return resolve_wrapper[call][copy->index];
	return resolve_stand_in_of(copy, found);
}
