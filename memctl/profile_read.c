/* SPDX-License-Identifier: MIT */
/* Reading pictures (accounting/stacks.h): nothing in them is believed unchecked. */
#include "memctl/profile.h"

#include "accounting/member.h"
#include "accounting/stacks.h"
#include "memctl/say.h"
#include "memctl/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAMES_MAX 1024 /* of one stack, with what is inlined */

/* One process's picture. */
struct picture {
	struct stacks s;
	uint32_t sites, modules, texts;
	bool runs;
	struct symbols_module **module;
};

/* The frames of an address, found once. */
struct found {
	const struct symbols_module *module; /* NULL: free */
	uint64_t address;
	uint32_t first, n; /* in reading.seen */
};

struct reading {
	struct profile *profile;
	struct symbols *symbols;
	const struct picture *picture;
	uint32_t frame[FRAMES_MAX];
	unsigned frames;
	struct found *found;
	size_t room, used;
	uint32_t *seen;
	size_t seen_room, seens;
};

/* ---- files ----------------------------------------------------------------------------------------------- */

static bool is_below(const char *path, const char *group)
{
	size_t n = strlen(group);

	return strcmp(group, "/") == 0 || (strncmp(path, group, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static bool map(int at, const char *name, struct picture *ret)
{
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	void *file;

	if (fd < 0)
		return false;
	file = fstat(fd, &st) == 0 && st.st_size >= (off_t)STACKS_SIZE
		       ? mmap(NULL, STACKS_SIZE, PROT_READ, MAP_SHARED, fd, 0)
		       : MAP_FAILED;
	(void)close(fd);
	if (file == MAP_FAILED)
		return false;
	ret->s = stacks_at(file);
	if (ret->s.header->magic == STACKS_MAGIC && ret->s.header->version == STACKS_VERSION)
		return true;
	(void)munmap(file, STACKS_SIZE);
	return false;
}

static uint32_t at_most(uint32_t n, uint32_t limit)
{
	return n < limit ? n : limit;
}

static void look(struct picture *p)
{
	uint64_t start;

	p->sites = at_most(mc_load_acquire(&p->s.header->sites), STACKS_SITES);
	p->modules = at_most(mc_load_acquire(&p->s.header->modules), STACKS_MODULES);
	p->texts = at_most(mc_load_acquire(&p->s.header->texts), STACKS_TEXTS);
	p->runs = !p->s.header->ended && member_read_start_time(p->s.header->pid, &start) == 0 &&
		  start == p->s.header->start_time;
}

/* After exec a process has a new picture; the old one's memory is gone. */
static bool is_replaced(const struct picture *p, const struct picture *all, size_t n)
{
	const struct stacks_header *h = p->s.header;

	for (size_t i = 0; i < n; i++)
		if (all[i].s.header->pid == h->pid && all[i].s.header->start_time == h->start_time &&
		    all[i].s.header->opened_ns > h->opened_ns)
			return true;
	return false;
}

static bool is_wished(const struct picture *p, const struct profile_wish *wish)
{
	const struct stacks_header *h = p->s.header;
	const char *now = p->runs ? wish->where(h->pid, wish->arg) : NULL;

	return h->opened_ns >= wish->since_ns && memchr(h->group, 0, sizeof(h->group)) &&
	       is_below(now ? now : h->group, wish->group);
}

static size_t map_all(const struct profile_wish *wish, struct picture *all)
{
	char path[512];
	size_t n = 0;
	int at;

	(void)snprintf(path, sizeof(path), "%s/%s", wish->dir, STACKS_DIRECTORY);
	at = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		return 0;
	for (unsigned i = 0; i < STACKS_FILES; i++) {
		struct picture p = { 0 };
		char name[16];

		(void)snprintf(name, sizeof(name), "%u", i);
		if (!map(at, name, &p))
			continue;
		look(&p);
		if (is_wished(&p, wish))
			all[n++] = p;
		else
			(void)munmap(p.s.header, STACKS_SIZE);
	}
	(void)close(at);
	return n;
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

static void keep_frame(const struct symbols_frame *f, void *arg)
{
	struct reading *r = arg;

	if (r->frames < FRAMES_MAX)
		r->frame[r->frames++] =
			profile_frame(r->profile, f->function, f->file ? f->file : "", f->line, f->module);
}

static void keep_unknown(struct reading *r, uint64_t address)
{
	struct symbols_frame f = { .module = "" };
	char text[32];

	(void)snprintf(text, sizeof(text), "0x%llx", (unsigned long long)address);
	f.function = text;
	keep_frame(&f, r);
}

/* The module that had the address when the site was new. */
static int module_at(const struct picture *p, uint32_t site, uint64_t address)
{
	int found = -1;

	for (uint32_t i = 0; i < p->modules; i++) {
		const struct stacks_module *m = &p->s.module[i];

		if (address >= m->start && address < m->end && (found < 0 || m->since <= site))
			found = (int)i;
	}
	return found;
}

static struct symbols_module *open_module(struct reading *r, int i)
{
	const struct picture *p = r->picture;
	const struct stacks_module *m = &p->s.module[i];
	char path[sizeof(m->path) + 1] = "";

	if (!p->module[i]) {
		memcpy(path, m->path, sizeof(m->path));
		p->module[i] = symbols_module(r->symbols, path, m->id, m->id_size <= sizeof(m->id) ? m->id_size : 0);
	}
	return p->module[i];
}

static struct found *found_at(const struct reading *r, const struct symbols_module *m, uint64_t address)
{
	size_t i = (address * 0x9e3779b97f4a7c15ull ^ (uintptr_t)m >> 4) % r->room;

	while (r->found[i].module && (r->found[i].module != m || r->found[i].address != address))
		i = (i + 1) % r->room;
	return &r->found[i];
}

static void *must(void *p)
{
	if (!p) {
		fputs("memctl: no memory left\n", stderr);
		exit(SAY_FAILED);
	}
	return p;
}

static void grow(struct reading *r)
{
	struct found *old = r->found;
	size_t n = r->room;

	r->room = n ? 2 * n : 4096;
	r->found = must(calloc(r->room, sizeof(*r->found)));
	for (size_t i = 0; i < n; i++)
		if (old[i].module)
			*found_at(r, old[i].module, old[i].address) = old[i];
	free(old);
}

/* What symbols_find says, remembered: many stacks go through the same places. */
static void find(struct reading *r, struct symbols_module *m, uint64_t address)
{
	unsigned before = r->frames;
	struct found *f;

	if (r->used * 2 >= r->room)
		grow(r);
	f = found_at(r, m, address);
	if (f->module) {
		for (uint32_t i = 0; i < f->n && r->frames < FRAMES_MAX; i++)
			r->frame[r->frames++] = r->seen[f->first + i];
		return;
	}
	symbols_find(r->symbols, m, address, keep_frame, r);
	if (r->seens + FRAMES_MAX > r->seen_room) {
		r->seen_room = r->seen_room * 2 + FRAMES_MAX;
		r->seen = must(realloc(r->seen, r->seen_room * sizeof(*r->seen)));
	}
	*f = (struct found){ .module = m, .address = address, .first = (uint32_t)r->seens, .n = r->frames - before };
	memcpy(r->seen + r->seens, r->frame + before, f->n * sizeof(*r->seen));
	r->seens += f->n;
	r->used++;
}

/* A return address belongs to the call before it. */
static void read_address(struct reading *r, uint32_t site, uint64_t frame)
{
	uint64_t address = (frame & STACKS_FRAME_ADDRESS) - (frame & STACKS_FRAME_ENTRY ? 0 : 1);
	int i = module_at(r->picture, site, address);

	if (i < 0)
		keep_unknown(r, address + 1);
	else
		find(r, open_module(r, i), address - r->picture->s.module[i].bias);
}

static bool read_text(struct reading *r, uint64_t frame)
{
	const struct picture *p = r->picture;
	uint32_t at = stacks_frame_text(frame);
	const char *file = p->s.text + at;
	const char *end = p->s.text + p->texts;
	const char *name = at < p->texts ? memchr(file, 0, (size_t)(end - file)) : NULL;
	struct symbols_frame f = { .file = file, .line = (int)stacks_frame_line(frame), .module = "python" };

	if (!name || !memchr(name + 1, 0, (size_t)(end - name - 1)))
		return false;
	f.function = name + 1;
	keep_frame(&f, r);
	return true;
}

static bool is_evaluation(const struct reading *r, unsigned from)
{
	return r->frames > from &&
	       strncmp(r->profile->frame[r->frame[r->frames - 1]].function, "_PyEval_EvalFrame", 17) == 0;
}

/* Native frames come first, then the interpreter's: those that one evaluation carried out take its
 * place. */
static void read_stack(struct reading *r, uint32_t site, const uint64_t *frame, unsigned n)
{
	unsigned native = 0, text;

	while (native < n && !(frame[native] & STACKS_FRAME_TEXT))
		native++;
	text = native;
	for (unsigned i = 0; i < native; i++) {
		unsigned before = r->frames;
		bool entry = false;

		read_address(r, site, frame[i]);
		if (text == n || !is_evaluation(r, before))
			continue;
		r->frames = before;
		for (; text < n && !entry; text++) {
			(void)read_text(r, frame[text]);
			entry = (frame[text] & STACKS_FRAME_ENTRY) != 0;
		}
	}
	while (text < n)
		(void)read_text(r, frame[text++]);
}

/* ---- sites ----------------------------------------------------------------------------------------------- */

/* Counters move while they are read: a little below 0 is 0. */
static double number(uint64_t n)
{
	return (int64_t)n < 0 ? 0 : (double)n;
}

static double variance(uint64_t spread)
{
	return number(spread) * 65536;
}

static void read_site(struct reading *r, uint32_t i, bool lives)
{
	const struct picture *p = r->picture;
	const struct stacks_site *s = &p->s.site[i];
	unsigned n = s->frames;
	double value[PROFILE_VALUES] = {
		[PROFILE_LIVE_BYTES] = lives ? number(mc_load_relaxed(&s->live_bytes)) : 0,
		[PROFILE_LIVE_COUNT] = lives ? number(mc_load_relaxed(&s->live_count)) / STACKS_COUNT_ONE : 0,
		[PROFILE_BYTES] = number(mc_load_relaxed(&s->bytes)),
		[PROFILE_COUNT] = number(mc_load_relaxed(&s->count)) / STACKS_COUNT_ONE,
		[PROFILE_PEAK_BYTES] = number(mc_load_relaxed(&s->peak_bytes)),
		[PROFILE_PEAK_COUNT] = number(mc_load_relaxed(&s->peak_count)) / STACKS_COUNT_ONE,
		[PROFILE_SAMPLES] = mc_load_relaxed(&s->samples),
		[PROFILE_LIVE_SAMPLES] = lives ? mc_load_relaxed(&s->live_samples) : 0,
		[PROFILE_LIVE_VARIANCE] = lives ? variance(mc_load_relaxed(&s->live_spread)) : 0,
		[PROFILE_VARIANCE] = variance(mc_load_relaxed(&s->spread)),
		[PROFILE_PEAK_VARIANCE] = variance(mc_load_relaxed(&s->peak_spread)),
	};

	if (mc_load_relaxed(&s->samples) == 0 || s->first > STACKS_FRAMES || n > STACKS_FRAMES - s->first)
		return;
	r->frames = 0;
	if (i == 0)
		keep_frame(&(struct symbols_frame){ .function = "(no room for more stacks)", .module = "" }, r);
	else
		read_stack(r, i, p->s.frame + s->first, n);
	if (s->cut)
		keep_frame(&(struct symbols_frame){ .function = "(stack cut)", .module = "" }, r);
	profile_add(r->profile, s->kind < STACKS_KINDS ? s->kind : 0, r->frame, r->frames, value);
}

static void read_picture(struct reading *r, struct picture *p, bool lives)
{
	const struct stacks_header *h = p->s.header;

	r->picture = p;
	p->module = calloc(STACKS_MODULES, sizeof(struct symbols_module *));
	if (!p->module)
		return;
	for (uint32_t i = 0; i < p->sites; i++)
		read_site(r, i, lives);
	free(p->module);
	r->profile->processes++;
	r->profile->running += p->runs;
	r->profile->unheaped += h->no_heap != 0;
	r->profile->rate = (double)h->rate;
	r->profile->finest = (double)h->finest;
	r->profile->lost += number(mc_load_relaxed(&h->lost));
	r->profile->untold += number(mc_load_relaxed(&h->untold));
}

struct profile *profile_read(const char *command, const struct profile_wish *wish)
{
	static struct picture all[STACKS_FILES];
	size_t n = map_all(wish, all);
	struct reading *r = calloc(1, sizeof(*r));
	struct profile *p;

	if (n == 0 || !r) {
		(void)say_failed(command,
				 "no call sites were recorded in %s; start its programs with "
				 "'memctl run --profile'",
				 wish->group);
		free(r);
		return NULL;
	}
	p = r->profile = profile_new(wish->group);
	r->symbols = symbols_new();
	for (size_t i = 0; i < n; i++)
		read_picture(r, &all[i], !is_replaced(&all[i], all, n));
	for (size_t i = 0; i < n; i++)
		(void)munmap(all[i].s.header, STACKS_SIZE);
	symbols_free(r->symbols);
	free(r->found);
	free(r->seen);
	free(r);
	return p;
}
