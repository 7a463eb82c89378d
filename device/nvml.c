/* SPDX-License-Identifier: MIT */
/* NVML's view of memory: that of the group, so that programs which read both APIs find the same
 * numbers. */
#include "device/cuda.h"
#include "device/view.h"

#include "accounting/region.h"

#include <stdio.h>
#include <string.h>

#define HANDLES 16

static struct {
	mc_word handle; /* sync: release, after region */
	int region;
} known[HANDLES];

/* "0000:01:00.0"; "" where this NVML does not tell. */
static const char *address_of(struct copy *copy, nvml_device device, struct nvml_pci *pci)
{
	int (*ask)(nvml_device, struct nvml_pci *);

	*(void **)&ask = resolve_in(copy, "nvmlDeviceGetPciInfo_v3");
	return ask && ask(device, pci) == 0 ? pci->address : "";
}

/* Only regions that are registered: NVML alone charges nothing. */
static int find(struct copy *copy, nvml_device device)
{
	int (*uuid)(nvml_device, char *, unsigned);
	char text[96], name[REGION_NAME_MAX + 1];
	struct nvml_pci pci = { .domain = 0 };
	struct device_member *m = device_member();
	unsigned resource;

	*(void **)&uuid = resolve_in(copy, "nvmlDeviceGetUUID");
	if (!m || !uuid || uuid(device, text, sizeof(text)) || strlen(text) > 50)
		return -1;
	(void)snprintf(name, sizeof(name), "cuda/%.50s/vram", text);
	if (region_find_device(m->actor.seg, name, address_of(copy, device, &pci), &resource))
		return -1;
	return (int)resource;
}

static int region_of(struct copy *copy, nvml_device device)
{
	unsigned i = (unsigned)((uintptr_t)device >> 4) % HANDLES;
	int region;

	if (mc_load_acquire(&known[i].handle) == (uintptr_t)device)
		return known[i].region;
	region = find(copy, device);
	if (region >= 0 && mc_load_relaxed(&known[i].handle) == 0) {
		known[i].region = region;
		mc_store_release(&known[i].handle, (uintptr_t)device);
	}
	return region;
}

/* False: nothing is to be changed. */
static bool fit(struct copy *copy, nvml_device device, uint64_t *available, uint64_t *total, uint64_t *used)
{
	struct device_share share;

	if (!device_charge_share(region_of(copy, device), &share))
		return false;
	view_fit(&share, available, total);
	*used = share.used < *total ? share.used : *total;
	return true;
}

int on_nvmlDeviceGetMemoryInfo(struct copy *copy, nvml_device device, struct nvml_memory_v1 *memory)
{
	int result = REAL(copy, nvmlDeviceGetMemoryInfo)(device, memory);
	uint64_t available, total, used;

	if (result || !memory)
		return result;
	available = memory->free;
	total = memory->total;
	if (fit(copy, device, &available, &total, &used))
		*memory = (struct nvml_memory_v1){ .total = total, .free = available, .used = used };
	return result;
}

/* What the driver keeps for itself is not the group's. */
int on_nvmlDeviceGetMemoryInfo_v2(struct copy *copy, nvml_device device, struct nvml_memory_v2 *memory)
{
	int result = REAL(copy, nvmlDeviceGetMemoryInfo_v2)(device, memory);
	uint64_t available, total, used;

	if (result || !memory)
		return result;
	available = memory->free;
	total = memory->total;
	if (!fit(copy, device, &available, &total, &used))
		return result;
	memory->total = total;
	memory->reserved = 0;
	memory->free = available;
	memory->used = used;
	return result;
}
