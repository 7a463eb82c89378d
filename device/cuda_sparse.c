/* SPDX-License-Identifier: MIT */
/* Sparse arrays: what is mapped into their tiles. A part may be mapped over several others, and in
 * other sizes than before, so each tile is a place of its own; what a driver tells no tiles of is
 * mapped as a whole. What a stream has still to do counts as done. */
#include "device/cuda_holders.h"

#define TAIL_GRAIN 65536u

typedef int ask_tiles(struct cu_array_sparse *, cu_handle);

/* Elements of a tile each way; without an answer the whole is one. */
static void tile_of(struct copy *copy, const struct cu_array_map *m, uint64_t tile[3])
{
	struct cu_array_sparse s = { 0 };
	ask_tiles *ask;

	*(void **)&ask = resolve_in(copy, m->array_type == CU_BIND_TO_MIPMAP ? "cuMipmappedArrayGetSparseProperties"
									     : "cuArrayGetSparseProperties");
	if (!ask || ask(&s, m->array))
		s = (struct cu_array_sparse){ 0 };
	tile[0] = s.width ? s.width : UINT32_MAX;
	tile[1] = s.height ? s.height : UINT32_MAX;
	tile[2] = s.depth ? s.depth : UINT32_MAX;
}

struct range {
	uint64_t first, end;
};

static struct range tiles(uint64_t offset, uint64_t extent, uint64_t tile)
{
	return (struct range){ offset / tile, (offset + (extent ? extent : 1) + tile - 1) / tile };
}

static void one(const struct cu_array_map *m, const struct cuda_place *place)
{
	if (m->operation == CU_BIND_MAP)
		cuda_bind(place, m->handle);
	else
		cuda_unbind(place);
}

static void tail(const struct cu_array_map *m, struct cuda_place *place)
{
	struct range r = tiles(m->tail.offset, m->tail.size, TAIL_GRAIN);

	place->at[1] = m->tail.layer;
	for (place->at[3] = r.first; place->at[3] < r.end; place->at[3]++)
		one(m, place);
}

static void level(struct copy *copy, const struct cu_array_map *m, struct cuda_place *place)
{
	struct range x, y, z;
	uint64_t tile[3];

	tile_of(copy, m, tile);
	x = tiles(m->level.x, m->level.width, tile[0]);
	y = tiles(m->level.y, m->level.height, tile[1]);
	z = tiles(m->level.z, m->level.depth, tile[2]);
	place->at[1] = m->level.layer;
	place->at[2] = m->level.level;
	for (place->at[5] = z.first; place->at[5] < z.end; place->at[5]++)
		for (place->at[4] = y.first; place->at[4] < y.end; place->at[4]++)
			for (place->at[3] = x.first; place->at[3] < x.end; place->at[3]++)
				one(m, place);
}

/* Of an array that we do not know, nobody tells us the end. */
static void change(struct copy *copy, const struct cu_array_map *m)
{
	struct cuda_place place = { .in = (uintptr_t)m->array, .at = { (uint64_t)m->part } };

	if (!ledger_find(LEDGER_ARRAY, place.in, NULL)) {
		if (device_member())
			device_member_mark_partial();
	} else if (m->part == CU_BIND_TAIL) {
		tail(m, &place);
	} else {
		level(copy, m, &place);
	}
}

/* All handles are held meanwhile: whoever gives one back at the same time ends nothing. */
static void each_mapped(const struct cu_array_map *list, unsigned count, bool holds)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i].operation == CU_BIND_MAP && holds)
			(void)cuda_physical_hold(list[i].handle);
		else if (list[i].operation == CU_BIND_MAP)
			cuda_physical_let(list[i].handle);
}

#define AROUND(copy, name, list, count, stream) \
	int result; \
	if (!(list) || (!ledger_count(LEDGER_PHYSICAL) && !ledger_count(LEDGER_BINDING))) \
		return REAL(copy, name)(list, count, stream); \
	each_mapped(list, count, true); \
	result = REAL(copy, name)(list, count, stream); \
	for (unsigned i = 0; !result && i < (count); i++) \
		change(copy, &(list)[i]); \
	each_mapped(list, count, false); \
	return result;

int on_cuMemMapArrayAsync(struct copy *copy, struct cu_array_map *list, unsigned count, cu_handle stream)
{
	AROUND(copy, cuMemMapArrayAsync, list, count, stream)
}

int on_cuMemMapArrayAsync_ptsz(struct copy *copy, struct cu_array_map *list, unsigned count, cu_handle stream)
{
	AROUND(copy, cuMemMapArrayAsync_ptsz, list, count, stream)
}
