/* SPDX-License-Identifier: MIT */
/* Taking the census: its file, and filling it. */
#include "controld/census_taking.h"

#include "accounting/region.h"
#include "controld/residency.h"
#include "controld/stall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the file -------------------------------------------------------------------------------------------- */

static int map_file(struct served *s, size_t size, struct complaint *why)
{
	struct census_file *f = s->census;
	char path[sizeof(s->seg.dir) + 16];
	void *map = MAP_FAILED;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" CENSUS_NAME, s->seg.dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, (off_t)size) == 0) /* later, a full disk would be a signal */
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (map == MAP_FAILED)
		return complain(why, -ENOSPC, "no room for %s", path);
	if (f->map)
		(void)munmap(f->map, f->size);
	f->map = map;
	f->size = size;
	return 0;
}

static bool is_in_place(const struct served *s)
{
	char path[sizeof(s->seg.dir) + 16];

	(void)snprintf(path, sizeof(path), "%s/" CENSUS_NAME, s->seg.dir);
	return access(path, F_OK) == 0;
}

static int make_room(struct served *s, uint32_t groups, struct complaint *why)
{
	size_t row = sizeof(struct census_row) + CENSUS_COLUMNS_MAX * sizeof(uint64_t);
	size_t size;
	int err = 0;

	if (!s->census)
		s->census = calloc(1, sizeof(*s->census));
	if (!s->census)
		return complain(why, -ENOMEM, "the daemon is out of memory");
	if (s->census->columns)
		row = s->census->map->row_size;
	size = CENSUS_ROWS_AT + row * groups;
	size = (size + 65535) & ~(size_t)65535;
	if (size > s->census->size || !is_in_place(s))
		err = map_file(s, size > s->census->size ? size : s->census->size, why);
	return err;
}

/* ---- taking it ------------------------------------------------------------------------------------------- */

static void sum_overs(struct census_taking *t)
{
	const struct segment *seg = &t->s->seg;

	for (uint32_t g = 0; g < t->snap.groups; g++)
		for (unsigned i = 0; i < OVERS && group_state(seg, (uint16_t)g) == GROUP_LIVE; i++)
			t->over[g][i] = mc_load_relaxed(&census_pool(t, (uint16_t)g)->over[i]);
	for (int depth = GROUP_DEPTH_MAX; depth > 0; depth--)
		for (uint32_t g = 1; g < t->snap.groups; g++) {
			uint16_t parent = group_parent(seg, (uint16_t)g);

			for (unsigned i = 0;
			     seg->limits->group[g].depth == depth && parent < t->snap.groups && i < OVERS; i++)
				t->over[parent][i] += t->over[g][i];
		}
}

static size_t oom_size(const struct census_taking *t)
{
	return (sizeof(t->s->seg.limits->oom[0]) * t->snap.groups + MC_PAGE_SIZE - 1) & ~(MC_PAGE_SIZE - 1);
}

/* Without memory for it, the region is left out. */
static void prepare_regions(struct census_taking *t, uint64_t now_ns)
{
	const struct segment *seg = &t->s->seg;

	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1)) {
		if (snapshot_take(seg, r, &t->region[r]))
			continue;
		t->region_psi[r] = calloc(t->snap.groups, sizeof(struct psi));
		if (t->region_psi[r])
			stall_read_region(t->s, r, now_ns, t->snap.groups, t->region_psi[r]);
	}
}

static void free_regions(struct census_taking *t)
{
	for (unsigned r = 0; r < RESOURCES_MAX; r++) {
		snapshot_free(&t->region[r]);
		free(t->region_psi[r]);
	}
}

static int prepare(struct census_taking *t, uint64_t now_ns)
{
	int err = residency_snapshot(t->s, GROUP_ROOT, now_ns, &t->snap);

	if (!err)
		err = snapshot_take(&t->s->seg, RESOURCE_SWAP, &t->swap);
	if (err)
		return err;
	t->stat = calloc(t->snap.groups, sizeof(*t->stat));
	t->over = calloc(t->snap.groups, sizeof(*t->over));
	t->psi = calloc(t->snap.groups, sizeof(*t->psi));
	t->oom_pages = calloc(oom_size(t) / MC_PAGE_SIZE + 1, 1);
	if (!t->stat || !t->over || !t->psi || !t->oom_pages)
		return -ENOMEM;
	(void)mincore(t->s->seg.limits->oom, oom_size(t), t->oom_pages); /* fails: nothing is known to be set */
	stat_take_all(t->s, &t->snap, t->thorough, t->stat);
	sum_overs(t);
	stall_read_all(t->s, now_ns, t->snap.groups, t->psi);
	prepare_regions(t, now_ns);
	return 0;
}

static void fill_row(const struct census_taking *t, uint16_t group, struct census_row *row)
{
	const struct census_file *f = t->s->census;
	const struct group *g = &t->s->seg.limits->group[group];

	row->slot = group;
	row->generation = g->generation;
	row->parent = group == GROUP_ROOT ? GROUP_NIL : group_parent(&t->s->seg, group);
	row->depth = g->depth;
	row->members = t->snap.pool[group].members;
	row->members_local = t->snap.pool[group].members_local;
	memcpy(row->name, g->name, sizeof(row->name));
	for (uint32_t i = 0; i < f->columns; i++)
		row->value[i] = f->source[i].value(&f->source[i], t, group);
}

static void fill(const struct census_taking *t)
{
	struct census *c = t->s->census->map;

	c->rows = 0;
	for (uint32_t g = 0; g < t->snap.groups; g++)
		if (group_state(&t->s->seg, (uint16_t)g) == GROUP_LIVE)
			fill_row(t, (uint16_t)g, census_row(c, c->row_size, c->rows++));
}

int census_take(struct served *s, bool thorough, uint64_t now_ns, struct complaint *why)
{
	struct census_taking t = { .s = s, .thorough = thorough };
	int err = prepare(&t, now_ns);

	if (err)
		err = complain(why, err, "the daemon is out of memory");
	if (!err)
		err = make_room(s, t.snap.groups, why);
	if (!err) {
		struct census *c = s->census->map;

		mc_store_full(&c->seq, mc_load_relaxed(&c->seq) | 1);
		c->magic = CENSUS_MAGIC;
		c->instance = s->seg.limits->header.instance;
		c->at_ns = now_ns;
		census_add_columns(s->census, &t);
		fill(&t);
		mc_store_full(&c->seq, mc_load_relaxed(&c->seq) + 1);
	}
	free(t.stat);
	free(t.over);
	free(t.psi);
	free(t.oom_pages);
	free_regions(&t);
	snapshot_free(&t.snap);
	snapshot_free(&t.swap);
	return err;
}

void census_close(struct served *s)
{
	if (s->census && s->census->map)
		(void)munmap(s->census->map, s->census->size);
	free(s->census);
	s->census = NULL;
}
