/* SPDX-License-Identifier: MIT */
/* Call sites: sampled blocks, their stacks, and what of them lives. */
#include "preload/sites.h"

#include "accounting/sys.h"
#include "preload/environment.h"
#include "preload/interpreter.h"
#include "preload/log.h"
#include "preload/ranges.h"
#include "preload/sample.h"
#include "preload/stacks.h"

#include <string.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define RECORDS (1u << 20)

struct sites_record {
	uint32_t site; /* + 1; 0: nobody's, after fork */
	uint32_t next; /* free ones: + 1 */
	struct sample_weight weight;
};

enum state { NEW, OPENING, OPEN, FAILED };

/* This process's alone. */
struct sites_state {
	mc_word32 state; /* sync: release when OPEN */
	mc_word free;	 /* count of changes above, record + 1 below */
	struct stacks_writer writer;
	struct interpreter interpreter;
	struct unwind_cache cache;
	struct ranges ranges;
	struct sites_record record[RECORDS];
};

bool sites_on;

static struct sites_state *state;
static uint64_t rate;
static bool has_heap;
static mc_word32 records; /* used so far; a child goes on behind its parent's, which its blocks still name */

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
extern void *__libc_stack_end __attribute__((weak)); /* the dynamic linker is no library to ask for */

/* ---- start ---------------------------------------------------------------------------------------------- */

/* At a program's start the arguments and the environment lie where the main thread's stack ends. */
static const char *read_variable(const char *name)
{
	const long *argc = __libc_stack_end;
	const char *const *env = (const char *const *)(argc + 1) + *argc + 1;
	size_t n = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

bool sites_start(bool heap)
{
	const char *wish = state || !unwind_is_possible() ? NULL : read_variable("MEMCTL_PROFILE");
	long map;

	if (!wish)
		return sites_on;
	rate = sample_parse_rate(wish);
	has_heap = heap;
	if (!rate)
		return false;
	map = sys_mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_error(map) || sys_madvise((void *)map, sizeof(*state), MADV_WIPEONFORK)) /* NOLINT */
		return false;
	state = (struct sites_state *)map; /* NOLINT */
	sites_on = true;
	return true;
}

uint64_t sites_rate(void)
{
	return rate;
}

void sites_end(void)
{
	if (state && mc_load_acquire(&state->state) == OPEN)
		state->writer.to.header->ended = 1;
}

static void open_file(void)
{
	uint32_t fresh = NEW;
	int err;

	if (!environment_start() || !mc_cas_full(&state->state, &fresh, OPENING))
		return;
	err = environment.group[0] ? stacks_open(&state->writer, environment.dir, environment.group, rate, has_heap) : -1;
	if (err)
		log_line(LOG_ERROR, "call sites are not recorded", "no file for them can be made");
	mc_store_release(&state->state, err ? FAILED : OPEN);
}

static bool is_open(void)
{
	if (__builtin_expect(mc_load_acquire(&state->state) == NEW, 0))
		open_file();
	return mc_load_acquire(&state->state) == OPEN;
}

/* ---- stacks --------------------------------------------------------------------------------------------- */

static void note_module(uint64_t start, uint64_t end, uint64_t bias, const char *name, void *arg)
{
	(void)arg;
	stacks_module(&state->writer, start, end, bias, name);
	interpreter_look(start, end, bias);
}

static uint32_t site_of(const struct unwind_registers *from, enum stacks_kind kind)
{
	uint64_t frame[STACKS_DEPTH];
	struct unwind_result r =
		unwind_walk(&state->cache, from, (uint64_t)__ehdr_start, (uint64_t)_end, frame,
			    STACKS_DEPTH - INTERPRETER_DEPTH, note_module, NULL);

	r.frames += interpreter_walk(&state->interpreter, &state->writer, frame + r.frames, INTERPRETER_DEPTH);
	return stacks_intern(&state->writer, kind, frame, r.frames, r.cut);
}

void sites_forget_code(void)
{
	if (!sites_on)
		return;
	unwind_forget(&state->cache);
	state->writer.generation++;
}

/* ---- blocks --------------------------------------------------------------------------------------------- */

static struct sites_record *take_free(void)
{
	uint64_t top = mc_load_acquire(&state->free);

	while ((uint32_t)top) {
		struct sites_record *r = &state->record[(uint32_t)top - 1];

		if (mc_cas_full(&state->free, &top, ((top >> 32) + 1) << 32 | r->next))
			return r;
	}
	return NULL;
}

static struct sites_record *take_record(void)
{
	struct sites_record *r = take_free();
	uint32_t n = mc_load_relaxed(&records);

	if (r)
		return r;
	do
		if (n == RECORDS)
			return NULL;
	while (!mc_cas_relaxed(&records, &n, n + 1));
	return &state->record[n];
}

static void free_record(struct sites_record *r)
{
	uint64_t top = mc_load_relaxed(&state->free);

	r->site = 0;
	do
		r->next = (uint32_t)top;
	while (!mc_cas_full(&state->free, &top, ((top >> 32) + 1) << 32 | (uint32_t)(r - state->record + 1)));
}

struct sites_record *sites_begin(const struct unwind_registers *from, enum stacks_kind kind)
{
	struct sites_record *r;

	if (!is_open())
		return NULL;
	r = take_record();
	if (r) {
		r->weight = (struct sample_weight){ 0 };
		r->site = site_of(from, kind) + 1;
	}
	return r;
}

void sites_take(struct sites_record *r, uint64_t size)
{
	r->weight = sample_weigh(size, rate);
	stacks_add(&state->writer, r->site - 1, r->weight);
}

void sites_cancel(struct sites_record *r)
{
	if (r->site)
		free_record(r);
}

void sites_drop(struct sites_record *r)
{
	if (!r->site)
		return;
	stacks_drop(&state->writer, r->site - 1, r->weight);
	free_record(r);
}

/* ---- mappings ------------------------------------------------------------------------------------------- */

static void end_range(uint32_t site, uint64_t bytes, uint64_t count, void *arg)
{
	(void)arg;
	if (count)
		stacks_drop(&state->writer, site, (struct sample_weight){ .bytes = bytes, .count = count });
	else
		stacks_drop_part(&state->writer, site, bytes);
}

void sites_map(const void *addr, size_t size, enum stacks_kind kind)
{
	struct unwind_registers here;
	struct sample_weight weight;
	struct range range = { .start = (uint64_t)addr, .end = (uint64_t)addr + size };

	if (!sites_on || size == 0 || !sample_hits(size, rate) || !is_open())
		return;
	unwind_here(&here);
	weight = sample_weigh(size, rate);
	range.site = site_of(&here, kind);
	range.bytes = weight.bytes;
	range.count = weight.count;
	stacks_add(&state->writer, range.site, weight);
	ranges_add(&state->ranges, &range, end_range, NULL);
	if (mc_load_relaxed(&state->ranges.lost))
		mc_store_relaxed(&state->writer.to.header->untold, mc_load_relaxed(&state->ranges.lost));
}

void sites_unmap(const void *addr, size_t size)
{
	if (!sites_on || mc_load_acquire(&state->state) != OPEN || ranges_are_empty(&state->ranges))
		return;
	ranges_remove(&state->ranges, (uint64_t)addr, (uint64_t)addr + size, end_range, NULL);
}
