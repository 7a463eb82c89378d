/* SPDX-License-Identifier: MIT */
/* The fake driver's physical memory: it lives while there is a handle or a mapping of it. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct location {
	int type, id;
};

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
	uint64_t serial; /* shared with other processes; 0: not */
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
	if (p->serial)
		fake_close(p->serial);
	else if (p->device >= 0)
		fake_give(fake_visible(p->device), p->size);
	p->magic = 0; /* the record stays: a stale handle is found out */
}

static struct physical *add(uint64_t size, int device, uint64_t serial)
{
	struct physical *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct physical){ .magic = MAGIC, .size = size, .device = device, .handles = 1, .serial = serial };
	return p;
}

SHOW int cuMemGetAllocationGranularity(size_t *grain, const struct properties *like, int option);
SHOW int cuMemGetAllocationGranularity(size_t *grain, const struct properties *like, int option)
{
	ENTER(cuMemGetAllocationGranularity)
	(void)like, (void)option;
	*grain = FAKE_BLOCK;
	LEAVE(cuMemGetAllocationGranularity, OK);
}

SHOW int cuMemCreate(uint64_t *handle, size_t size, const struct properties *like, unsigned long long flags);
SHOW int cuMemCreate(uint64_t *handle, size_t size, const struct properties *like, unsigned long long flags)
{
	int device;

	ENTER(cuMemCreate)
	if (!handle || !like || !size || size % FAKE_BLOCK || flags || like->type != 1)
		return INVALID_VALUE;
	device = like->location.type == 1 ? like->location.id : -1;
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

SHOW int cuMemRetainAllocationHandle(uint64_t *handle, void *addr);
SHOW int cuMemRetainAllocationHandle(uint64_t *handle, void *addr)
{
	struct mapping *m;

	ENTER(cuMemRetainAllocationHandle)
	m = mapping_at((uintptr_t)addr);
	if (!handle || !m)
		return INVALID_VALUE;
	m->of->handles++;
	*handle = (uintptr_t)m->of;
	LEAVE(cuMemRetainAllocationHandle, OK);
}

/* What goes through a descriptor. */
struct exported {
	int32_t pid, device;
	uint64_t size, handle, serial;
};

SHOW int cuMemExportToShareableHandle(void *shareable, uint64_t handle, int type, unsigned long long flags);
SHOW int cuMemExportToShareableHandle(void *shareable, uint64_t handle, int type, unsigned long long flags)
{
	struct physical *p;
	struct exported e;
	int fd;

	ENTER(cuMemExportToShareableHandle)
	p = find(handle);
	if (!shareable || !p || type != 1 || flags)
		return INVALID_VALUE;
	if (!p->serial && p->device >= 0)
		p->serial = fake_lend(fake_visible(p->device), p->size);
	e = (struct exported){
		.pid = getpid(), .device = p->device, .size = p->size, .handle = handle, .serial = p->serial
	};
	fd = memfd_create("fake-cuda", 0);
	if (fd < 0 || write(fd, &e, sizeof(e)) != sizeof(e))
		return OUT_OF_MEMORY;
	*(int *)shareable = fd;
	LEAVE(cuMemExportToShareableHandle, OK);
}

SHOW int cuMemImportFromShareableHandle(uint64_t *handle, void *shareable, int type);
SHOW int cuMemImportFromShareableHandle(uint64_t *handle, void *shareable, int type)
{
	struct exported e;
	struct physical *p;

	ENTER(cuMemImportFromShareableHandle)
	if (!handle || type != 1 || pread((int)(intptr_t)shareable, &e, sizeof(e), 0) != sizeof(e))
		return INVALID_VALUE;
	p = e.pid == getpid() ? find(e.handle) : NULL;
	if (p) {
		p->handles++;
	} else {
		fake_open(e.serial, fake_visible(e.device), e.size);
		p = add(e.size, e.device, e.serial);
	}
	*handle = (uintptr_t)p;
	LEAVE(cuMemImportFromShareableHandle, OK);
}
