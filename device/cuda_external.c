/* SPDX-License-Identifier: MIT */
/* Memory that another API or another process has made, as an object, and what is mapped of it: each
 * has it open by itself, for a driver frees it with the last of them. */
#include "device/cuda_holders.h"

static uint64_t name_of(const struct cu_external *what)
{
	return what && what->type == CU_EXTERNAL_DESCRIPTOR ? heirs_name_of_descriptor(what->fd) : 0;
}

/* `copy` NULL: it is of no context. */
static void have(struct copy *copy, enum ledger_kind kind, uint64_t key, uint64_t name)
{
	struct ledger_entry e = { .key = key, .kind = (uint8_t)kind, .of = name, .resource = -1 };

	if (!key || !name || !heirs_borrow(&e.of))
		return;
	e.size = copy ? (uintptr_t)cuda_owner(copy) : 0;
	if (!ledger_put(&e))
		heirs_leave(e.of);
}

void cuda_seen_add(struct copy *copy, uint64_t key, uint64_t name)
{
	have(copy, LEDGER_VIEW, key, name);
}

/* The descriptor is the driver's afterwards: its name is read before. */
int on_cuImportExternalMemory(struct copy *copy, cu_handle *memory, const struct cu_external *what)
{
	uint64_t name = name_of(what);
	int result = REAL(copy, cuImportExternalMemory)(memory, what);

	if (!result && memory)
		have(copy, LEDGER_EXTERNAL, (uintptr_t)*memory, name);
	return result;
}

static void mapped(struct copy *copy, uint64_t key, cu_handle memory)
{
	struct ledger_entry e;

	if (ledger_find(LEDGER_EXTERNAL, (uintptr_t)memory, &e))
		cuda_seen_add(copy, key, e.of);
}

int on_cuExternalMemoryGetMappedBuffer(struct copy *copy, cu_ptr *ptr, cu_handle memory, const void *what)
{
	int result = REAL(copy, cuExternalMemoryGetMappedBuffer)(ptr, memory, what);

	if (!result && ptr)
		mapped(copy, *ptr, memory);
	return result;
}

int on_cuExternalMemoryGetMappedMipmappedArray(struct copy *copy, cu_handle *array, cu_handle memory, const void *what)
{
	int result = REAL(copy, cuExternalMemoryGetMappedMipmappedArray)(array, memory, what);

	if (!result && array)
		mapped(copy, (uintptr_t)*array, memory);
	return result;
}

int on_cuDestroyExternalMemory(struct copy *copy, cu_handle memory)
{
	struct ledger_entry e;
	bool known = ledger_take(LEDGER_EXTERNAL, (uintptr_t)memory, &e);
	int result = REAL(copy, cuDestroyExternalMemory)(memory);

	if (known && result)
		(void)ledger_put(&e);
	else if (known)
		heirs_leave(e.of);
	return result;
}

/* ---- addresses that are no plain memory ------------------------------------------------------------------ */

bool cuda_address_take(cu_ptr ptr, struct ledger_entry *ret)
{
	return (ledger_count(LEDGER_POOLED) && ledger_take(LEDGER_POOLED, ptr, ret)) ||
	       (ledger_count(LEDGER_VIEW) && ledger_take(LEDGER_VIEW, ptr, ret));
}

int cuda_address_freed(const struct ledger_entry *e, int result)
{
	if (e && result)
		(void)ledger_put(e);
	else if (e && e->kind == LEDGER_VIEW)
		heirs_leave(e->of);
	else if (e && e->size)
		heirs_give(e->size);
	return result;
}
