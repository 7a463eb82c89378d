/* SPDX-License-Identifier: MIT */
/* What a program's own pools have handed out: known by its address, because a pool may be ended
 * before it, and because others may import it. A default pool can neither be ended nor shared. */
#include "device/cuda_holders.h"
#include "device/walk.h"

#include "accounting/region.h"

static uint32_t units_of(uint64_t bytes)
{
	uint64_t units = device_units(bytes);

	return units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
}

static bool is_own(cu_handle pool)
{
	struct ledger_entry e;

	return ledger_find(LEDGER_POOL, (uintptr_t)pool, &e) && e.handles;
}

void cuda_pooled_add(cu_ptr ptr, cu_handle pool, uint64_t bytes)
{
	const struct ledger_entry e = {
		.key = ptr, .kind = LEDGER_POOLED, .of = (uintptr_t)pool, .handles = units_of(bytes), .resource = -1
	};

	if (is_own(pool))
		(void)ledger_put(&e);
}

/* ---- a pool that is ended before what it has handed out -------------------------------------------------- */

static bool is_of(const struct ledger_entry *e, void *pool)
{
	return e->of == ((const struct ledger_entry *)pool)->key;
}

/* From now on as memory of no pool, which goes when it is freed. */
static void pay_itself(const struct ledger_entry *e, void *arg)
{
	struct ledger_entry *pool = arg;
	struct ledger_entry own = { .key = e->key, .kind = LEDGER_POINTER, .of = e->size, .resource = pool->resource };
	uint64_t missing = e->handles > pool->paid.units ? e->handles - pool->paid.units : 0;

	if (missing)
		device_charge_settle(NULL, pool->resource, &pool->paid, (pool->paid.units + missing) * REGION_UNIT);
	own.paid = pool->paid;
	own.paid.units = e->handles < pool->paid.units ? e->handles : pool->paid.units;
	pool->paid.units -= own.paid.units;
	if (own.paid.units)
		(void)ledger_put(&own);
}

void cuda_pooled_ended(struct ledger_entry *pool)
{
	walk_take(LEDGER_POOLED, is_of, pay_itself, pool);
	device_charge_return(&pool->paid);
	pool->paid.units = 0;
}

/* ---- memory of pools that others have, too --------------------------------------------------------------- */

/* Lent as memory of its own: the pool has paid for it, an heir will for so much. */
static bool lend(const struct ledger_entry *e, uint64_t name)
{
	struct ledger_entry pool;

	if (!ledger_find(LEDGER_POOL, e->of, &pool) || pool.resource < 0)
		return false;
	pool.paid.units = e->handles;
	return heirs_lend(&pool, name);
}

int on_cuMemPoolExportPointer(struct copy *copy, struct cu_pool_pointer *data, cu_ptr ptr)
{
	int result = REAL(copy, cuMemPoolExportPointer)(data, ptr);
	struct ledger_entry e;
	uint64_t name;

	if (result || !data || !ledger_find(LEDGER_POOLED, ptr, &e))
		return result;
	name = heirs_name_of_bytes(data, sizeof(*data));
	if (e.size == name)
		return result;
	if (!e.size && lend(&e, name))
		(void)ledger_set_size(LEDGER_POOLED, ptr, name, NULL);
	else
		device_member_mark_partial();
	return result;
}

int on_cuMemPoolImportFromShareableHandle(struct copy *copy, cu_handle *pool, void *shareable, int type,
					  unsigned long long flags)
{
	int result = REAL(copy, cuMemPoolImportFromShareableHandle)(pool, shareable, type, flags);

	if (!result && pool)
		cuda_pool_is(copy, *pool, -1, false);
	return result;
}

int on_cuMemPoolImportPointer(struct copy *copy, cu_ptr *ptr, cu_handle pool, struct cu_pool_pointer *data)
{
	int result = REAL(copy, cuMemPoolImportPointer)(ptr, pool, data);

	if (!result && ptr && data)
		cuda_seen_add(NULL, *ptr, heirs_name_of_bytes(data, sizeof(*data)));
	return result;
}
