/* SPDX-License-Identifier: MIT */
/* Writing this process's picture. */
#include "preload/stacks.h"

#include "accounting/clock.h"
#include "accounting/member.h"
#include "accounting/sys.h"
#include "preload/pace.h"

#include <link.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define GROW 16384u /* bytes that get their pages at a time */
#define TRIES 64u
#define PROBES 64u

/* ---- the file ------------------------------------------------------------------------------------------- */

/* Both files and the directory are this user's alone, as everything in the runtime directory is. */
static int open_directory(const char *dir)
{
	int at = sys_openat(AT_FDCWD, dir, O_DIRECTORY | O_NOFOLLOW | O_RDONLY, 0);
	int fd;

	if (at < 0)
		return at;
	(void)sys_call3(SYS_mkdirat, at, STACKS_DIRECTORY, 0700);
	fd = sys_openat(at, STACKS_DIRECTORY, O_DIRECTORY | O_NOFOLLOW | O_RDONLY, 0);
	sys_close(at);
	return fd;
}

static int allocate(int fd, uint64_t from, uint64_t size)
{
	return (int)sys_call6(SYS_fallocate, fd, 0, (long)from, (long)size, 0, 0);
}

/* The next number of the directory's ring; negative errno. */
static int64_t next_number(int at)
{
	int fd = sys_openat(at, "index", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	mc_word *counter;
	int64_t n = fd;
	long map;

	if (fd < 0)
		return fd;
	n = allocate(fd, 0, sizeof(*counter));
	map = n < 0 ? n : sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sys_close(fd);
	if (sys_is_error(map))
		return map;
	counter = (mc_word *)map; /* NOLINT: the kernel's answer is an address */
	n = (int64_t)(mc_add_relaxed(counter, 1) & INT64_MAX);
	(void)sys_munmap((void *)map, 4096); /* NOLINT */
	return n;
}

/* True when the process whose picture lies there has ended, so that it may make room. */
static bool is_free(int at, const char *name)
{
	struct stacks_header h;
	int fd = sys_openat(at, name, O_RDONLY | O_NOFOLLOW, 0);
	uint64_t start = 0;
	long n;

	if (fd < 0)
		return true;
	n = sys_read(fd, &h, sizeof(h));
	sys_close(fd);
	if (n != sizeof(h) || h.magic != STACKS_MAGIC)
		return true;
	return member_read_start_time(h.pid, &start) != 0 || start != h.start_time;
}

static void write_number(char *to, unsigned n)
{
	char digits[12];
	int i = 0;

	do
		digits[i++] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	while (i)
		*to++ = digits[--i];
	*to = 0;
}

/* A new file in the ring, in the place of the oldest that may go. */
static int make_file(int at)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int64_t n = next_number(at);
		char name[12];
		int fd;

		if (n < 0)
			return (int)n;
		write_number(name, (unsigned)(n % STACKS_FILES));
		if (!is_free(at, name))
			continue;
		(void)sys_call3(SYS_unlinkat, at, name, 0);
		fd = sys_openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
		if (fd != -EEXIST)
			return fd;
	}
	return -ENOSPC;
}

static void read_file(const char *name, char *to, size_t size)
{
	int fd = sys_openat(AT_FDCWD, name, O_RDONLY, 0);
	long n = fd < 0 ? 0 : sys_read(fd, to, size - 1);

	if (fd >= 0)
		sys_close(fd);
	if (n > 0 && to[n - 1] == '\n')
		n--;
	to[n > 0 ? n : 0] = 0;
}

static void read_link(const char *name, char *to, size_t size)
{
	long n = sys_call6(SYS_readlinkat, AT_FDCWD, (long)name, (long)to, (long)size - 1, 0, 0);

	to[n > 0 ? n : 0] = 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = 0;
}

static void fill_header(struct stacks_header *h, const char *group, uint64_t rate, bool has_heap)
{
	h->version = STACKS_VERSION;
	h->size = STACKS_SIZE;
	h->pid = (uint32_t)sys_getpid();
	(void)member_read_start_time(0, &h->start_time);
	h->opened_ns = clock_now_ns();
	h->rate = rate;
	h->finest = pace_finest(rate);
	h->no_heap = !has_heap;
	read_file("/proc/self/comm", h->comm, sizeof(h->comm));
	read_link("/proc/self/exe", h->exe, sizeof(h->exe));
	copy_text(h->group, sizeof(h->group), group);
	mc_store_relaxed(&h->sites, 1);
	mc_store_relaxed(&h->texts, 1);
	atomic_thread_fence(memory_order_release);
	h->magic = STACKS_MAGIC;
}

/* Old kernels cannot make pages without the file: then all are made now. */
static int back_file(struct stacks_writer *w, int fd)
{
	int err = allocate(fd, 0, STACKS_MODULES_AT + GROW);

	if (!err)
		err = allocate(fd, STACKS_SITES_AT, GROW);
	if (err || sys_madvise(w->to.header, 4096, MADV_POPULATE_WRITE) == 0)
		return err;
	mc_store_relaxed(&w->backed_modules, ~0u);
	mc_store_relaxed(&w->backed_sites, ~0u);
	mc_store_relaxed(&w->backed_frames, ~0u);
	mc_store_relaxed(&w->backed_texts, ~0u);
	return allocate(fd, 0, STACKS_SIZE);
}

static int map_file(struct stacks_writer *w, int fd)
{
	long map;
	int err = (int)sys_call3(SYS_ftruncate, fd, STACKS_SIZE, 0);

	if (err)
		return err;
	map = sys_mmap(NULL, STACKS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sys_is_error(map))
		return (int)map;
	(void)sys_madvise((void *)map, STACKS_SIZE, MADV_DONTFORK); /* NOLINT */
	(void)sys_madvise((void *)map, STACKS_SIZE, MADV_DONTDUMP); /* NOLINT */
	w->to = stacks_at((void *)map);				    /* NOLINT */
	mc_store_relaxed(&w->backed_modules, GROW);
	mc_store_relaxed(&w->backed_sites, GROW);
	err = back_file(w, fd);
	if (err)
		(void)sys_munmap((void *)map, STACKS_SIZE); /* NOLINT */
	return err;
}

int stacks_open(struct stacks_writer *w, const char *dir, const char *group, uint64_t rate, bool has_heap)
{
	int at = open_directory(dir);
	int fd, err;

	if (at < 0)
		return at;
	fd = make_file(at);
	sys_close(at);
	if (fd < 0)
		return fd;
	err = map_file(w, fd);
	sys_close(fd);
	if (!err)
		fill_header(w->to.header, group, rate, has_heap);
	return err;
}

/* ---- room ----------------------------------------------------------------------------------------------- */

/* The first `size` bytes of an area have their pages afterwards. */
static bool back(mc_word32 *backed, void *area, uint64_t size)
{
	uint32_t has = mc_load_relaxed(backed);
	uint32_t want;

	if (__builtin_expect(size <= has, 1))
		return true;
	want = (uint32_t)((size + GROW - 1) & ~(uint64_t)(GROW - 1));
	if (sys_madvise((char *)area + has, want - has, MADV_POPULATE_WRITE) != 0)
		return false;
	while (has < want && !mc_cas_relaxed(backed, &has, want))
		;
	return true;
}

/* `n` more of an area: the number of the first, or `limit`. */
static uint32_t take(mc_word32 *used, uint32_t n, uint32_t limit)
{
	uint32_t at = mc_load_relaxed(used);

	do
		if (n > limit - at)
			return limit;
	while (!mc_cas_relaxed(used, &at, at + n));
	return at;
}

/* ---- stacks --------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct stacks_writer *w, enum stacks_kind kind, const uint64_t *frame, unsigned frames)
{
	uint64_t h = (uint64_t)kind << 32 | w->generation;

	for (unsigned i = 0; i < frames; i++) {
		h = (h ^ frame[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

/* 0: no room. */
static uint32_t write_site(struct stacks_writer *w, enum stacks_kind kind, const uint64_t *frame, unsigned frames,
			   bool cut)
{
	struct stacks *to = &w->to;
	uint32_t first = take(&to->header->frames, frames, STACKS_FRAMES);
	uint32_t site;

	if (first == STACKS_FRAMES || !back(&w->backed_frames, to->frame, ((uint64_t)first + frames) * 8))
		return 0;
	site = mc_load_relaxed(&to->header->sites);
	if (site >= STACKS_SITES || !back(&w->backed_sites, to->site, (site + 64ull) * sizeof(*to->site)))
		return 0;
	site = take(&to->header->sites, 1, STACKS_SITES);
	if (site == STACKS_SITES || !back(&w->backed_sites, to->site, (site + 1ull) * sizeof(*to->site)))
		return 0;
	memcpy(to->frame + first, frame, frames * sizeof(*frame));
	to->site[site].first = first;
	to->site[site].kind = (uint8_t)kind;
	to->site[site].cut = cut;
	atomic_thread_fence(memory_order_release);
	to->site[site].frames = (uint16_t)frames;
	return site;
}

/* 49 bits of the hash beside 15 of the number; the place gives 15 more. */
static uint64_t entry_of(uint64_t hash, uint32_t site)
{
	return (hash & ~0x7fffull) | site;
}

uint32_t stacks_intern(struct stacks_writer *w, enum stacks_kind kind, const uint64_t *frame, unsigned frames, bool cut)
{
	uint64_t hash = hash_of(w, kind, frame, frames);
	uint32_t site = 0;

	for (unsigned i = 0; i < PROBES; i++) {
		mc_word *slot = &w->index[(hash + i) % STACKS_INDEX];
		uint64_t entry = mc_load_acquire(slot);

		if (entry == 0) {
			if (!site)
				site = write_site(w, kind, frame, frames, cut);
			if (!site)
				return 0;
			if (mc_cas_full(slot, &entry, entry_of(hash, site)))
				return site;
		}
		if ((entry ^ hash) >> 15 == 0)
			return (uint32_t)(entry & 0x7fff);
	}
	return 0;
}

/* ---- texts and modules ---------------------------------------------------------------------------------- */

uint32_t stacks_text(struct stacks_writer *w, const char *file, size_t file_size, const char *name, size_t name_size)
{
	uint32_t n = (uint32_t)(file_size + name_size + 2);
	uint32_t at;

	if (file_size + name_size > 4096)
		return 0;
	at = take(&w->to.header->texts, n, STACKS_TEXTS);
	if (at == STACKS_TEXTS || !back(&w->backed_texts, w->to.text, (uint64_t)at + n))
		return 0;
	memcpy(w->to.text + at, file, file_size);
	memcpy(w->to.text + at + file_size + 1, name, name_size);
	return at;
}

/* The file's build id, from its notes in memory. */
static void find_build_id(struct stacks_module *m)
{
	const ElfW(Ehdr) *elf = (const void *)m->start;			     /* NOLINT: where a file is mapped */
	const ElfW(Phdr) *segment = (const void *)(m->start + elf->e_phoff); /* NOLINT */

	if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phoff + elf->e_phnum * sizeof(*segment) > 4096)
		return;
	for (unsigned i = 0; i < elf->e_phnum; i++) {
		const char *at = (const char *)(m->bias + segment[i].p_vaddr); /* NOLINT */
		const char *end = at + segment[i].p_memsz;

		if (segment[i].p_type != PT_NOTE || (uint64_t)at < m->start || (uint64_t)end > m->end)
			continue;
		while (at + sizeof(ElfW(Nhdr)) < end) {
			const ElfW(Nhdr) *note = (const void *)at; /* NOLINT */
			const char *name = at + sizeof(*note);
			const char *id = name + ((note->n_namesz + 3) & ~3u);

			if (note->n_type == 3 && note->n_namesz == 4 && memcmp(name, "GNU", 4) == 0 &&
			    note->n_descsz <= sizeof(m->id) && id + note->n_descsz <= end) {
				memcpy(m->id, id, note->n_descsz);
				m->id_size = (uint8_t)note->n_descsz;
				return;
			}
			at = id + ((note->n_descsz + 3) & ~3u);
		}
	}
}

static bool is_same_file(const struct stacks_module *m, const char *path)
{
	return !*path || strncmp(m->path, path, sizeof(m->path) - 1) == 0;
}

static bool is_known(const struct stacks_writer *w, uint32_t n, uint64_t start, uint64_t end, const char *path)
{
	while (n--) {
		const struct stacks_module *m = &w->to.module[n];

		if (m->start == start && m->end == end)
			return is_same_file(m, path);
		if (m->start < end && start < m->end)
			return false;
	}
	return false;
}

void stacks_module(struct stacks_writer *w, uint64_t start, uint64_t end, uint64_t bias, const char *path)
{
	uint32_t n = mc_load_acquire(&w->to.header->modules);
	struct stacks_module *m = &w->to.module[n];

	if (n >= STACKS_MODULES || is_known(w, n, start, end, path) ||
	    !back(&w->backed_modules, w->to.module, (n + 1ull) * sizeof(*m)))
		return;
	if (!mc_cas_full(&w->to.header->modules, &n, n + 1))
		return; /* another thread is as far; next time */
	m->bias = bias;
	m->since = mc_load_relaxed(&w->to.header->sites);
	copy_text(m->path, sizeof(m->path), *path ? path : w->to.header->exe);
	m->end = end;
	m->start = start;
	find_build_id(m);
}

/* ---- counters ------------------------------------------------------------------------------------------- */

/* What is live now is the most there was so far. Counters that move meanwhile are taken as they are found. */
static void note_peak(struct stacks_writer *w)
{
	uint32_t n = mc_load_acquire(&w->to.header->sites);
	uint64_t sum = 0;

	if (mc_exchange_full(&w->at_peak, 1))
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct stacks_site *s = &w->to.site[i];
		uint64_t bytes = mc_load_relaxed(&s->live_bytes);

		sum += bytes;
		mc_store_relaxed(&s->peak_bytes, bytes);
		mc_store_relaxed(&s->peak_count, mc_load_relaxed(&s->live_count));
		mc_store_relaxed(&s->peak_spread, mc_load_relaxed(&s->live_spread));
	}
	mc_store_relaxed(&w->to.header->peak, sum);
	mc_store_full(&w->at_peak, 0);
}

void stacks_add(struct stacks_writer *w, uint32_t site, struct sample_weight weight)
{
	struct stacks_site *s = &w->to.site[site];
	uint64_t live = mc_add_relaxed(&w->to.header->live, weight.bytes) + weight.bytes;
	uint64_t peak = mc_load_relaxed(&w->to.header->peak);

	mc_add_relaxed(&s->live_bytes, weight.bytes);
	mc_add_relaxed(&s->live_count, weight.count);
	mc_add_relaxed(&s->live_spread, weight.spread);
	mc_add_relaxed(&s->bytes, weight.bytes);
	mc_add_relaxed(&s->count, weight.count);
	mc_add_relaxed(&s->spread, weight.spread);
	mc_add_relaxed(&s->samples, 1);
	mc_add_relaxed(&s->live_samples, 1);
	if (site == 0)
		mc_add_relaxed(&w->to.header->lost, weight.bytes);
	if (__builtin_expect((int64_t)(live - peak) > (int64_t)(peak / 32), 0))
		note_peak(w);
}

void stacks_reweigh(struct stacks_writer *w, uint32_t site, struct sample_weight old, struct sample_weight weight)
{
	struct stacks_site *s = &w->to.site[site];

	mc_add_relaxed(&w->to.header->live, weight.bytes - old.bytes);
	mc_add_relaxed(&s->live_bytes, weight.bytes - old.bytes);
	mc_add_relaxed(&s->live_count, weight.count - old.count);
	mc_add_relaxed(&s->live_spread, weight.spread - old.spread);
}

void stacks_drop(struct stacks_writer *w, uint32_t site, struct sample_weight weight)
{
	struct stacks_site *s = &w->to.site[site];

	stacks_drop_part(w, site, weight.bytes);
	mc_sub_relaxed(&s->live_count, weight.count);
	mc_sub_relaxed(&s->live_spread, weight.spread);
	mc_sub_relaxed(&s->live_samples, 1);
}

void stacks_drop_part(struct stacks_writer *w, uint32_t site, uint64_t bytes)
{
	mc_sub_relaxed(&w->to.site[site].live_bytes, bytes);
	mc_sub_relaxed(&w->to.header->live, bytes);
}
