/* SPDX-License-Identifier: MIT */
/* Pinned host memory: asked for where host memory's limits have room for it, and shown as `pinned`.
 * Its pages are the preload library's to charge, as they are mapped or become resident: counted
 * here, too, they would count twice. */
#include "device/cuda.h"

#include "accounting/units.h"

static bool has_room(uint64_t bytes)
{
	struct device_member *m = device_member();
	struct device_target to;

	return !m || !device_region_target(m, RESOURCE_MEMORY, &to) ||
	       charge_has_room(&m->actor, to.account, units_pages_up(bytes));
}

static void add(uint32_t account, enum class class, int64_t pages)
{
	account_class_add(device_member_page->actor.seg, account, class, pages);
}

/* What the preload library has counted as mapped. */
static uint64_t mapped(void)
{
	struct device_member *m = device_member();
	struct device_target to;

	if (!m || !device_region_target(m, RESOURCE_MEMORY, &to))
		return 0;
	return mc_load_relaxed(&account_of(m->actor.seg, to.account)->class[CLASS_ANON]);
}

/* Where it was mapped as the program's own, which a driver's mappings of its device are not, it is
 * counted as pinned in place of that; `before` is what was mapped before. */
static void keep(const void *ptr, uint64_t bytes, uint64_t before)
{
	int64_t pages = (int64_t)units_pages_up(bytes);
	struct device_member *m = device_member();
	struct ledger_entry e = { .key = (uintptr_t)ptr, .kind = LEDGER_HOST, .size = bytes };
	struct device_target to;

	if (!m || !device_region_target(m, RESOURCE_MEMORY, &to))
		return;
	e.of = to.account + 1ull;
	e.maps = (int64_t)(mapped() - before) >= pages;
	if (!ledger_put(&e))
		return;
	add(to.account, CLASS_PINNED, pages);
	if (e.maps)
		add(to.account, CLASS_ANON, -pages);
}

static void forget(const struct ledger_entry *e)
{
	int64_t pages = (int64_t)units_pages_up(e->size);

	add((uint32_t)(e->of - 1), CLASS_PINNED, -pages);
	if (e->maps)
		add((uint32_t)(e->of - 1), CLASS_ANON, pages);
}

#define ALLOCATE(copy, name, ptr, size, ...) \
	uint64_t before = mapped(); \
	int result; \
	if ((ptr) && (size) && !has_room(size)) \
		return cuda_refused(copy); \
	result = REAL(copy, name)(__VA_ARGS__); \
	if (!result && (ptr)) \
		keep(*(ptr), size, before); \
	return result;

int on_cuMemHostAlloc(struct copy *copy, void **ptr, size_t size, unsigned flags)
{
	ALLOCATE(copy, cuMemHostAlloc, ptr, size, ptr, size, flags)
}

int on_cuMemAllocHost(struct copy *copy, void **ptr, unsigned size)
{
	ALLOCATE(copy, cuMemAllocHost, ptr, size, ptr, size)
}

int on_cuMemAllocHost_v2(struct copy *copy, void **ptr, size_t size)
{
	ALLOCATE(copy, cuMemAllocHost_v2, ptr, size, ptr, size)
}

#define REGISTER(copy, name, ptr, size, flags) \
	int result = REAL(copy, name)(ptr, size, flags); \
	if (!result) \
		keep(ptr, size, UINT64_MAX / 2); \
	return result;

int on_cuMemHostRegister(struct copy *copy, void *ptr, size_t size, unsigned flags)
{
	REGISTER(copy, cuMemHostRegister, ptr, size, flags)
}

int on_cuMemHostRegister_v2(struct copy *copy, void *ptr, size_t size, unsigned flags)
{
	REGISTER(copy, cuMemHostRegister_v2, ptr, size, flags)
}

static int give(int (*real)(void *), void *ptr)
{
	struct ledger_entry e;
	bool known = ledger_take(LEDGER_HOST, (uintptr_t)ptr, &e);
	int result = real(ptr);

	if (known && result)
		(void)ledger_put(&e);
	else if (known)
		forget(&e);
	return result;
}

int on_cuMemFreeHost(struct copy *copy, void *ptr)
{
	return give(REAL(copy, cuMemFreeHost), ptr);
}

int on_cuMemHostUnregister(struct copy *copy, void *ptr)
{
	return give(REAL(copy, cuMemHostUnregister), ptr);
}
