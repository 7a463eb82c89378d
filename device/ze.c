/* SPDX-License-Identifier: MIT */
/* Level Zero: plain memory, and tables of functions. Everything else is passed on. A device is
 * known by where it is plugged in, by which other APIs know it, too; its parts have the same
 * place.
 *
 * A loader that is linked into a program statically, and whoever looks for layers, asks the
 * loader's library for tables. What they hold is not what the library exports, which only works
 * after the library's own zeInit: what stands in for it calls what the table had. The library
 * fills its own tables in the same way, so what it exports ends in the same functions.
 */
#include "device/ze.h"

#include "device/plain.h"

#include "accounting/region.h"

#include <stdio.h>
#include <string.h>

struct copy ze_tables[COPIES];

/* ---- tables ---------------------------------------------------------------------------------------------- */

/* Where they stand in their tables: places are never given to others. */
struct place {
	enum call call;
	unsigned at;
	void *made[COPIES];
};

#define AT(name, place) \
	{ \
		CALL_##name, place, \
		{ \
			(void *)name##_of_table_0, (void *)name##_of_table_1, (void *)name##_of_table_2 \
		} \
	}

static const struct place memory[] = {
	AT(zeMemAllocShared, 0), AT(zeMemAllocDevice, 1), AT(zeMemAllocHost, 2), AT(zeMemFree, 3), AT(zeMemFreeExt, 9),
};
static const struct place physical[] = { AT(zePhysicalMemCreate, 0) };
static const struct place image[] = { AT(zeImageCreate, 1) };

#define VERSION_1_3 0x10003u /* from which on tables have the places that came last */

static void stand_in(const struct copy *copy, unsigned version, void **table, const struct place *places, size_t n)
{
	struct copy *below = &ze_tables[copy->index];

	below->library = LIBRARY_ZE;
	below->index = copy->index;
	below->map = copy->map;
	for (size_t i = 0; i < n; i++) {
		void **function = &table[places[i].at], *made = places[i].made[copy->index];

		if ((places[i].at == 9 && version < VERSION_1_3) || !*function || *function == made)
			continue;
		mc_store_release((void *_Atomic *)&below->real[places[i].call], *function);
		*function = made;
	}
}

#define FILL(copy, name, version, table, places) \
	int result = REAL(copy, name)(version, table); \
	if (!result && (table)) \
		stand_in(copy, version, table, places, sizeof(places) / sizeof((places)[0])); \
	return result;

int on_zeGetMemProcAddrTable(struct copy *copy, unsigned version, void **table)
{
	FILL(copy, zeGetMemProcAddrTable, version, table, memory)
}

int on_zeGetPhysicalMemProcAddrTable(struct copy *copy, unsigned version, void **table)
{
	FILL(copy, zeGetPhysicalMemProcAddrTable, version, table, physical)
}

int on_zeGetImageProcAddrTable(struct copy *copy, unsigned version, void **table)
{
	FILL(copy, zeGetImageProcAddrTable, version, table, image)
}

/* ---- devices --------------------------------------------------------------------------------------------- */

typedef int device_call(cu_handle device, void *first, void *second);

/* What the library exports, or where that is not ready what its table has. */
static int ask(struct copy *copy, const char *name, unsigned place, cu_handle device, void *first, void *second)
{
	device_call *exported, *of_table;
	int (*fill)(unsigned, void **), result = ZE_UNINITIALIZED;
	void *table[32] = { NULL };

	*(void **)&exported = resolve_in(copy, name);
	if (exported)
		result = exported(device, first, second);
	*(void **)&fill = resolve_in(copy, "zeGetDeviceProcAddrTable");
	if (result != (int)ZE_UNINITIALIZED || !fill || fill(VERSION_1_3, table) || !table[place])
		return result;
	*(void **)&of_table = table[place];
	return of_table(device, first, second);
}

static uint64_t capacity_of(struct copy *copy, cu_handle device)
{
	struct ze_memory all[8];
	unsigned n = sizeof(all) / sizeof(all[0]);
	uint64_t bytes = 0;

	memset(all, 0, sizeof(all));
	for (unsigned i = 0; i < n; i++)
		all[i].type = ZE_TYPE_MEMORY;
	if (ask(copy, "zeDeviceGetMemoryProperties", 6, device, &n, all))
		return 0;
	for (unsigned i = 0; i < n && i < sizeof(all) / sizeof(all[0]); i++)
		bytes += all[i].size;
	return bytes;
}

static int find_region(struct copy *copy, uint64_t device)
{
	cu_handle handle = (cu_handle)(uintptr_t)device; /* NOLINT: what a driver calls it */
	struct ze_pci pci = { .type = ZE_TYPE_PCI };
	char name[REGION_NAME_MAX + 1], address[REGION_ADDRESS_MAX + 1];
	int region;

	if (!device_member())
		return -1;
	if (ask(copy, "zeDevicePciGetPropertiesExt", 17, handle, &pci, NULL)) {
		device_member_mark(MEMBER_PARTIAL | MEMBER_PARTIAL_ZE);
		return -1;
	}
	(void)snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", pci.domain & 0xffff, pci.bus & 0xff,
		       pci.device & 0xff, pci.function & 0xf);
	(void)snprintf(name, sizeof(name), "level-zero/%s/vram", address);
	region = device_region_meet(name, address, capacity_of(copy, handle));
	if (region < 0)
		device_member_mark(MEMBER_PARTIAL | MEMBER_PARTIAL_ZE);
	return region;
}

static int region_of(struct copy *copy, cu_handle device)
{
	static struct plain_regions known[COPIES];

	return plain_region(&known[copy->index], copy, (uint64_t)(uintptr_t)device, find_region);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

int on_zeMemAllocDevice(struct copy *copy, cu_handle context, const void *how, size_t size, size_t alignment,
			cu_handle device, void **ptr)
{
	if (!context || !how || !size || !device || !ptr)
		return REAL(copy, zeMemAllocDevice)(context, how, size, alignment, device, ptr);
	PLAIN_ALLOCATE(region_of(copy, device), size, ZE_OUT_OF_DEVICE_MEMORY,
		       REAL(copy, zeMemAllocDevice)(context, how, size, alignment, device, ptr), ptr)
}

/* Of no device: as zeMemAllocHost's. */
int on_zeMemAllocShared(struct copy *copy, cu_handle context, const void *how, const void *how_on_host, size_t size,
			size_t alignment, cu_handle device, void **ptr)
{
	if (!device)
		device_member_mark(MEMBER_PARTIAL | MEMBER_PARTIAL_ZE);
	if (!context || !how || !how_on_host || !size || !device || !ptr)
		return REAL(copy, zeMemAllocShared)(context, how, how_on_host, size, alignment, device, ptr);
	PLAIN_ALLOCATE(region_of(copy, device), size, ZE_OUT_OF_DEVICE_MEMORY,
		       REAL(copy, zeMemAllocShared)(context, how, how_on_host, size, alignment, device, ptr), ptr)
}

int on_zeMemFree(struct copy *copy, cu_handle context, void *ptr)
{
	PLAIN_FREE(ptr, REAL(copy, zeMemFree)(context, ptr))
}

int on_zeMemFreeExt(struct copy *copy, cu_handle context, const void *how, void *ptr)
{
	PLAIN_FREE(ptr, REAL(copy, zeMemFreeExt)(context, how, ptr))
}
