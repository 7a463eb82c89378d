/* SPDX-License-Identifier: MIT */
/* OpenCL's devices and contexts: which regions they are. A device is named by its UUID or by where
 * it is plugged in; one that tells neither, as the CPU, by its name. */
#include "device/opencl.h"

#include "accounting/region.h"

#include <stdio.h>
#include <string.h>

#define DEVICES_MAX 64u

static bool ask(cl_handle device, unsigned what, size_t size, void *value)
{
	return BELOW(clGetDeviceInfo)(device, what, size, value, NULL) == CL_DONE;
}

static bool find_address(cl_handle device, char address[REGION_ADDRESS_MAX + 1])
{
	struct cl_pci at = { 0 };
	unsigned slot = 0;

	if (!ask(device, CL_DEVICE_PCI, sizeof(at), &at)) {
		if (!ask(device, CL_DEVICE_PCI_BUS_NV, sizeof(at.bus), &at.bus) ||
		    !ask(device, CL_DEVICE_PCI_SLOT_NV, sizeof(slot), &slot))
			return false;
		(void)ask(device, CL_DEVICE_PCI_DOMAIN_NV, sizeof(at.domain), &at.domain);
		at.device = slot >> 3;
		at.function = slot & 7;
	}
	(void)snprintf(address, REGION_ADDRESS_MAX + 1, "%04x:%02x:%02x.%x", at.domain & 0xffff, at.bus & 0xff,
		       at.device & 0xff, at.function & 0xf);
	return true;
}

static char plain(char c)
{
	bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_';

	return ok ? c : '-';
}

/* "opencl/cpu-<name>/vram", one dash for each run of what a region's name cannot have. */
static void name_by_model(cl_handle device, bool is_cpu, char *name)
{
	char text[256] = "";
	char *at = name + sprintf(name, "opencl/%s", is_cpu ? "cpu-" : ""), *end = name + REGION_NAME_MAX - 5;

	(void)ask(device, CL_DEVICE_NAME, sizeof(text) - 1, text);
	for (const char *c = text; *c && at < end; c++)
		if (plain(*c) != '-' || at[-1] != '-')
			*at++ = plain(*c);
	while (at[-1] == '-')
		at--;
	strcpy(at, "/vram");
}

static bool has_uuid(cl_handle device, unsigned char uuid[16])
{
	unsigned char any = 0;

	if (!ask(device, CL_DEVICE_UUID, 16, uuid))
		return false;
	for (unsigned i = 0; i < 16; i++)
		any |= uuid[i];
	return any != 0;
}

/* By UUID as CUDA and Vulkan name it. */
static void name_by_uuid(const unsigned char uuid[16], unsigned vendor, char *name)
{
	char *at = name;

	if (vendor == CL_VENDOR_NVIDIA) {
		device_region_name_nvidia(uuid, name);
		return;
	}
	at += sprintf(at, "vulkan/");
	for (unsigned i = 0; i < 16; i++)
		at += sprintf(at, "%02x", uuid[i]);
	strcpy(at, "/vram");
}

int opencl_region(cl_handle device)
{
	char name[REGION_NAME_MAX + 1], address[REGION_ADDRESS_MAX + 1] = "";
	unsigned vendor = 0;
	uint64_t type = 0, capacity = 0;
	unsigned char uuid[16];

	if (!device_member() || !ask(device, CL_DEVICE_TYPE, sizeof(type), &type))
		return -1;
	(void)ask(device, CL_DEVICE_VENDOR_ID, sizeof(vendor), &vendor);
	(void)ask(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(capacity), &capacity);
	if ((type & CL_TYPE_CPU) || !find_address(device, address))
		address[0] = 0;
	if (!(type & CL_TYPE_CPU) && has_uuid(device, uuid))
		name_by_uuid(uuid, vendor, name);
	else if (address[0])
		(void)sprintf(name, "opencl/%s/vram", address);
	else
		name_by_model(device, type & CL_TYPE_CPU, name);
	return device_region_meet(name, address, capacity);
}

/* ---- contexts */

static unsigned devices_of(cl_handle context, cl_handle devices[DEVICES_MAX])
{
	size_t size = 0;

	if (BELOW(clGetContextInfo)(context, CL_CONTEXT_DEVICES, DEVICES_MAX * sizeof(*devices), devices, &size))
		return 0;
	return (unsigned)(size / sizeof(*devices));
}

bool opencl_is_beyond_devices(cl_handle context, size_t size)
{
	cl_handle devices[DEVICES_MAX];
	unsigned n = devices_of(context, devices);
	uint64_t most;

	for (unsigned i = 0; i < n; i++)
		if (!ask(devices[i], CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(most), &most) || size <= most)
			return false;
	return n > 0;
}

/* False: it cannot be charged. */
static bool add(struct opencl_regions *r, cl_handle device)
{
	int region = opencl_region(device);
	unsigned is_host = 0, i = 0;

	if (region <= 0)
		return false;
	(void)ask(device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(is_host), &is_host);
	while (i < r->n && r->resource[i] != region)
		i++;
	if (i == OPENCL_REGIONS_MAX)
		return false;
	r->resource[i] = (int8_t)region;
	r->is_host[i] = is_host != 0;
	r->n = i == r->n ? i + 1 : r->n;
	return true;
}

static void meet(cl_handle context, struct opencl_regions *ret)
{
	cl_handle devices[DEVICES_MAX];
	unsigned n = devices_of(context, devices);

	for (unsigned i = 0; i < n; i++)
		if (!add(ret, devices[i]))
			device_member_mark_partial();
}

_Static_assert(sizeof(((struct opencl_regions *)0)->resource) == 4, "they fit into an entry");

static void unpack(const struct ledger_entry *e, struct opencl_regions *ret)
{
	ret->n = e->handles;
	memcpy(ret->resource, &e->size, sizeof(ret->resource));
	for (unsigned i = 0; i < OPENCL_REGIONS_MAX; i++)
		ret->is_host[i] = e->of >> i & 1;
}

static void remember(cl_handle context, const struct opencl_regions *r)
{
	struct ledger_entry e = { .key = (uintptr_t)context, .kind = LEDGER_CONTEXT, .handles = r->n };

	memcpy(&e.size, r->resource, sizeof(r->resource));
	for (unsigned i = 0; i < OPENCL_REGIONS_MAX; i++)
		e.of |= (uint64_t)r->is_host[i] << i;
	(void)ledger_put(&e);
}

void opencl_regions_of(cl_handle context, struct opencl_regions *ret)
{
	struct ledger_entry e;

	*ret = (struct opencl_regions){ 0 };
	if (ledger_find(LEDGER_CONTEXT, (uintptr_t)context, &e)) {
		unpack(&e, ret);
	} else if (context && device_member()) { /* else it may become one */
		meet(context, ret);
		if (ret->n)
			remember(context, ret);
	}
}

void opencl_context_is_new(cl_handle context)
{
	(void)ledger_take(LEDGER_CONTEXT, (uintptr_t)context, NULL);
}

cl_handle opencl_clCreateContext(const intptr_t *properties, unsigned n, const cl_handle *devices, cl_notify *notify,
				 void *arg, int *err)
{
	cl_handle context = BELOW(clCreateContext)(properties, n, devices, notify, arg, err);

	opencl_context_is_new(context);
	return context;
}

cl_handle opencl_clCreateContextFromType(const intptr_t *properties, uint64_t type, cl_notify *notify, void *arg,
					 int *err)
{
	cl_handle context = BELOW(clCreateContextFromType)(properties, type, notify, arg, err);

	opencl_context_is_new(context);
	return context;
}
