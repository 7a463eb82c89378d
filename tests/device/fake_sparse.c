/* SPDX-License-Identifier: MIT */
/* The fake driver's sparse arrays: physical memory lives while it is mapped into one, too. Tiles are
 * of 64 KiB, as on devices; each mapped one is a record. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <string.h>

#define TILE 65536u

struct tile {
	struct tile *next;
	const struct fake_array *array;
	unsigned part, level, layer;
	uint64_t x, y, z;
	uint64_t memory;
};

static struct tile *tiles;

struct map {
	int array_type, unused1;
	struct fake_array *array;
	int part, unused2;
	union {
		struct {
			unsigned level, layer, x, y, z, width, height, depth;
		} level;
		struct {
			unsigned layer;
			uint64_t offset, size;
		} tail;
	};
	int operation, handle_type;
	uint64_t handle, offset;
	unsigned devices, flags, reserved[2];
};

struct sparse {
	unsigned width, height, depth, tail_level;
	unsigned long long tail_size;
	unsigned flags, reserved[4];
};

static bool is_sparse(const struct fake_array *a)
{
	return a && a->magic == ARRAY_MAGIC && a->flags & (ARRAY_SPARSE | ARRAY_DEFERRED);
}

/* Nearly square. */
static void describe(const struct fake_array *a, struct sparse *ret)
{
	uint64_t elements = TILE / a->element, width = 1;

	while (width * width < elements)
		width *= 2;
	*ret = (struct sparse){ .width = (unsigned)width, .height = (unsigned)(elements / width), .depth = 1 };
	while (ret->tail_level < a->levels && a->width >> ret->tail_level >= ret->width &&
	       a->height >> ret->tail_level >= ret->height)
		ret->tail_level++;
	ret->tail_size = ret->tail_level < a->levels ? TILE : 0;
}

static int ask(struct sparse *ret, const struct fake_array *a)
{
	if (!ret || !is_sparse(a) || !(a->flags & ARRAY_SPARSE))
		return INVALID_VALUE;
	describe(a, ret);
	return OK;
}

SHOW int cuArrayGetSparseProperties(struct sparse *ret, const struct fake_array *a);
SHOW int cuArrayGetSparseProperties(struct sparse *ret, const struct fake_array *a)
{
	ENTER(cuArrayGetSparseProperties)
	LEAVE(cuArrayGetSparseProperties, ask(ret, a));
}

SHOW int cuMipmappedArrayGetSparseProperties(struct sparse *ret, const struct fake_array *a);
SHOW int cuMipmappedArrayGetSparseProperties(struct sparse *ret, const struct fake_array *a)
{
	ENTER(cuMipmappedArrayGetSparseProperties)
	LEAVE(cuMipmappedArrayGetSparseProperties, ask(ret, a));
}

/* ---- tiles ----------------------------------------------------------------------------------------------- */

static void drop(struct tile **at)
{
	struct tile *t = *at;

	*at = t->next;
	fake_physical_let(t->memory);
	free(t);
}

void fake_sparse_end(struct fake_array *a)
{
	for (struct tile **at = &tiles; *at;)
		if ((*at)->array == a)
			drop(at);
		else
			at = &(*at)->next;
}

static bool is_same(const struct tile *a, const struct tile *b)
{
	return a->array == b->array && a->part == b->part && a->level == b->level && a->layer == b->layer &&
	       a->x == b->x && a->y == b->y && a->z == b->z;
}

/* memory 0: nothing is mapped there afterwards. */
static void set(const struct tile *like)
{
	struct tile **at = &tiles, *t;

	if (like->memory)
		(void)fake_physical_hold(like->memory);
	while (*at && !is_same(*at, like))
		at = &(*at)->next;
	if (*at)
		drop(at);
	if (!like->memory)
		return;
	t = malloc(sizeof(*t));
	if (!t)
		abort();
	*t = *like;
	t->next = tiles;
	tiles = t;
}

static uint64_t up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to;
}

static void set_all(const struct map *m, const struct sparse *s)
{
	struct tile t = { .array = m->array, .part = (unsigned)m->part, .memory = m->operation == 1 ? m->handle : 0 };

	if (m->part == 1) {
		t.layer = m->tail.layer;
		for (t.x = m->tail.offset / TILE; t.x < up(m->tail.offset + m->tail.size, TILE); t.x++)
			set(&t);
		return;
	}
	t.layer = m->level.layer;
	t.level = m->level.level;
	for (t.z = m->level.z; t.z < m->level.z + (m->level.depth ? m->level.depth : 1); t.z++)
		for (t.y = m->level.y / s->height; t.y < up(m->level.y + m->level.height, s->height); t.y++)
			for (t.x = m->level.x / s->width; t.x < up(m->level.x + m->level.width, s->width); t.x++)
				set(&t);
}

/* What an array of deferred mapping has is one tile. */
static struct sparse of_array(const struct fake_array *a)
{
	struct sparse s;

	describe(a, &s);
	if (a->flags & ARRAY_DEFERRED)
		s = (struct sparse){ .width = 1u << 30, .height = 1u << 30, .depth = 1, .tail_level = a->levels };
	return s;
}

static bool is_good_level(const struct map *m, const struct sparse *s)
{
	const struct fake_array *a = m->array;

	return m->level.level < s->tail_level && m->level.x % s->width == 0 && m->level.y % s->height == 0 &&
	       m->level.width && m->level.height && m->level.x + m->level.width <= a->width >> m->level.level &&
	       m->level.y + m->level.height <= a->height >> m->level.level &&
	       m->level.z + (m->level.depth ? m->level.depth : 1) <= a->depth;
}

static bool is_good(const struct map *m)
{
	struct sparse s;

	if (!is_sparse(m->array) || m->array->is_mipmap != (m->array_type == 1) || m->handle_type || m->flags ||
	    (m->operation == 1 ? !fake_physical_size(m->handle) : m->operation != 2 || m->handle))
		return false;
	s = of_array(m->array);
	return m->part == 0 ? is_good_level(m, &s)
			    : m->part == 1 && m->tail.size && m->tail.offset % TILE == 0 &&
				      m->tail.offset + m->tail.size <= s.tail_size;
}

/* All of them or none. */
static int map_all(const struct map *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!is_good(&list[i]))
			return INVALID_VALUE;
	for (unsigned i = 0; i < count; i++) {
		struct sparse s = of_array(list[i].array);

		set_all(&list[i], &s);
	}
	return OK;
}

SHOW int cuMemMapArrayAsync(const struct map *list, unsigned count, void *stream);
SHOW int cuMemMapArrayAsync(const struct map *list, unsigned count, void *stream)
{
	ENTER(cuMemMapArrayAsync)
	(void)stream;
	LEAVE(cuMemMapArrayAsync, list && count ? map_all(list, count) : INVALID_VALUE);
}

SHOW int cuMemMapArrayAsync_ptsz(const struct map *list, unsigned count, void *stream);
SHOW int cuMemMapArrayAsync_ptsz(const struct map *list, unsigned count, void *stream)
{
	ENTER(cuMemMapArrayAsync_ptsz)
	(void)stream;
	LEAVE(cuMemMapArrayAsync_ptsz, list && count ? map_all(list, count) : INVALID_VALUE);
}
