/* SPDX-License-Identifier: MIT */
/* Vulkan's memory objects: charged when they are made, given back when they or their device go. */
#include "device/vulkan.h"

#include "device/heirs.h"

#include "accounting/region.h"
#include "accounting/sys.h"

#include <stdio.h>

/* ---- which region a device is */

static bool is_zero(const unsigned char uuid[16])
{
	unsigned char any = 0;

	for (unsigned i = 0; i < 16; i++)
		any |= uuid[i];
	return !any;
}

/* NVIDIA's UUID is the one that CUDA tells. Of a driver on the CPU it names a version, or nothing.
 */
static void name_region(const struct vk_properties2 *p, const struct vk_id *id, char *name)
{
	bool is_named = !is_zero(id->device) && p->kind != VK_KIND_CPU;
	char *at = name;

	if (is_named && p->vendor == VK_VENDOR_NVIDIA) {
		device_region_name_nvidia(id->device, name);
		return;
	}
	at += sprintf(at, "vulkan/%s", p->kind == VK_KIND_CPU ? "cpu-" : "");
	if (!is_named)
		at += sprintf(at, "%04x-%04x", p->vendor & 0xffffff, p->device & 0xffffff);
	for (unsigned i = 0; i < 16 && is_named; i++)
		at += sprintf(at, "%02x", id->device[i]);
	(void)sprintf(at, "/vram");
}

static uint64_t capacity_of(struct vulkan_instance *i, vk_handle physical)
{
	struct vk_memories m = { 0 };
	uint64_t bytes = 0;

	i->memories(physical, &m);
	for (uint32_t h = 0; h < m.heaps && h < VK_HEAPS_MAX; h++)
		if (m.heap[h].flags & VK_DEVICE_LOCAL)
			bytes += m.heap[h].size;
	return bytes;
}

int vulkan_region(struct vulkan_instance *i, vk_handle physical)
{
	struct vk_pci pci = { .chain = { VK_PCI_PROPERTIES, NULL } };
	struct vk_id id = { .chain = { VK_ID_PROPERTIES, &pci.chain } };
	struct vk_properties2 p = { .chain = { VK_PROPERTIES_2, &id.chain } };
	char name[REGION_NAME_MAX + 1], address[REGION_ADDRESS_MAX + 1] = "";

	if (!i->properties2 || !device_member())
		return -1;
	i->properties2(physical, &p);
	name_region(&p, &id, name);
	if (pci.bus | pci.device)
		(void)snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", pci.domain & 0xffff, pci.bus & 0xff,
			       pci.device & 0xff, pci.function & 0xf);
	return device_region_meet(name, address, capacity_of(i, physical));
}

static int region_of(struct vulkan_device *d)
{
	uint32_t known = mc_load_relaxed(&d->region);
	int region;

	if (__builtin_expect(known != 0, 1))
		return known == VULKAN_REGION_NONE ? -1 : (int)known;
	if (!device_member()) /* it may become one */
		return -1;
	region = vulkan_region(d->instance, d->physical);
	if (region <= 0)
		device_member_mark_partial();
	mc_store_relaxed(&d->region, region <= 0 ? VULKAN_REGION_NONE : (uint32_t)region);
	return region <= 0 ? -1 : region;
}

/* ---- memory objects */

/* Handles are unique within a device; those that are addresses leave the upper bits free. */
static uint64_t key_of(const struct vulkan_device *d, vk_memory memory)
{
	return memory ^ (d->number + 1) << 48;
}

static bool is_import(const struct vk_chain *c)
{
	switch (c->type) {
	case VK_IMPORT_FD:
	case VK_IMPORT_HOST_POINTER:
		return ((const struct vk_import *)c)->handle_type != 0;
	case VK_IMPORT_ANDROID:
	case VK_IMPORT_ZIRCON:
		return true;
	default:
		return false;
	}
}

static bool is_new(const struct vk_allocate *info)
{
	for (const struct vk_chain *c = info->chain.next; c; c = c->next)
		if (is_import(c))
			return false;
	return true;
}

/* Memory on the host that the driver takes for the device is not seen as the program's own. */
static bool is_charged(const struct vulkan_device *d, const struct vk_allocate *info)
{
	if (!info || !info->size || info->type >= VK_TYPES_MAX || !is_new(info))
		return false;
	if (d->local_types >> info->type & 1)
		return true;
	device_member_mark_partial();
	return false;
}

static void keep(const struct vulkan_device *d, vk_memory memory, int resource, const struct device_paid *paid)
{
	const struct ledger_entry e = {
		.key = key_of(d, memory),
		.of = d->number,
		.kind = LEDGER_ALLOCATION,
		.resource = (int8_t)resource,
		.paid = *paid,
	};

	if (paid->units)
		(void)ledger_put(&e);
}

/* ---- what goes through descriptors */

static uint64_t name_of_import(const struct vk_allocate *info)
{
	for (const struct vk_chain *c = info->chain.next; c; c = c->next)
		if (c->type == VK_IMPORT_FD && is_import(c))
			return heirs_name_of_descriptor(((const struct vk_import_fd *)c)->fd);
	return 0;
}

/* The descriptor is the driver's afterwards: its name is read before. */
static vk_result import(const struct vulkan_device *d, vk_handle device, const struct vk_allocate *info,
			const void *allocator, vk_memory *ret)
{
	struct ledger_entry e = {
		.of = d->number, .size = name_of_import(info), .kind = LEDGER_ALLOCATION, .resource = -1
	};
	vk_result result = d->allocate(device, info, allocator, ret);

	if (result || !e.size || !heirs_borrow(&e.size))
		return result;
	e.key = key_of(d, *ret);
	(void)ledger_put(&e);
	return result;
}

vk_result vulkan_get_fd(vk_handle device, const struct vk_get_fd *info, int *ret)
{
	struct vulkan_device *d = vulkan_device_of(device);
	vk_result result = d->get_fd(device, info, ret);
	struct ledger_entry e;

	if (result || !ledger_find(LEDGER_ALLOCATION, key_of(d, info->memory), &e))
		return result;
	if (!e.size) {
		e.size = heirs_lend_by_number(&e);
		(void)ledger_set_size(LEDGER_ALLOCATION, e.key, e.size, NULL);
	}
	if (!e.size || !heirs_sign(*ret, e.size))
		device_member_mark_partial();
	return result;
}

static void give(const struct ledger_entry *e)
{
	if (e->size)
		e->paid.units ? heirs_give(e->size) : heirs_leave(e->size);
	device_charge_return(&e->paid);
}

/* ---- allocating and freeing */

vk_result vulkan_allocate(vk_handle device, const struct vk_allocate *info, const void *allocator, vk_memory *ret)
{
	struct vulkan_device *d = vulkan_device_of(device);
	struct device_charge charge;
	struct device_paid paid;
	vk_result result;
	uint64_t bytes;
	int resource;

	if (!ret || !is_charged(d, info))
		return ret && info ? import(d, device, info, allocator, ret)
				   : d->allocate(device, info, allocator, ret);
	resource = region_of(d);
	bytes = info->size;
	if (!device_charge_reserve(&charge, resource, bytes))
		return VK_OUT_OF_DEVICE_MEMORY;
	DEVICE_CALL(result, d->allocate(device, info, allocator, ret),
		    result == VK_OUT_OF_DEVICE_MEMORY && device_full(&charge, bytes));
	if (result) {
		device_charge_cancel(&charge);
		return result;
	}
	device_charge_commit(&charge, bytes, &paid);
	keep(d, *ret, resource, &paid);
	return result;
}

/* Taken out before: afterwards the handle may be another thread's. The driver cannot fail. */
void vulkan_free(vk_handle device, vk_memory memory, const void *allocator)
{
	struct vulkan_device *d = vulkan_device_of(device);
	struct ledger_entry e;
	bool known = memory && ledger_take(LEDGER_ALLOCATION, key_of(d, memory), &e);

	d->free(device, memory, allocator);
	if (known)
		give(&e);
}

static void sweep_one(const struct vulkan_device *d, uint64_t key)
{
	struct ledger_entry e;

	if (ledger_find(LEDGER_ALLOCATION, key, &e) && e.of == d->number && ledger_take(LEDGER_ALLOCATION, key, &e))
		give(&e);
}

void vulkan_memory_sweep(const struct vulkan_device *d)
{
	size_t n = ledger_keys(LEDGER_ALLOCATION, NULL, 0) + 64; /* other devices may get more */
	uint64_t *keys;
	size_t found;

	if (!ledger_count(LEDGER_ALLOCATION))
		return;
	keys = device_pages(n * sizeof(*keys), PAGES_ABSENT);
	if (!keys)
		return;
	found = ledger_keys(LEDGER_ALLOCATION, keys, n);
	for (size_t i = 0; i < found && i < n; i++)
		sweep_one(d, keys[i]);
	(void)sys_munmap(keys, n * sizeof(*keys));
}
