/* SPDX-License-Identifier: MIT */
/* The layer as the loader sees it: instances, devices, and which functions are ours. */
#include "device/vulkan.h"

#include "accounting/sys.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define FILLING 1u
#define LIVE_MAX 65535u /* a device's number is 16 bits of a ledger's key */

/* What lives in this process: addresses, of which only those in use get pages. */
static struct table {
	mc_word32 instances, devices; /* how many were in use at once, at most */
	struct vulkan_instance instance[LIVE_MAX];
	struct vulkan_device device[LIVE_MAX];
} * table; /* sync: swapped from NULL */

static struct table *make_table(void)
{
	struct table *none = NULL;
	long at;

	if (__atomic_load_n(&table, __ATOMIC_ACQUIRE))
		return table;
	at = sys_mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_error(at))
		return NULL;
	if (!__atomic_compare_exchange_n(&table, &none, (struct table *)at, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) /* NOLINT: the kernel's answer is an address */
		(void)sys_munmap((void *)at, sizeof(*table));
	return table;
}

static uint64_t key_of(vk_handle handle)
{
	return (uint64_t)(uintptr_t)(*(void **)handle);
}

struct vulkan_instance *vulkan_instance_of(vk_handle handle)
{
	uint64_t key = handle ? key_of(handle) : 0;
	struct table *t = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
	unsigned n = t ? mc_load_acquire(&t->instances) : 0;

	for (unsigned i = 0; key && i < n; i++)
		if (mc_load_acquire(&t->instance[i].key) == key)
			return &t->instance[i];
	return NULL;
}

struct vulkan_device *vulkan_device_of(vk_handle handle)
{
	uint64_t key = handle ? key_of(handle) : 0;
	struct table *t = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
	unsigned n = t ? mc_load_acquire(&t->devices) : 0;

	for (unsigned i = 0; key && i < n; i++)
		if (mc_load_acquire(&t->device[i].key) == key)
			return &t->device[i];
	return NULL;
}

static void raise_mark(mc_word32 *mark, uint32_t to)
{
	uint32_t seen = mc_load_relaxed(mark);

	while (seen < to && !mc_cas_full(mark, &seen, to))
		;
}

static struct vulkan_instance *claim_instance(void)
{
	struct table *t = make_table();

	for (unsigned i = 0; t && i < LIVE_MAX; i++) {
		uint64_t unused = 0;

		if (!mc_cas_full(&t->instance[i].key, &unused, FILLING))
			continue;
		raise_mark(&t->instances, i + 1);
		return &t->instance[i];
	}
	return NULL;
}

static struct vulkan_device *claim_device(void)
{
	struct table *t = make_table();

	for (unsigned i = 0; t && i < LIVE_MAX; i++) {
		uint64_t unused = 0;

		if (!mc_cas_full(&t->device[i].key, &unused, FILLING))
			continue;
		raise_mark(&t->devices, i + 1);
		t->device[i].number = i;
		return &t->device[i];
	}
	return NULL;
}

/* Where the next layer, or the driver, is; the loader wants the link moved on for that one. */
static struct vk_link *take_link(const struct vk_chain *info, int type)
{
	for (struct vk_chain *c = info ? info->next : NULL; c; c = c->next) {
		struct vk_link_info *l = (struct vk_link_info *)c;
		struct vk_link *link = c->type == type && l->function == 0 ? l->link : NULL;

		if (link) {
			l->link = link->next;
			return link;
		}
	}
	return NULL;
}

/* ---- instances */

static void fill_instance(struct vulkan_instance *i, vk_handle handle, vk_lookup *lookup)
{
	i->lookup = lookup;
	i->handle = handle;
	*(void **)&i->destroy = lookup(handle, "vkDestroyInstance");
	*(void **)&i->memories = lookup(handle, "vkGetPhysicalDeviceMemoryProperties");
	*(void **)&i->memories2 = lookup(handle, "vkGetPhysicalDeviceMemoryProperties2");
	*(void **)&i->memories2_khr = lookup(handle, "vkGetPhysicalDeviceMemoryProperties2KHR");
	*(void **)&i->properties2 = lookup(handle, "vkGetPhysicalDeviceProperties2");
	if (!i->properties2)
		*(void **)&i->properties2 = lookup(handle, "vkGetPhysicalDeviceProperties2KHR");
	mc_store_release(&i->key, key_of(handle));
}

static vk_result create_instance(const struct vk_chain *info, const void *allocator, vk_handle *ret)
{
	struct vk_link *link = take_link(info, VK_LOADER_INSTANCE);
	vk_result (*create)(const struct vk_chain *, const void *, vk_handle *);
	struct vulkan_instance *i;
	vk_result result;

	if (!link)
		return VK_INITIALIZATION_FAILED;
	*(void **)&create = link->of_instance(NULL, "vkCreateInstance");
	if (!create)
		return VK_INITIALIZATION_FAILED;
	i = claim_instance();
	if (!i)
		return VK_OUT_OF_HOST_MEMORY;
	result = create(info, allocator, ret);
	if (result)
		mc_store_release(&i->key, 0);
	else
		fill_instance(i, *ret, link->of_instance);
	return result;
}

static void destroy_instance(vk_handle instance, const void *allocator)
{
	struct vulkan_instance *i = vulkan_instance_of(instance);
	void (*destroy)(vk_handle, const void *) = i ? i->destroy : NULL;

	if (!i)
		return;
	mc_store_release(&i->key, 0); /* before: its address may be another's afterwards */
	destroy(instance, allocator);
}

/* ---- devices */

static uint32_t local_types(struct vulkan_instance *i, vk_handle physical)
{
	struct vk_memories m = { 0 };
	uint32_t types = 0;

	i->memories(physical, &m);
	for (uint32_t t = 0; t < m.types && t < VK_TYPES_MAX; t++)
		if (m.type[t].heap < VK_HEAPS_MAX && m.heap[m.type[t].heap].flags & VK_DEVICE_LOCAL)
			types |= 1u << t;
	return types;
}

static void fill_device(struct vulkan_device *d, vk_handle handle, vk_lookup *lookup)
{
	d->lookup = lookup;
	*(void **)&d->destroy = lookup(handle, "vkDestroyDevice");
	*(void **)&d->allocate = lookup(handle, "vkAllocateMemory");
	*(void **)&d->free = lookup(handle, "vkFreeMemory");
	*(void **)&d->get_fd = lookup(handle, "vkGetMemoryFdKHR");
	d->local_types = local_types(d->instance, d->physical);
	mc_store_relaxed(&d->region, 0);
	mc_store_release(&d->key, key_of(handle));
}

static vk_result create_device(vk_handle physical, const struct vk_chain *info, const void *allocator, vk_handle *ret)
{
	struct vulkan_instance *i = vulkan_instance_of(physical);
	struct vk_link *link = take_link(info, VK_LOADER_DEVICE);
	vk_result (*create)(vk_handle, const struct vk_chain *, const void *, vk_handle *);
	struct vulkan_device *d;
	vk_result result;

	if (!link || !i)
		return VK_INITIALIZATION_FAILED;
	*(void **)&create = link->of_instance(i->handle, "vkCreateDevice");
	if (!create)
		return VK_INITIALIZATION_FAILED;
	d = claim_device();
	if (!d)
		return VK_OUT_OF_HOST_MEMORY;
	d->instance = i;
	d->physical = physical;
	result = create(physical, info, allocator, ret);
	if (result)
		mc_store_release(&d->key, 0);
	else
		fill_device(d, *ret, link->of_device);
	return result;
}

static void destroy_device(vk_handle device, const void *allocator)
{
	struct vulkan_device *d = vulkan_device_of(device);

	if (!d)
		return;
	mc_store_release(&d->key, FILLING);
	d->destroy(device, allocator);
	vulkan_memory_sweep(d);
	mc_store_release(&d->key, 0);
}

/* ---- lookups */

static vk_function of_instance(vk_handle instance, const char *name);
static vk_function of_device(vk_handle device, const char *name);

struct row {
	const char *name;
	vk_function function;
};

static vk_function find(const struct row *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].function;
	return NULL;
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row of_devices[] = {
	{ "vkGetDeviceProcAddr", (vk_function)of_device },    { "vkDestroyDevice", (vk_function)destroy_device },
	{ "vkAllocateMemory", (vk_function)vulkan_allocate }, { "vkFreeMemory", (vk_function)vulkan_free },
	{ "vkGetMemoryFdKHR", (vk_function)vulkan_get_fd },
};

static const struct row of_instances[] = {
	{ "vkGetInstanceProcAddr", (vk_function)of_instance },
	{ "vkCreateInstance", (vk_function)create_instance },
	{ "vkDestroyInstance", (vk_function)destroy_instance },
	{ "vkCreateDevice", (vk_function)create_device },
	{ "vkGetPhysicalDeviceMemoryProperties", (vk_function)vulkan_show_memories },
	{ "vkGetPhysicalDeviceMemoryProperties2", (vk_function)vulkan_show_memories2 },
	{ "vkGetPhysicalDeviceMemoryProperties2KHR", (vk_function)vulkan_show_memories2_khr },
};

/* What the next one does not have we do not have either. */
static vk_function of_device(vk_handle device, const char *name)
{
	struct vulkan_device *d = vulkan_device_of(device);
	vk_function next = d ? d->lookup(device, name) : NULL;
	vk_function own = next ? find(of_devices, COUNT(of_devices), name) : NULL;

	return own ? own : next;
}

static vk_function of_instance(vk_handle instance, const char *name)
{
	struct vulkan_instance *i = vulkan_instance_of(instance);
	vk_function own = find(of_instances, COUNT(of_instances), name);
	vk_function next;

	if (!own)
		own = find(of_devices, COUNT(of_devices), name);
	if (!i)
		return instance ? NULL : own;
	next = i->lookup(instance, name);
	return next && own ? own : next;
}

/* Named in the manifest: under the interface's own name it would be in every program's scope. */
EXPORT vk_result memctl_vulkan_negotiate(struct vk_negotiate *n);
EXPORT vk_result memctl_vulkan_negotiate(struct vk_negotiate *n)
{
	if (!n || n->chain.type != VK_LAYER_NEGOTIATE || n->version < 2)
		return VK_INITIALIZATION_FAILED;
	n->version = 2;
	n->of_instance = of_instance;
	n->of_device = of_device;
	n->of_physical_device = NULL;
	return VK_SUCCESS;
}
