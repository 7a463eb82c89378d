/* SPDX-License-Identifier: MIT */
/* What we must know of Vulkan and of its loader's interface for layers (version 2): building needs
 * no header of Khronos'. Handles that the loader dispatches begin with a pointer that is the same
 * for an instance and its physical devices, or a device and its queues: the key. */
#ifndef DEVICE_VULKAN_ABI_H
#define DEVICE_VULKAN_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef int vk_result;
typedef void *vk_handle;    /* instance, physical device, device */
typedef uint64_t vk_memory; /* not dispatched: 64 bits everywhere */
typedef void *vk_function;  /* a function's address */
typedef vk_function vk_lookup(vk_handle, const char *);

enum {
	VK_SUCCESS = 0,
	VK_OUT_OF_HOST_MEMORY = -1,
	VK_OUT_OF_DEVICE_MEMORY = -2,
	VK_INITIALIZATION_FAILED = -3,
};

enum {
	VK_LAYER_NEGOTIATE = 1,
	VK_MEMORY_ALLOCATE = 5,
	VK_LOADER_INSTANCE = 47,
	VK_LOADER_DEVICE = 48,
	VK_PROPERTIES_2 = 1000059001,
	VK_ID_PROPERTIES = 1000071004,
	VK_IMPORT_FD = 1000074000,
	VK_IMPORT_ANDROID = 1000129003,
	VK_IMPORT_HOST_POINTER = 1000178000,
	VK_PCI_PROPERTIES = 1000212000,
	VK_BUDGET = 1000237000,
	VK_IMPORT_ZIRCON = 1000364000,
};

struct vk_chain {
	int type;
	struct vk_chain *next;
};

/* The two kinds of imports that count only if they name a kind of handle. */
struct vk_import {
	struct vk_chain chain;
	unsigned handle_type;
};

struct vk_import_fd {
	struct vk_chain chain;
	unsigned handle_type;
	int fd;
};

struct vk_get_fd {
	struct vk_chain chain;
	uint64_t memory;
	unsigned handle_type;
};

struct vk_link {
	struct vk_link *next;
	vk_lookup *of_instance;
	vk_lookup *of_device; /* of an instance's link: of physical devices */
};

struct vk_link_info {
	struct vk_chain chain;
	int function; /* 0: the link */
	struct vk_link *link;
};

struct vk_negotiate {
	struct vk_chain chain;
	uint32_t version;
	vk_lookup *of_instance, *of_device, *of_physical_device;
};

struct vk_allocate {
	struct vk_chain chain;
	uint64_t size;
	uint32_t type;
};

#define VK_TYPES_MAX 32
#define VK_HEAPS_MAX 16
#define VK_DEVICE_LOCAL 1u

struct vk_memories {
	uint32_t types;
	struct {
		uint32_t flags, heap;
	} type[VK_TYPES_MAX];
	uint32_t heaps;
	struct {
		uint64_t size;
		uint32_t flags;
	} heap[VK_HEAPS_MAX];
};

struct vk_memories2 {
	struct vk_chain chain;
	struct vk_memories memories;
};

struct vk_budget {
	struct vk_chain chain;
	uint64_t budget[VK_HEAPS_MAX], usage[VK_HEAPS_MAX];
};

struct vk_id {
	struct vk_chain chain;
	unsigned char device[16], driver[16], luid[8];
	uint32_t nodes, is_luid;
};

struct vk_pci {
	struct vk_chain chain;
	uint32_t domain, bus, device, function;
};

/* The head alone is looked at; the rest (limits) is the driver's to fill. */
struct vk_properties2 {
	struct vk_chain chain;
	uint32_t api, driver, vendor, device, kind;
	char name[256];
	_Alignas(8) unsigned char rest[1024];
};

#define VK_KIND_CPU 4u
#define VK_VENDOR_NVIDIA 0x10deu

#endif
