/* SPDX-License-Identifier: MIT */
/* The fake driver's imports of what other APIs have made. A descriptor that this driver has made
 * stands for another API's on the same device; what any other one is of, this driver does not
 * know. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <unistd.h>

struct fake_external {
	struct fake_external *next;
	struct fake_context *context;
	uint64_t size, serial; /* 0: another driver's */
	int device, uses;      /* the object, and what is mapped of it */
	bool is_destroyed;
};

static struct fake_external *externals;

struct description {
	int type, unused;
	union {
		int fd;
		void *pointer[2];
	};
	uint64_t size;
	unsigned flags, reserved[16];
};

static struct fake_external *find(const struct fake_external *of)
{
	struct fake_external *e = externals;

	while (e && (e != of || e->is_destroyed))
		e = e->next;
	return e;
}

/* The record stays: a stale handle is found out. */
void fake_external_let(struct fake_external *e)
{
	if (--e->uses == 0 && e->serial)
		fake_close(e->serial);
}

void fake_external_end(const struct fake_context *context)
{
	for (struct fake_external *e = externals; e; e = e->next)
		if (e->context == context && !e->is_destroyed) {
			e->is_destroyed = true;
			fake_external_let(e);
		}
}

static int import(struct fake_external **ret, const struct description *what)
{
	struct fake_exported from = { .device = 0 };
	struct fake_external *e;

	if (!fake_current())
		return INVALID_CONTEXT;
	if (lseek(what->fd, 0, SEEK_CUR) < 0 && what->fd < 0)
		return INVALID_VALUE;
	if (pread(what->fd, &from, sizeof(from), 0) != sizeof(from) || from.size < what->size)
		from = (struct fake_exported){ .size = what->size };
	e = calloc(1, sizeof(*e));
	if (!e)
		abort();
	*e = (struct fake_external){ .next = externals,
				     .context = fake_current(),
				     .size = what->size,
				     .serial = from.serial,
				     .device = from.device,
				     .uses = 1 };
	if (from.serial)
		fake_open(from.serial, fake_visible(from.device), from.size);
	externals = *ret = e;
	return close(what->fd) ? INVALID_VALUE : OK; /* it is the driver's now */
}

SHOW int cuImportExternalMemory(struct fake_external **ret, const struct description *what);
SHOW int cuImportExternalMemory(struct fake_external **ret, const struct description *what)
{
	ENTER(cuImportExternalMemory)
	if (!ret || !what || what->type != 1 || !what->size)
		return INVALID_VALUE;
	LEAVE(cuImportExternalMemory, import(ret, what));
}

struct part {
	uint64_t offset, size;
	unsigned flags, reserved[16];
};

SHOW int cuExternalMemoryGetMappedBuffer(uint64_t *ptr, struct fake_external *of, const struct part *part);
SHOW int cuExternalMemoryGetMappedBuffer(uint64_t *ptr, struct fake_external *of, const struct part *part)
{
	struct fake_external *e;
	struct fake_block *b;

	ENTER(cuExternalMemoryGetMappedBuffer)
	e = find(of);
	if (!e)
		return INVALID_HANDLE;
	if (!ptr || !part || !part->size || part->offset + part->size > e->size || part->flags)
		return INVALID_VALUE;
	pthread_mutex_lock(&fake_lock);
	*ptr = fake_new_address(part->size);
	b = fake_block_add(*ptr, part->size, e->device, KIND_EXTERNAL);
	b->external = e;
	e->uses++;
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuExternalMemoryGetMappedBuffer, OK);
}

SHOW int cuExternalMemoryGetMappedMipmappedArray(struct fake_array **ret, struct fake_external *of, const void *what);
SHOW int cuExternalMemoryGetMappedMipmappedArray(struct fake_array **ret, struct fake_external *of, const void *what)
{
	struct fake_external *e;

	ENTER(cuExternalMemoryGetMappedMipmappedArray)
	e = find(of);
	if (!e)
		return INVALID_HANDLE;
	if (!ret || !what)
		return INVALID_VALUE;
	*ret = fake_array_add(e->context);
	(*ret)->is_mipmap = true;
	(*ret)->external = e;
	e->uses++;
	LEAVE(cuExternalMemoryGetMappedMipmappedArray, OK);
}

SHOW int cuDestroyExternalMemory(struct fake_external *of);
SHOW int cuDestroyExternalMemory(struct fake_external *of)
{
	struct fake_external *e;

	ENTER(cuDestroyExternalMemory)
	e = find(of);
	if (!e)
		return INVALID_HANDLE;
	e->is_destroyed = true;
	fake_external_let(e);
	LEAVE(cuDestroyExternalMemory, OK);
}
