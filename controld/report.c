/* SPDX-License-Identifier: MIT */
/* What is said when a group was out of memory. */
#include "controld/report.h"

#include "accounting/member.h"
#include "accounting/region.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/history.h"
#include "controld/log.h"
#include "controld/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST 10

struct report {
	struct report *next;
	uint16_t domain, victim; /* groups */
	uint32_t domain_generation, victim_generation;
	char *text;
};

static const char *size_of(uint64_t pages, char *buf)
{
	return pages >= PAGES_MAX ? "max" : units_format(pages << MC_PAGE_SHIFT, buf);
}

static const char *path_of(const struct served *s, uint16_t group)
{
	static char path[GROUP_PATH_MAX];

	(void)group_path(&s->seg, group, path);
	return path;
}

static uint32_t generation_of(const struct served *s, uint16_t group)
{
	return s->seg.limits->group[group].generation;
}

/* ---- the text ---------------------------------------------------------------------------------------------- */

static void write_asker(FILE *to, const struct served *s, const struct report_case *c)
{
	const struct member *m = c->asker < MEMBERS_MAX ? member_of(&s->seg, c->asker) : NULL;
	char size[UNITS_BUF];

	(void)fprintf(to, "out of %s in %s: ", region_name(&s->seg, c->resource), path_of(s, c->domain));
	if (!m)
		(void)fprintf(to, "its memory.max was set below what it uses\n");
	else
		(void)fprintf(to, "pid %u (%.16s) asked for %s\n",
			      member_pid(mc_load_full(&((struct member *)(uintptr_t)m)->state)), m->comm,
			      size_of(c->pages, size));
}

/* Nothing of a device is swapped. */
static void write_candidate(FILE *to, const struct served *s, unsigned resource, const struct oom_candidate *c)
{
	char held[UNITS_BUF], swap[UNITS_BUF], comm[16] = "";

	(void)s->daemon->world->comm((pid_t)c->pid, comm);
	(void)fprintf(to, "pid %u (%.15s) in %s: %s held, ", c->pid, comm, path_of(s, c->group),
		      size_of(c->held, held));
	if (resource == RESOURCE_MEMORY)
		(void)fprintf(to, "%s swapped, ", size_of(c->swap, swap));
	(void)fprintf(to, "oom_score_adj %d\n", c->adj);
}

static void write_killed(FILE *to, const struct served *s, const struct report_case *c)
{
	if (c->term_ms)
		(void)fprintf(to, "told to end within %u ms, else killed: ", c->term_ms);
	else
		(void)fprintf(to, "killed ");
	write_candidate(to, s, c->resource, &c->candidates[c->victim]);
	if (c->whole != GROUP_NIL)
		(void)fprintf(to, "and with it all of %s (memory.oom.group): %u member%s\n", path_of(s, c->whole),
			      c->killed, c->killed == 1 ? "" : "s");
}

static void write_levels(FILE *to, const struct served *s, const struct report_case *c, const struct survey *v)
{
	char usage[UNITS_BUF], high[UNITS_BUF], max[UNITS_BUF];
	const char *current = c->resource == RESOURCE_MEMORY ? "memory.current" : "dmem.current";

	for (uint16_t g = c->candidates[c->victim].group; survey_is_used(v, g); g = v->group[g].parent)
		(void)fprintf(to, "%s: %s %s, high %s, max %s%s\n", path_of(s, g), current,
			      size_of(v->group[g].usage, usage), size_of(v->group[g].high, high),
			      size_of(v->group[g].max, max), g == c->domain ? ": it refused" : "");
}

static void write_classes(FILE *to, const struct report_case *c, const struct snapshot *snap)
{
	static const char *const names[] = {
#define CLASS(id, name, sentence) name,
#include "accounting/classes.def"
#undef CLASS
	};
	char size[UNITS_BUF];

	(void)fprintf(to, "asked for there, and not given back:");
	for (unsigned i = 0; i < CLASSES; i++) {
		uint64_t pages = snap->pool[c->domain].class[i];

		if (pages && pages < PAGES_MAX)
			(void)fprintf(to, " %s %s", names[i], size_of(pages, size));
	}
	(void)fprintf(to, "\n");
}

/* Names of functions need libdw, which is not for the daemon. */
static void write_sites(FILE *to, const struct served *s, const struct report_case *c)
{
	const char *path = path_of(s, c->domain);

	if (pictures_are_of(s->seg.dir, path))
		(void)fprintf(to, "where it was asked for: memctl profile %s\n", path);
	else
		(void)fprintf(to, "where it is asked for, memctl run --profile would tell\n");
}

static void write_uses(FILE *to, const struct served *s, const struct report_case *c, const struct snapshot *snap)
{
	write_classes(to, c, snap);
	write_sites(to, s, c);
}

static int is_larger(const void *a, const void *b)
{
	const struct oom_candidate *x = a, *y = b;
	uint64_t first = x->held + x->swap, second = y->held + y->swap;

	return first != second ? (first < second ? 1 : -1) : (x->pid > y->pid) - (x->pid < y->pid);
}

static void write_largest(FILE *to, const struct served *s, const struct report_case *c)
{
	struct oom_candidate *sorted = calloc(c->count, sizeof(*sorted));

	if (!sorted)
		return;
	memcpy(sorted, c->candidates, c->count * sizeof(*sorted));
	qsort(sorted, c->count, sizeof(*sorted), is_larger);
	(void)fprintf(to, "%u member%s; the largest:\n", c->count, c->count == 1 ? "" : "s");
	for (uint32_t i = 0; i < c->count && i < LARGEST; i++) {
		(void)fprintf(to, "  ");
		write_candidate(to, s, c->resource, &sorted[i]);
	}
	free(sorted);
}

static void write_reclaim(FILE *to, const struct served *s, const struct report_case *c)
{
	char scanned_text[UNITS_BUF], reclaimed_text[UNITS_BUF], left_text[UNITS_BUF];
	uint64_t scanned = 0, reclaimed = 0, left = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct member *m = member_of(&s->seg, i);
		int64_t purgeable = (int64_t)mc_load_relaxed(&m->purgeable);

		if (!group_is_within(&s->seg, mc_load_full(&m->group), c->domain))
			continue;
		scanned += mc_load_relaxed(&m->scanned);
		reclaimed += mc_load_relaxed(&m->reclaimed);
		left += purgeable > 0 ? (uint64_t)purgeable : 0;
	}
	(void)fprintf(to, "reclaim has looked at %s so far and got %s; %s of the heaps is free but not given back\n",
		      size_of(scanned, scanned_text), size_of(reclaimed, reclaimed_text), size_of(left, left_text));
}

static char *write_all(const struct served *s, const struct report_case *c, const struct snapshot *snap,
		       const struct survey *v)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	write_asker(to, s, c);
	write_killed(to, s, c);
	write_levels(to, s, c, v);
	if (c->resource == RESOURCE_MEMORY)
		write_uses(to, s, c, snap);
	write_largest(to, s, c);
	if (c->resource == RESOURCE_MEMORY)
		write_reclaim(to, s, c);
	if (fclose(to) == 0 && text && *text)
		text[strlen(text) - 1] = 0;
	return text;
}

/* ---- keeping ----------------------------------------------------------------------------------------------- */

static void forget(struct report *r)
{
	free(r->text);
	free(r);
}

static void drop_oldest(struct served *s)
{
	struct report **at = &s->reports;

	for (unsigned i = 0; *at && i < REPORTS_MAX; i++)
		at = &(*at)->next;
	while (*at) {
		struct report *r = *at;

		*at = r->next;
		forget(r);
	}
}

static void keep(struct served *s, uint16_t domain, uint16_t victim, char *text)
{
	struct report *r = text ? calloc(1, sizeof(*r)) : NULL;

	if (!r) {
		free(text);
		return;
	}
	for (char *p = text; *p; p++) /* a process may call itself anything */
		if (*p != '\n' && (*p < ' ' || *p > '~'))
			*p = '?';
	r->text = text;
	r->domain = domain;
	r->victim = victim;
	r->domain_generation = generation_of(s, r->domain);
	r->victim_generation = generation_of(s, r->victim);
	r->next = s->reports;
	s->reports = r;
	log_group_report(LOG_WARNING, path_of(s, r->domain), r->text);
	history_tell(s, r->domain, HISTORY_REPORT, 1, r->text);
	drop_oldest(s);
}

void report_keep(struct served *s, const struct report_case *c, const struct snapshot *snap, const struct survey *v)
{
	keep(s, c->domain, c->candidates[c->victim].group, write_all(s, c, snap, v));
}

void report_keep_text(struct served *s, uint16_t group, char *text)
{
	keep(s, group, group, text);
}

static bool concerns(const struct served *s, uint16_t of, uint32_t generation, uint16_t group)
{
	return generation_of(s, of) == generation && group_state(&s->seg, of) == GROUP_LIVE &&
	       group_is_within(&s->seg, of, group);
}

const char *report_find(const struct served *s, uint16_t group)
{
	for (const struct report *r = s->reports; r; r = r->next)
		if (concerns(s, r->domain, r->domain_generation, group) ||
		    concerns(s, r->victim, r->victim_generation, group))
			return r->text;
	return "";
}

void report_forget_all(struct served *s)
{
	while (s->reports) {
		struct report *r = s->reports;

		s->reports = r->next;
		forget(r);
	}
}
