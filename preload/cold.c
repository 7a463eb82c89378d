/* SPDX-License-Identifier: MIT */
/* Finding private memory of this process that it does not use. */
#include "preload/cold.h"

#include "accounting/account.h"
#include "accounting/clock.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/smaps.h"
#include "accounting/sys.h"
#include "preload/pageout.h"
#include "preload/residency.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

#define TEXT_SIZE (32u << 10)
#define AREAS_MAX 2048u
#define PROBED_MAX 1024u /* pieces at once, 2 GiB */
#define PROBES 8u	 /* of a piece */
#define PROBE_PAGES 64u	 /* one of so many is tried */
#define PIECE_LEAST 32u	 /* of less a probe would be too much of it */
#define PROBED_RATIO 4u	 /* so many times what is wanted is probed at once */
#define PROBE_ROUNDS 8u
#define MARK_PAGES 16384u /* 64 MiB, 1 ms */
#define PROBE_STEP 16u	  /* pieces, 1 ms */
#define VAIN_PIECES 16u	  /* so many that nothing came of: swap is full */
#define COLD_PART 64u	  /* touched: at most so small a part of a mapping that is not used */
#define HOT_PART 16u	  /* untouched: at most so small a part of one that is */

enum phase {
	PHASE_IDLE,
	PHASE_MARKING, /* MADV_COLD, mapping by mapping */
	PHASE_WATCHING,
	PHASE_TAKING, /* mappings that were not touched */
	PHASE_PROBING,
	PHASE_WAITING,
	PHASE_JUDGING, /* and taking pieces */
};

enum use { USE_WATCHED, USE_NONE, USE_SOME, USE_ALL };

struct area {
	char *start;
	uint64_t pages;
	enum use use;
};

struct piece {
	char *start;
	uint16_t pages, probes;
	uint16_t probe[PROBES]; /* those that are in swap now */
};

/* A mapping that is there only while something is to be done. */
struct work {
	char text[TEXT_SIZE];
	struct area area[AREAS_MAX];
	struct piece piece[PROBED_MAX];
};

/* The helper's alone. What a fork leaves of it cold_begin forgets. */
static struct cold {
	enum phase phase;
	struct work *work;
	uint64_t wanted, given;
	uint32_t ask;
	uint64_t due_ns;    /* end of a window */
	unsigned areas, at; /* at: the area at work */
	uint64_t offset;    /* pages into it */
	unsigned pieces, judged;
	unsigned rounds, vain;
	char *probe_from; /* where the next probes begin: not always with the same pieces */
	bool has_wrapped, is_through;
	bool is_lazy; /* no swap: only what was given up */
} cold;

static mc_word32 gives_up; /* the program has used MADV_FREE */
static bool is_off;

void cold_prepare(void)
{
	const char *value = getenv("MEMCTL_PAGEOUT");

	is_off = value && strcmp(value, "off") == 0;
}

bool cold_is_possible(void)
{
	return !is_off && smaps_has_swap();
}

bool cold_is_worth_asking(void)
{
	return !is_off && (smaps_has_swap() || mc_load_relaxed(&gives_up));
}

static uint32_t ms_left(void)
{
	uint64_t now = clock_now_ns();

	return now < cold.due_ns ? (uint32_t)((cold.due_ns - now) / 1000000) + 1 : 0;
}

static void open_window(enum phase phase)
{
	cold.phase = phase;
	cold.due_ns = clock_now_ns() + COLD_WINDOW_MS * 1000000ull;
}

/* A counter between two of its steps can be below 0. */
static uint64_t asked_for(const struct self *self, enum class class)
{
	int64_t pages = (int64_t)mc_load_relaxed(&account_of(self->actor.seg, self_target(self).account)->class[class]);

	return pages > 0 ? (uint64_t)pages : 0;
}

bool cold_is_worth_it(void)
{
	const struct self *self = self_page;

	return self && mc_load_acquire(&self->state) == SELF_MEMBER &&
	       asked_for(self, CLASS_ANON) + asked_for(self, CLASS_HEAP) >= COLD_WORTH_PAGES &&
	       self_is_resident(self) && cold_is_possible();
}

/* ---- beginning and ending -------------------------------------------------------------------------------- */

void cold_begin(void)
{
	cold = (struct cold){ .phase = PHASE_IDLE };
}

static void finish(const struct self *self)
{
	if (cold.work)
		(void)sys_munmap(cold.work, sizeof(*cold.work));
	cold.work = NULL;
	if (cold.phase != PHASE_IDLE)
		reclaim_answer_cold(self->actor.seg, self->member, cold.ask);
	cold.phase = PHASE_IDLE;
}

void cold_end(const struct self *self)
{
	uint32_t ask;

	finish(self);
	(void)reclaim_take_cold(self->actor.seg, self->member, &ask);
	reclaim_answer_cold(self->actor.seg, self->member, ask);
}

static bool has_enough(void)
{
	return cold.given >= cold.wanted || (cold.vain >= VAIN_PIECES && !cold.is_lazy);
}

static void rewind_areas(enum phase phase)
{
	cold.phase = phase;
	cold.at = 0;
	cold.offset = 0;
}

/* ---- what there is --------------------------------------------------------------------------------------- */

static bool walk(smaps_take *take)
{
	int fd = sys_openat(AT_FDCWD, "/proc/self/smaps", O_RDONLY, 0);
	int err;

	if (fd < 0)
		return false;
	err = smaps_walk(fd, cold.work->text, TEXT_SIZE, take, NULL);
	sys_close(fd);
	return err == 0;
}

static bool is_ours(const struct smaps_mapping *m)
{
	uint64_t work = (uint64_t)(uintptr_t)cold.work;

	return m->start <= work && work < m->end && m->end - m->start <= sizeof(struct work) + 2 * MC_PAGE_SIZE;
}

static void note_area(const struct smaps_mapping *m, void *to)
{
	(void)to;
	if (!m->is_anonymous || m->is_fixed || !m->resident || is_ours(m) || cold.areas == AREAS_MAX)
		return;
	cold.work->area[cold.areas++] = (struct area){
		.start = (char *)(uintptr_t)m->start, /* NOLINT: an address is what it is */
		.pages = (m->end - m->start) >> MC_PAGE_SHIFT,
	};
}

/* No swap: what was given up is all that can go. */
static void note_lazy(const struct smaps_mapping *m, void *to)
{
	(void)to;
	if (!m->is_anonymous || m->is_fixed || !m->lazy_free || cold.areas == AREAS_MAX)
		return;
	cold.work->area[cold.areas++] = (struct area){
		.start = (char *)(uintptr_t)m->start, /* NOLINT: as above */
		.pages = (m->end - m->start) >> MC_PAGE_SHIFT,
		.use = USE_NONE,
	};
}

static bool start(const struct self *self, uint64_t wanted)
{
	long at = sys_mmap(NULL, sizeof(struct work), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(at))
		return false;
	cold.work = (struct work *)at;
	cold.wanted = wanted;
	cold.given = 0;
	cold.areas = cold.rounds = cold.vain = 0;
	cold.is_lazy = !cold_is_possible();
	if (!self_is_resident(self) || (cold.is_lazy && !mc_load_relaxed(&gives_up)))
		return false;
	residency_catch_up(self); /* what is taken from the account should be in it */
	rewind_areas(cold.is_lazy ? PHASE_TAKING : PHASE_MARKING);
	return walk(cold.is_lazy ? note_lazy : note_area);
}

/* What the mappings have become: those that were touched in part, or not. */
static void note_use(const struct smaps_mapping *m, void *to)
{
	uint64_t n = m->referenced < m->resident ? m->referenced : m->resident;

	(void)to;
	for (unsigned i = 0; i < cold.areas; i++) {
		struct area *a = &cold.work->area[i];
		uint64_t first = (uint64_t)(uintptr_t)a->start;

		if (first >= m->end || first + (a->pages << MC_PAGE_SHIFT) <= m->start)
			continue;
		if (!m->is_anonymous || m->is_fixed || m->resident - n <= m->resident / HOT_PART)
			a->use = USE_ALL;
		else if (a->use == USE_WATCHED && n <= m->resident / COLD_PART)
			a->use = USE_NONE;
		else
			a->use = m->huge ? USE_ALL : USE_SOME; /* a probe would split them */
	}
}

/* ---- taking ---------------------------------------------------------------------------------------------- */

static void count(const struct self *self, const struct pageout *out)
{
	struct member *m = member_of(self->actor.seg, self->member);

	cold.given += out->gone;
	cold.vain = out->present && !out->gone ? cold.vain + 1 : 0;
	mc_add_relaxed(&m->scanned, out->present);
	mc_add_relaxed(&m->reclaimed, out->gone);
}

/* False: no more. */
static bool take_piece(const struct self *self, char *start, unsigned pages)
{
	struct pageout out;

	if (!pageout_piece(self, start, pages, &out))
		return false;
	count(self, &out);
	return !out.is_full;
}

/* The next piece of an area of this use, aligned as page tables are; NULL: there is none. */
static char *next_piece(enum use use, unsigned *ret_pages)
{
	for (; cold.at < cold.areas; cold.at++, cold.offset = 0) {
		const struct area *a = &cold.work->area[cold.at];
		char *start = a->start + (cold.offset << MC_PAGE_SHIFT);
		uint64_t within = ((uintptr_t)start >> MC_PAGE_SHIFT) % PAGEOUT_PIECE;
		uint64_t left = a->pages - cold.offset;

		if (a->use != use || !left)
			continue;
		*ret_pages = (unsigned)(left < PAGEOUT_PIECE - within ? left : PAGEOUT_PIECE - within);
		cold.offset += *ret_pages;
		return start;
	}
	return NULL;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

static uint32_t mark(void)
{
	while (cold.at < cold.areas) {
		const struct area *a = &cold.work->area[cold.at];
		uint64_t left = a->pages - cold.offset;
		uint64_t n = left < MARK_PAGES ? left : MARK_PAGES;

		(void)sys_madvise(a->start + (cold.offset << MC_PAGE_SHIFT), n << MC_PAGE_SHIFT, MADV_COLD);
		cold.offset += n;
		if (cold.offset < a->pages)
			return 0;
		cold.at++;
		cold.offset = 0;
	}
	open_window(PHASE_WATCHING);
	return COLD_WINDOW_MS;
}

static uint32_t watch(const struct self *self)
{
	if (ms_left())
		return ms_left();
	rewind_areas(PHASE_TAKING);
	if (!walk(note_use))
		finish(self);
	return 0;
}

static uint32_t take(const struct self *self)
{
	unsigned pages;
	char *start = has_enough() ? NULL : next_piece(USE_NONE, &pages);

	if (start && take_piece(self, start, pages))
		return 0;
	if (start || has_enough() || cold.is_lazy) {
		finish(self);
		return 0;
	}
	cold.has_wrapped = cold.is_through = false;
	rewind_areas(PHASE_PROBING);
	cold.pieces = cold.judged = 0;
	return 0;
}

/* Spread over what is in memory. What is not paged out there (shared with relatives) tells nothing.
 */
static void try_piece(const struct self *self, char *start, unsigned pages)
{
	struct piece *p = &cold.work->piece[cold.pieces];
	bool present[PAGEOUT_PIECE];
	unsigned n = 0, probes, skipped = 0;

	if (!pageout_look(start, pages, present, NULL))
		return;
	for (unsigned i = 0; i < pages; i++)
		n += present[i];
	if (n < PIECE_LEAST)
		return;
	probes = n / PROBE_PAGES ? n / PROBE_PAGES : 1;
	*p = (struct piece){ .start = start, .pages = (uint16_t)pages };
	for (unsigned i = 0; i < pages && p->probes < probes; i++) {
		char *page = start + ((size_t)i << MC_PAGE_SHIFT);
		struct pageout out;

		if (!present[i] || skipped++ % (n / probes) != n / probes / 2)
			continue;
		if (!pageout_piece(self, page, 1, &out) || out.is_full)
			break;
		count(self, &out);
		if (out.gone)
			p->probe[p->probes++] = (uint16_t)i;
	}
	cold.pieces += p->probes != 0;
}

static bool is_probed_enough(void)
{
	uint64_t pages = (uint64_t)cold.pieces * PAGEOUT_PIECE;

	return cold.pieces == PROBED_MAX || pages >= (cold.wanted - cold.given) * PROBED_RATIO;
}

/* From probe_from to the end, then from the first one up to there. */
static char *next_to_probe(unsigned *ret_pages)
{
	for (;;) {
		char *start = next_piece(USE_SOME, ret_pages);

		if (start && cold.has_wrapped == (start < cold.probe_from))
			return start;
		if (start)
			continue;
		if (cold.has_wrapped)
			return NULL;
		cold.has_wrapped = true;
		rewind_areas(PHASE_PROBING);
	}
}

static uint32_t probe(const struct self *self)
{
	for (unsigned i = 0; i < PROBE_STEP && !has_enough() && !is_probed_enough() && !cold.is_through; i++) {
		unsigned pages;
		char *start = next_to_probe(&pages);

		if (start)
			try_piece(self, start, pages);
		cold.is_through = !start;
	}
	if (!has_enough() && !is_probed_enough() && !cold.is_through)
		return 0;
	if (!cold.pieces) {
		finish(self);
		return 0;
	}
	open_window(PHASE_WAITING);
	return COLD_WINDOW_MS;
}

static bool is_used(const struct piece *p)
{
	bool present[PAGEOUT_PIECE];

	if (!pageout_look(p->start, p->pages, present, NULL))
		return true;
	for (unsigned i = 0; i < p->probes; i++)
		if (present[p->probe[i]])
			return true;
	return false;
}

static uint32_t judge(const struct self *self)
{
	const struct piece *p = &cold.work->piece[cold.judged];

	if (cold.judged < cold.pieces && !has_enough()) {
		cold.judged++;
		if (!is_used(p) && !take_piece(self, p->start, p->pages))
			finish(self);
		return 0;
	}
	if (has_enough() || cold.is_through || ++cold.rounds == PROBE_ROUNDS) {
		cold.probe_from = cold.work->piece[cold.pieces - 1].start + MC_PAGE_SIZE;
		finish(self);
		return 0;
	}
	cold.phase = PHASE_PROBING;
	cold.pieces = cold.judged = 0;
	return 0;
}

/* ---- from outside ---------------------------------------------------------------------------------------- */

static void accept_ask(const struct self *self)
{
	uint64_t wanted = reclaim_take_cold(self->actor.seg, self->member, &cold.ask);

	if (!wanted)
		return;
	if (cold.phase != PHASE_IDLE) {
		cold.wanted += wanted;
		return;
	}
	cold.phase = PHASE_MARKING;
	if (!start(self, wanted))
		finish(self);
}

void cold_note_given_up(void)
{
	const struct self *self = self_get();

	if (self && !mc_exchange_full(&gives_up, 1))
		member_set_flags(self->actor.seg, self->member, MEMBER_GIVES_UP, 0);
}

uint32_t cold_work(const struct self *self)
{
	accept_ask(self);
	switch (cold.phase) {
	case PHASE_MARKING:
		return mark();
	case PHASE_WATCHING:
		return watch(self);
	case PHASE_TAKING:
		return take(self);
	case PHASE_PROBING:
		return probe(self);
	case PHASE_WAITING:
		if (ms_left())
			return ms_left();
		cold.phase = PHASE_JUDGING;
		return 0;
	case PHASE_JUDGING:
		return judge(self);
	case PHASE_IDLE:
	default:
		return RECLAIM_FOR_EVER;
	}
}
