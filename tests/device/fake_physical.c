/* SPDX-License-Identifier: MIT */
/* The fake driver's physical memory: it lives while there is a handle or a mapping of it. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct location {
	int type, id;
};

#define PART_OF_DEVICE 5 /* the device's number is the first byte, the part's the second */

struct properties {
	int type, handle_types;
	struct location location;
	void *security;
	unsigned char flags[8];
};

struct physical {
	uint64_t magic;
	uint64_t size;
	int device; /* -1: the host's */
	int handles, maps;
	uint64_t serial;   /* shared with other processes; 0: not */
	bool is_multicast; /* an object, no memory */
	unsigned devices;  /* of it, that are still to be added */
};

#define MAGIC 0x70687973ull

struct mapping {
	struct mapping *next;
	uint64_t ptr, size;
	struct physical *of;
};

static struct mapping *mappings;

static struct physical *find(uint64_t handle)
{
	struct physical *p = (struct physical *)(uintptr_t)handle; /* NOLINT: what we handed out */

	return handle > 4096 && handle % 16 == 0 && p->magic == MAGIC ? p : NULL;
}

static void drop_if_unused(struct physical *p)
{
	if (p->handles || p->maps)
		return;
	if (p->is_multicast)
		fake_multicast_end((uintptr_t)p);
	else if (p->serial)
		fake_close(p->serial);
	else if (p->device >= 0)
		fake_give(fake_visible(p->device), p->size);
	p->magic = 0; /* the record stays: a stale handle is found out */
}

/* ---- what else keeps it ---------------------------------------------------------------------------------- */

bool fake_physical_hold(uint64_t handle)
{
	struct physical *p = find(handle);

	if (!p || (!p->handles && !p->maps))
		return false;
	p->maps++;
	return true;
}

void fake_physical_let(uint64_t handle)
{
	struct physical *p = find(handle);

	p->maps--;
	drop_if_unused(p);
}

uint64_t fake_physical_size(uint64_t handle)
{
	struct physical *p = find(handle);

	return p && !p->is_multicast ? p->size : 0;
}

int fake_physical_device(uint64_t handle)
{
	return find(handle)->device;
}

unsigned *fake_multicast_devices(uint64_t handle, uint64_t *size)
{
	struct physical *p = find(handle);

	if (!p || !p->is_multicast)
		return NULL;
	*size = p->size;
	return &p->devices;
}

/* ---- making it ------------------------------------------------------------------------------------------- */

static struct physical *add(uint64_t size, int device, uint64_t serial)
{
	struct physical *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct physical){ .magic = MAGIC, .size = size, .device = device, .handles = 1, .serial = serial };
	return p;
}

uint64_t fake_multicast_add(uint64_t size, unsigned devices)
{
	struct physical *p = add(size, -1, 0);

	p->is_multicast = true;
	p->devices = devices;
	return (uintptr_t)p;
}

SHOW int cuMemGetAllocationPropertiesFromHandle(struct properties *ret, uint64_t handle);
SHOW int cuMemGetAllocationPropertiesFromHandle(struct properties *ret, uint64_t handle)
{
	struct physical *p;

	ENTER(cuMemGetAllocationPropertiesFromHandle)
	p = find(handle);
	if (!ret || !p)
		return INVALID_VALUE;
	*ret = (struct properties){ .type = 1, .location = { p->device < 0 ? 2 : 1, p->device < 0 ? 0 : p->device } };
	LEAVE(cuMemGetAllocationPropertiesFromHandle, OK);
}

SHOW int cuMemGetAllocationGranularity(size_t *grain, const struct properties *like, int option);
SHOW int cuMemGetAllocationGranularity(size_t *grain, const struct properties *like, int option)
{
	ENTER(cuMemGetAllocationGranularity)
	(void)option;
	if (!grain || !like || like->location.type > PART_OF_DEVICE)
		return INVALID_VALUE;
	*grain = FAKE_BLOCK;
	LEAVE(cuMemGetAllocationGranularity, OK);
}

SHOW int cuMemCreate(uint64_t *handle, size_t size, const struct properties *like, unsigned long long flags);
SHOW int cuMemCreate(uint64_t *handle, size_t size, const struct properties *like, unsigned long long flags)
{
	int device;

	ENTER(cuMemCreate)
	if (!handle || !like || !size || size % FAKE_BLOCK || flags || like->type != 1 ||
	    like->location.type > PART_OF_DEVICE)
		return INVALID_VALUE;
	device = like->location.type == 1		 ? like->location.id
		 : like->location.type == PART_OF_DEVICE ? like->location.id & 0xff
							 : -1;
	if (device >= 0 && !fake_is_device(device))
		return INVALID_DEVICE;
	if (device >= 0 && !fake_take(fake_visible(device), size))
		return OUT_OF_MEMORY;
	*handle = (uintptr_t)add(size, device, 0);
	LEAVE(cuMemCreate, OK);
}

SHOW int cuMemRelease(uint64_t handle);
SHOW int cuMemRelease(uint64_t handle)
{
	struct physical *p;

	ENTER(cuMemRelease)
	p = find(handle);
	if (!p || !p->handles)
		return INVALID_VALUE;
	p->handles--;
	drop_if_unused(p);
	LEAVE(cuMemRelease, OK);
}

SHOW int cuMemAddressReserve(uint64_t *ptr, size_t size, size_t alignment, uint64_t wish, unsigned long long flags);
SHOW int cuMemAddressReserve(uint64_t *ptr, size_t size, size_t alignment, uint64_t wish, unsigned long long flags)
{
	ENTER(cuMemAddressReserve)
	(void)alignment, (void)wish, (void)flags;
	if (!ptr || !size || size % FAKE_BLOCK)
		return INVALID_VALUE;
	*ptr = fake_new_address(size);
	LEAVE(cuMemAddressReserve, OK);
}

SHOW int cuMemAddressFree(uint64_t ptr, size_t size);
SHOW int cuMemAddressFree(uint64_t ptr, size_t size)
{
	ENTER(cuMemAddressFree)
	(void)size;
	LEAVE(cuMemAddressFree, ptr ? OK : INVALID_VALUE);
}

static struct mapping *mapping_at(uint64_t ptr)
{
	struct mapping *m = mappings;

	while (m && m->ptr != ptr)
		m = m->next;
	return m;
}

SHOW int cuMemMap(uint64_t ptr, size_t size, size_t offset, uint64_t handle, unsigned long long flags);
SHOW int cuMemMap(uint64_t ptr, size_t size, size_t offset, uint64_t handle, unsigned long long flags)
{
	struct physical *p;
	struct mapping *m;

	ENTER(cuMemMap)
	p = find(handle);
	if (!p || flags || !size || size % FAKE_BLOCK || offset + size > p->size)
		return INVALID_VALUE;
	if (mapping_at(ptr))
		return ALREADY_MAPPED;
	m = calloc(1, sizeof(*m));
	if (!m)
		abort();
	*m = (struct mapping){ .next = mappings, .ptr = ptr, .size = size, .of = p };
	mappings = m;
	p->maps++;
	LEAVE(cuMemMap, OK);
}

static void unmap(struct mapping *m)
{
	struct mapping **at = &mappings;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	m->of->maps--;
	drop_if_unused(m->of);
	free(m);
}

SHOW int cuMemUnmap(uint64_t ptr, size_t size);
SHOW int cuMemUnmap(uint64_t ptr, size_t size)
{
	bool any = false;

	ENTER(cuMemUnmap)
	for (struct mapping *m = mappings; m; m = m->next)
		if (m->ptr < ptr + size && m->ptr + m->size > ptr && (m->ptr < ptr || m->ptr + m->size > ptr + size))
			return INVALID_VALUE; /* part of a mapping */
	for (struct mapping *m = mappings, *next; m; m = next) {
		next = m->next;
		if (m->ptr >= ptr && m->ptr + m->size <= ptr + size) {
			unmap(m);
			any = true;
		}
	}
	LEAVE(cuMemUnmap, any ? OK : INVALID_VALUE);
}

SHOW int cuMemSetAccess(uint64_t ptr, size_t size, const void *access, size_t n);
SHOW int cuMemSetAccess(uint64_t ptr, size_t size, const void *access, size_t n)
{
	ENTER(cuMemSetAccess)
	(void)size, (void)access, (void)n;
	LEAVE(cuMemSetAccess, mapping_at(ptr) ? OK : INVALID_VALUE);
}

/* That which lies there, wherever in it. */
static struct mapping *mapping_around(uint64_t ptr)
{
	struct mapping *m = mappings;

	while (m && (ptr < m->ptr || ptr - m->ptr >= m->size))
		m = m->next;
	return m;
}

uint64_t fake_physical_at(uint64_t ptr)
{
	struct mapping *m = mapping_around(ptr);

	return m ? (uintptr_t)m->of : 0;
}

SHOW int cuMemRetainAllocationHandle(uint64_t *handle, void *addr);
SHOW int cuMemRetainAllocationHandle(uint64_t *handle, void *addr)
{
	struct mapping *m;

	ENTER(cuMemRetainAllocationHandle)
	m = mapping_around((uintptr_t)addr);
	if (!handle || !m)
		return INVALID_VALUE;
	m->of->handles++;
	*handle = (uintptr_t)m->of;
	LEAVE(cuMemRetainAllocationHandle, OK);
}

SHOW int cuMemExportToShareableHandle(void *shareable, uint64_t handle, int type, unsigned long long flags);
SHOW int cuMemExportToShareableHandle(void *shareable, uint64_t handle, int type, unsigned long long flags)
{
	struct physical *p;
	struct fake_exported e;
	int fd;

	ENTER(cuMemExportToShareableHandle)
	p = find(handle);
	if (!shareable || !p || type != 1 || flags)
		return INVALID_VALUE;
	if (!p->serial && p->device >= 0)
		p->serial = fake_lend(fake_visible(p->device), p->size);
	e = (struct fake_exported){ .pid = getpid(),
				    .device = p->device,
				    .size = p->size,
				    .handle = handle,
				    .serial = p->serial,
				    .is_multicast = p->is_multicast ? p->devices + 1 : 0 };
	fd = memfd_create("fake-cuda", 0);
	if (fd < 0 || write(fd, &e, sizeof(e)) != sizeof(e))
		return OUT_OF_MEMORY;
	*(int *)shareable = fd;
	LEAVE(cuMemExportToShareableHandle, OK);
}

SHOW int cuMemImportFromShareableHandle(uint64_t *handle, void *shareable, int type);
SHOW int cuMemImportFromShareableHandle(uint64_t *handle, void *shareable, int type)
{
	struct fake_exported e;
	struct physical *p;

	ENTER(cuMemImportFromShareableHandle)
	if (!handle || type != 1 || pread((int)(intptr_t)shareable, &e, sizeof(e), 0) != sizeof(e))
		return INVALID_VALUE;
	p = e.pid == getpid() ? find(e.handle) : NULL;
	if (p) {
		p->handles++;
	} else if (e.is_multicast) {
		p = find(fake_multicast_add(e.size, e.is_multicast - 1));
	} else {
		if (e.serial)
			fake_open(e.serial, fake_visible(e.device), e.size);
		p = add(e.size, e.device, e.serial);
	}
	*handle = (uintptr_t)p;
	LEAVE(cuMemImportFromShareableHandle, OK);
}
