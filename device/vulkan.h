/* SPDX-License-Identifier: MIT */
/* Vulkan's device memory: a layer between its loader and the driver, in this same library. The
 * loader hands out our functions for memory alone, so every other call goes the way it went.
 *
 * contract      any thread, as Vulkan allows it. The driver's results and the caller's structures
 * are passed on as they are; refused is only what a limit refuses, with
 * VK_ERROR_OUT_OF_DEVICE_MEMORY. charged       memory of types that lie in a DEVICE_LOCAL heap, as
 * many bytes as were asked for, to the device's region. Imported memory is its creator's,
 * and what comes by descriptor its heirs' (heirs.h).
 */
#ifndef DEVICE_VULKAN_H
#define DEVICE_VULKAN_H

#include "device/ledger.h"
#include "device/vulkan_abi.h"

struct vulkan_instance {
	mc_word key; /* sync: release when the rest is there; 0 free, 1 being filled */
	vk_lookup *lookup;
	vk_handle handle;
	void (*destroy)(vk_handle, const void *);
	void (*memories)(vk_handle, struct vk_memories *);
	void (*memories2)(vk_handle, struct vk_memories2 *);
	void (*memories2_khr)(vk_handle, struct vk_memories2 *);
	void (*properties2)(vk_handle, struct vk_properties2 *);
};

struct vulkan_device {
	mc_word key; /* sync: as above */
	uint64_t number;
	vk_lookup *lookup;
	void (*destroy)(vk_handle, const void *);
	vk_result (*allocate)(vk_handle, const struct vk_allocate *, const void *, vk_memory *);
	void (*free)(vk_handle, vk_memory, const void *);
	vk_result (*get_fd)(vk_handle, const struct vk_get_fd *, int *); /* NULL: it has none */
	struct vulkan_instance *instance;
	vk_handle physical;
	uint32_t local_types; /* a bit for each type of memory that is the device's */
	mc_word32 region;     /* sync: relaxed; 0 not met yet, VULKAN_REGION_NONE */
};

#define VULKAN_REGION_NONE UINT32_MAX

/* NULL: not one of ours. */
struct vulkan_instance *vulkan_instance_of(vk_handle instance_or_physical_device);
struct vulkan_device *vulkan_device_of(vk_handle device);

/* The region of a physical device; negative: it cannot be charged. */
int vulkan_region(struct vulkan_instance *i, vk_handle physical);

/* Everything that the device still has, given back: it is gone. */
void vulkan_memory_sweep(const struct vulkan_device *d);

vk_result vulkan_allocate(vk_handle device, const struct vk_allocate *info, const void *allocator, vk_memory *ret);
void vulkan_free(vk_handle device, vk_memory memory, const void *allocator);
vk_result vulkan_get_fd(vk_handle device, const struct vk_get_fd *info, int *ret);
void vulkan_show_memories(vk_handle physical, struct vk_memories *ret);
void vulkan_show_memories2(vk_handle physical, struct vk_memories2 *ret);
void vulkan_show_memories2_khr(vk_handle physical, struct vk_memories2 *ret);

#endif
