/* SPDX-License-Identifier: MIT */
/* Paging out what members do not use that cannot do so themselves. */
#include "controld/pager.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/residency.h"
#include "controld/swap.h"

#include <errno.h>
#include <stdlib.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

#define SLICE 2048u	       /* pages, 8 MiB: 5 to 20 ms of a turn */
#define MARK_SLICE (64u << 10) /* 256 MiB: 4 ms */
#define COLD_PART 64u	       /* touched at most so small a part: not used */
#define VAIN_SLICES 4u	       /* so many that nothing came of: swap is full, or we may not */

enum phase { PHASE_MARKING, PHASE_WATCHING, PHASE_TAKING };

struct area {
	uint64_t start, pages;
	bool is_cold;
};

struct pager {
	struct pager *next;
	uint32_t member, generation;
	pid_t pid;
	enum phase phase;
	int swappiness;
	uint64_t wanted, given, due_ns;
	struct area *area;
	uint32_t areas, room;
	uint32_t at;	 /* the area at work, */
	uint64_t offset; /* and pages into it */
	unsigned vain;
};

static const struct world *world_of(const struct served *s)
{
	return s->daemon->world;
}

static bool is_there(const struct served *s, const struct pager *p)
{
	const struct member *m = member_of(&s->seg, p->member);

	return mc_load_relaxed(&m->generation) == p->generation && (pid_t)s->watch[p->member].pid == p->pid;
}

/* ---- what there is --------------------------------------------------------------------------------------- */

static void note_area(const struct smaps_mapping *m, void *to)
{
	struct pager *p = to;

	if (!m->is_anonymous || m->is_fixed || !m->resident ||
	    served_grow((void **)&p->area, p->areas, &p->room, sizeof(*p->area)))
		return;
	p->area[p->areas++] = (struct area){ .start = m->start, .pages = (m->end - m->start) >> MC_PAGE_SHIFT };
}

/* A mapping that has changed since is not the one that was marked. */
static void note_use(const struct smaps_mapping *m, void *to)
{
	struct pager *p = to;

	for (uint32_t i = 0; i < p->areas; i++)
		if (p->area[i].start == m->start && p->area[i].pages == (m->end - m->start) >> MC_PAGE_SHIFT)
			p->area[i].is_cold =
				m->is_anonymous && !m->is_fixed && m->referenced <= m->resident / COLD_PART;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

/* The next part of at most `most` pages; false: there is none. */
static bool next_part(struct pager *p, bool only_cold, uint64_t most, uint64_t *ret_start, uint64_t *ret_pages)
{
	for (; p->at < p->areas; p->at++, p->offset = 0) {
		const struct area *a = &p->area[p->at];
		uint64_t left = a->pages - p->offset;

		if (!left || (only_cold && !a->is_cold))
			continue;
		*ret_start = a->start + (p->offset << MC_PAGE_SHIFT);
		*ret_pages = left < most ? left : most;
		p->offset += *ret_pages;
		return true;
	}
	return false;
}

static bool mark(struct served *s, struct pager *p, uint64_t now_ns)
{
	uint64_t start, pages;

	if (next_part(p, false, MARK_SLICE, &start, &pages)) {
		int err = world_of(s)->advise(p->pid, start, pages << MC_PAGE_SHIFT, MADV_COLD);

		return err != -EPERM && err != -ESRCH && err != -ENOSYS;
	}
	p->phase = PHASE_WATCHING;
	p->due_ns = now_ns + PAGER_WINDOW_NS;
	return true;
}

static bool watch(struct served *s, struct pager *p, uint64_t now_ns)
{
	if (now_ns < p->due_ns)
		return true;
	p->phase = PHASE_TAKING;
	p->at = 0;
	p->offset = 0;
	return world_of(s)->used(p->pid, note_use, p) == 0;
}

static uint64_t swapped(const struct served *s, const struct pager *p)
{
	uint64_t pages = 0;

	(void)world_of(s)->swapped(p->pid, false, &pages);
	return pages;
}

static void count(struct served *s, struct pager *p, uint64_t looked_at, uint64_t gone, uint64_t now_ns)
{
	struct member *m = member_of(&s->seg, p->member);

	p->given += gone;
	p->vain = gone ? 0 : p->vain + 1;
	mc_add_relaxed(&m->scanned, looked_at > gone ? looked_at : gone);
	mc_add_relaxed(&m->reclaimed, gone);
	if (!gone)
		return;
	swap_look_at(s, p->member);
	residency_look_at(s, p->member, now_ns);
}

static bool take(struct served *s, struct pager *p, uint64_t now_ns)
{
	uint64_t may = reclaim_may_page_out(&s->seg, p->member, p->swappiness);
	uint64_t start, pages, before;

	if (!may || p->given >= p->wanted || p->vain >= VAIN_SLICES ||
	    !next_part(p, true, may < SLICE ? may : SLICE, &start, &pages))
		return false;
	before = swapped(s, p);
	if (world_of(s)->advise(p->pid, start, pages << MC_PAGE_SHIFT, MADV_PAGEOUT))
		return false;
	may = swapped(s, p);
	count(s, p, pages, may > before ? may - before : 0, now_ns);
	return true;
}

/* False: it is over. */
static bool step(struct served *s, struct pager *p, uint64_t now_ns)
{
	if (!is_there(s, p))
		return false;
	switch (p->phase) {
	case PHASE_MARKING:
		return mark(s, p, now_ns);
	case PHASE_WATCHING:
		return watch(s, p, now_ns);
	case PHASE_TAKING:
	default:
		return take(s, p, now_ns);
	}
}

/* ---- from outside ---------------------------------------------------------------------------------------- */

static void release(struct pager *p)
{
	free(p->area);
	free(p);
}

bool pager_is_busy(const struct served *s, uint32_t member)
{
	const struct pager *p = s->pagers;

	while (p && p->member != member)
		p = p->next;
	return p != NULL;
}

int pager_begin(struct served *s, uint32_t member, uint64_t pages, int swappiness)
{
	struct pager *p;

	if (pager_is_busy(s, member))
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->member = member;
	p->generation = mc_load_relaxed(&member_of(&s->seg, member)->generation);
	p->pid = (pid_t)s->watch[member].pid;
	p->wanted = pages;
	p->swappiness = swappiness;
	if (!p->pid || world_of(s)->used(p->pid, note_area, p))
		p->areas = 0;
	p->next = s->pagers;
	s->pagers = p;
	loop_request_turn(s->daemon);
	return 0;
}

void pager_turn(struct served *s, uint64_t now_ns)
{
	struct pager **at = &s->pagers;

	while (*at) {
		struct pager *p = *at;

		if (p->areas && step(s, p, now_ns)) {
			served_want_turn(s, p->phase == PHASE_WATCHING ? p->due_ns : now_ns);
			at = &p->next;
			continue;
		}
		*at = p->next;
		release(p);
	}
}

void pager_forget_all(struct served *s)
{
	while (s->pagers) {
		struct pager *p = s->pagers;

		s->pagers = p->next;
		release(p);
	}
}
