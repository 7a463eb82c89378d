/* SPDX-License-Identifier: MIT */
/* Call sites: sampled blocks, their stacks, and what of them lives. */
#include "preload/sites.h"

#include "accounting/group.h"
#include "accounting/sys.h"
#include "preload/environment.h"
#include "preload/interpreter.h"
#include "preload/log.h"
#include "preload/pace.h"
#include "preload/ranges.h"
#include "preload/sample.h"
#include "preload/sampled.h"
#include "preload/self.h"
#include "preload/stacks.h"

#include <string.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define RECORDS (SAMPLED_NUMBERS - 1)
#define RANGE_COUNTS 16u /* as much as so many blocks: fewer fit */

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
	struct ranges devices; /* an owner's names instead of addresses */
	mc_word32 live;	       /* blocks */
	mc_word32 group;       /* that the picture says, + 1 */
	struct sampled small;
	struct sites_record record[RECORDS];
};

bool sites_on;

static struct sites_state *state;
static uint64_t rate;
static bool has_heap;
static __thread uint64_t heap_mean, range_mean; /* of the next sample; 0: the finest */
static mc_word32 records; /* used so far; a child goes on behind its parent's, which its blocks still name */

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
extern void *__libc_stack_end __attribute__((weak)); /* the dynamic linker is no library to ask for */

/* ---- start ----------------------------------------------------------------------------------------------- */

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
	map = sys_mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	if (sys_is_error(map) || sys_madvise((void *)map, sizeof(*state), MADV_WIPEONFORK)) /* NOLINT */
		return false;
	state = (struct sites_state *)map; /* NOLINT */
	sites_on = true;
	return true;
}

/* The picture of who was moved goes along. */
static void follow(void)
{
	const struct self *self = self_page;
	bool is_member = self && mc_load_acquire(&self->state) == SELF_MEMBER;
	uint32_t now = is_member ? mc_load_relaxed(self->asked) + 1u : 0;
	char path[GROUP_PATH_MAX];

	if (__builtin_expect(now == mc_load_relaxed(&state->group) || now == 0, 1))
		return;
	mc_store_relaxed(&state->group, now);
	(void)group_path(self->actor.seg, (uint16_t)(now - 1), path);
	memcpy(state->writer.to.header->group, path, strlen(path) + 1);
}

void sites_end(void)
{
	if (!state || mc_load_acquire(&state->state) != OPEN)
		return;
	follow();
	state->writer.to.header->ended = 1;
}

static void open_file(void)
{
	uint32_t fresh = NEW;
	int err;

	if (!environment_start() || !mc_cas_full(&state->state, &fresh, OPENING))
		return;
	err = environment.group[0] ? stacks_open(&state->writer, environment.dir, environment.group, rate, has_heap)
				   : -1;
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

/* ---- stacks ---------------------------------------------------------------------------------------------- */

static void note_module(uint64_t start, uint64_t end, uint64_t bias, const char *name, void *arg)
{
	(void)arg;
	stacks_module(&state->writer, start, end, bias, name);
	interpreter_look(start, end, bias);
}

/* Frames of ours are left out, and then those in [skip, skip_end). */
static uint32_t site_behind(const struct unwind_registers *from, enum stacks_kind kind, uint64_t skip,
			    uint64_t skip_end)
{
	uint64_t frame[STACKS_DEPTH];
	struct unwind_result r = unwind_walk(&state->cache, from, (uint64_t)__ehdr_start, (uint64_t)_end, frame,
					     STACKS_DEPTH - INTERPRETER_DEPTH, note_module, NULL);
	unsigned first = 0;

	follow();
	while (first < r.frames && frame[first] >= skip && frame[first] < skip_end)
		first++;
	r.frames += interpreter_walk(&state->interpreter, &state->writer, frame + r.frames, INTERPRETER_DEPTH);
	return stacks_intern(&state->writer, kind, frame + first, r.frames - first, r.cut);
}

static uint32_t site_of(const struct unwind_registers *from, enum stacks_kind kind)
{
	return site_behind(from, kind, 0, 0);
}

void sites_forget_code(void)
{
	if (!sites_on)
		return;
	unwind_forget(&state->cache);
	state->writer.generation++;
}

/* ---- blocks ---------------------------------------------------------------------------------------------- */

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

uint64_t sites_wait(void)
{
	heap_mean = pace_next(rate, mc_load_relaxed(&state->live));
	return sample_wait(heap_mean);
}

struct sites_record *sites_sample(const struct unwind_registers *from, enum stacks_kind kind, uint64_t size)
{
	struct sites_record *r = is_open() ? take_record() : NULL;

	if (!r)
		return NULL;
	r->weight = sample_weigh(size, heap_mean ? heap_mean : pace_finest(rate));
	r->site = site_of(from, kind) + 1;
	stacks_add(&state->writer, r->site - 1, r->weight);
	mc_add_relaxed(&state->live, 1);
	return r;
}

void sites_drop(struct sites_record *r)
{
	if (!r->site)
		return;
	stacks_drop(&state->writer, r->site - 1, r->weight);
	mc_sub_relaxed(&state->live, 1);
	free_record(r);
}

/* ---- small blocks ---------------------------------------------------------------------------------------- */

static void drop_number(uint32_t number)
{
	if (number)
		sites_drop(&state->record[number - 1]);
}

bool sites_keep(struct sites_record *r, uint64_t address)
{
	uint32_t old;
	bool has_room = sampled_put(&state->small, address, (uint32_t)(r - state->record) + 1, &old);

	drop_number(old);
	return has_room;
}

static bool is_too_near(uint32_t number)
{
	return 2 * state->record[number - 1].weight.bytes <= heap_mean;
}

/* As if it had been drawn with what is this thread's mean now. False: it has ended. */
static bool redraw(uint32_t number)
{
	struct sites_record *r = &state->record[number - 1];
	struct sample_weight weight = r->weight;

	while (weight.bytes && 2 * weight.bytes <= heap_mean)
		if (!sample_halve(&weight)) {
			sites_drop(r);
			return false;
		}
	stacks_reweigh(&state->writer, r->site - 1, r->weight, weight);
	r->weight = weight;
	return true;
}

/* Where this thread's samples are far apart now, freeing beside those that are near costs more than
 * they are worth: then those are made fewer, too. */
static bool thin(uint64_t address)
{
	if (heap_mean < 2 * pace_finest(rate))
		return true;
	sampled_ask_page(&state->small, address, is_too_near, redraw, drop_number);
	return sites_has_page(address);
}

bool sites_end_small(uint64_t address)
{
	bool others;
	uint32_t number = sampled_take(&state->small, address, &others);

	if (number) {
		drop_number(number);
		return others;
	}
	pace_detours++;
	return others && thin(address);
}

bool sites_has_page(uint64_t address)
{
	return sampled_has_page(&state->small, address);
}

/* ---- mappings -------------------------------------------------------------------------------------------- */

static void end_range(const struct range *ended, void *arg)
{
	(void)arg;
	if (ended->count)
		stacks_drop(&state->writer, ended->site,
			    (struct sample_weight){ ended->bytes, ended->count, ended->spread });
	else
		stacks_drop_part(&state->writer, ended->site, ended->bytes);
}

/* The mean that the range was hit with; 0: it was not. */
static uint64_t hit(const struct ranges *r, size_t size)
{
	uint64_t mean = sites_on && size ? sample_hits(size, range_mean ? range_mean : pace_finest(rate)) : 0;

	if (!mean || !is_open())
		return 0;
	range_mean = pace_next(rate, RANGE_COUNTS * mc_load_relaxed(&r->n));
	return mean;
}

static void add_range(struct ranges *to, struct range *range, struct sample_weight weight)
{
	range->bytes = weight.bytes;
	range->count = weight.count;
	range->spread = weight.spread;
	stacks_add(&state->writer, range->site, weight);
	ranges_add(to, range, end_range, NULL);
	mc_store_relaxed(&state->writer.to.header->untold,
			 mc_load_relaxed(&state->ranges.lost) + mc_load_relaxed(&state->devices.lost));
}

void sites_map(const void *addr, size_t size)
{
	struct unwind_registers here;
	struct range range = { .start = (uint64_t)addr, .end = (uint64_t)addr + size };
	uint64_t mean = hit(&state->ranges, size);
	uint64_t since = pace_clock();

	if (!mean)
		return;
	unwind_here(&here);
	range.site = site_of(&here, STACKS_MAP);
	add_range(&state->ranges, &range, sample_weigh(size, mean));
	pace_spend(since);
}

void sites_device(uint64_t name, uint64_t size, const void *skip, const void *skip_end)
{
	struct unwind_registers here;
	struct range range = { .start = name, .end = name + 1 };
	uint64_t mean = hit(&state->devices, size);

	if (!mean)
		return;
	unwind_here(&here);
	range.site = site_behind(&here, STACKS_DEVICE, (uint64_t)skip, (uint64_t)skip_end);
	add_range(&state->devices, &range, sample_weigh(size, mean));
}

void sites_device_end(uint64_t name)
{
	if (sites_on && mc_load_acquire(&state->state) == OPEN && !ranges_are_empty(&state->devices))
		ranges_remove(&state->devices, name, name + 1, end_range, NULL);
}

void sites_unmap(const void *addr, size_t size)
{
	if (!sites_on || mc_load_acquire(&state->state) != OPEN || ranges_are_empty(&state->ranges))
		return;
	ranges_remove(&state->ranges, (uint64_t)addr, (uint64_t)addr + size, end_range, NULL);
}
