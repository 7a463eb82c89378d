/* SPDX-License-Identifier: MIT */
/* The fake driver's multicast objects: handles as of physical memory, and what is bound to them. */
#include "tests/device/fake.h"

#define BINDINGS 256

static struct {
	uint64_t object, at, size, memory; /* object 0: unused */
	int device;
} binding[BINDINGS];

struct multicast_properties {
	unsigned devices;
	size_t size;
	unsigned long long handle_types, flags;
};

SHOW int cuMulticastGetGranularity(size_t *grain, const struct multicast_properties *like, int option);
SHOW int cuMulticastGetGranularity(size_t *grain, const struct multicast_properties *like, int option)
{
	ENTER(cuMulticastGetGranularity)
	(void)option;
	if (!grain || !like)
		return INVALID_VALUE;
	*grain = FAKE_BLOCK;
	LEAVE(cuMulticastGetGranularity, OK);
}

SHOW int cuMulticastCreate(uint64_t *handle, const struct multicast_properties *like);
SHOW int cuMulticastCreate(uint64_t *handle, const struct multicast_properties *like)
{
	ENTER(cuMulticastCreate)
	if (!handle || !like || !like->size || like->size % FAKE_BLOCK || !like->devices || like->flags)
		return INVALID_VALUE;
	*handle = fake_multicast_add(like->size, like->devices);
	LEAVE(cuMulticastCreate, OK);
}

SHOW int cuMulticastAddDevice(uint64_t handle, int device);
SHOW int cuMulticastAddDevice(uint64_t handle, int device)
{
	uint64_t size;
	unsigned *devices;

	ENTER(cuMulticastAddDevice)
	devices = fake_multicast_devices(handle, &size);
	if (!devices || !*devices)
		return INVALID_VALUE;
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	--*devices;
	LEAVE(cuMulticastAddDevice, OK);
}

static int bind_memory(uint64_t object, int device, uint64_t at, uint64_t memory, uint64_t offset, uint64_t size,
		       uint64_t flags)
{
	uint64_t whole;
	unsigned *devices = fake_multicast_devices(object, &whole), i = 0;

	if (!devices || !fake_physical_size(memory) || !size || at % FAKE_BLOCK || size % FAKE_BLOCK ||
	    offset % FAKE_BLOCK || at + size > whole || offset + size > fake_physical_size(memory) || flags)
		return INVALID_VALUE;
	if (*devices)
		return NOT_SUPPORTED; /* all of them come first */
	while (i < BINDINGS && binding[i].object)
		i++;
	if (i == BINDINGS || !fake_physical_hold(memory))
		return OUT_OF_MEMORY;
	binding[i].object = object;
	binding[i].device = device < 0 ? fake_physical_device(memory) : device;
	binding[i].at = at;
	binding[i].size = size;
	binding[i].memory = memory;
	return OK;
}

static void let(unsigned i)
{
	binding[i].object = 0;
	fake_physical_let(binding[i].memory);
}

void fake_multicast_end(uint64_t handle)
{
	for (unsigned i = 0; i < BINDINGS; i++)
		if (binding[i].object == handle)
			let(i);
}

SHOW int cuMulticastBindMem(uint64_t object, size_t at, uint64_t memory, size_t offset, size_t size,
			    unsigned long long flags);
SHOW int cuMulticastBindMem(uint64_t object, size_t at, uint64_t memory, size_t offset, size_t size,
			    unsigned long long flags)
{
	ENTER(cuMulticastBindMem)
	LEAVE(cuMulticastBindMem, bind_memory(object, -1, at, memory, offset, size, flags));
}

SHOW int cuMulticastBindMem_v2(uint64_t object, int device, size_t at, uint64_t memory, size_t offset, size_t size,
			       unsigned long long flags);
SHOW int cuMulticastBindMem_v2(uint64_t object, int device, size_t at, uint64_t memory, size_t offset, size_t size,
			       unsigned long long flags)
{
	ENTER(cuMulticastBindMem_v2)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	LEAVE(cuMulticastBindMem_v2, bind_memory(object, device, at, memory, offset, size, flags));
}

SHOW int cuMulticastBindAddr(uint64_t object, size_t at, uint64_t ptr, size_t size, unsigned long long flags);
SHOW int cuMulticastBindAddr(uint64_t object, size_t at, uint64_t ptr, size_t size, unsigned long long flags)
{
	ENTER(cuMulticastBindAddr)
	LEAVE(cuMulticastBindAddr, bind_memory(object, -1, at, fake_physical_at(ptr), 0, size, flags));
}

SHOW int cuMulticastBindAddr_v2(uint64_t object, int device, size_t at, uint64_t ptr, size_t size,
				unsigned long long flags);
SHOW int cuMulticastBindAddr_v2(uint64_t object, int device, size_t at, uint64_t ptr, size_t size,
				unsigned long long flags)
{
	ENTER(cuMulticastBindAddr_v2)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	LEAVE(cuMulticastBindAddr_v2, bind_memory(object, device, at, fake_physical_at(ptr), 0, size, flags));
}

SHOW int cuMulticastUnbind(uint64_t object, int device, size_t at, size_t size);
SHOW int cuMulticastUnbind(uint64_t object, int device, size_t at, size_t size)
{
	ENTER(cuMulticastUnbind)
	for (unsigned i = 0; i < BINDINGS; i++)
		if (object && binding[i].object == object && binding[i].device == device && binding[i].at == at &&
		    binding[i].size == size) {
			let(i);
			LEAVE(cuMulticastUnbind, OK);
		}
	LEAVE(cuMulticastUnbind, INVALID_VALUE);
}
