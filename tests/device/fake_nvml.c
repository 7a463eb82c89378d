/* SPDX-License-Identifier: MIT */
/* A fake NVML beside the fake driver: the same devices, counted from the other end where
 * FAKE_CUDA_REVERSED says so. */
#include "tests/device/fake.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NVML_INVALID 2
#define NVML_NOT_FOUND 6
#define NVML_INSUFFICIENT_SIZE 7

static int handles[FAKE_DEVICES_MAX];

SHOW int nvmlInit_v2(void);
SHOW int nvmlInit_v2(void)
{
	fake_state_open();
	return 0;
}

SHOW int nvmlShutdown(void);
SHOW int nvmlShutdown(void)
{
	return 0;
}

SHOW int nvmlDeviceGetCount_v2(unsigned *n);
SHOW int nvmlDeviceGetCount_v2(unsigned *n)
{
	*n = (unsigned)fake_settings.devices;
	return 0;
}

SHOW int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
SHOW int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	if (index >= (unsigned)fake_settings.devices)
		return NVML_NOT_FOUND;
	*device = &handles[fake_settings.reversed ? (unsigned)fake_settings.devices - 1 - index : index];
	return 0;
}

static int number(const void *device)
{
	return (int)((const int *)device - handles);
}

SHOW int nvmlDeviceGetUUID(void *device, char *text, unsigned size);
SHOW int nvmlDeviceGetUUID(void *device, char *text, unsigned size)
{
	unsigned char uuid[16];
	char all[48], *at = all;

	fake_uuid(number(device), uuid);
	at += sprintf(at, "GPU-");
	for (int i = 0; i < 16; i++)
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	if (strlen(all) >= size)
		return 7;
	strcpy(text, all);
	return 0;
}

struct pci {
	char address[16];
	unsigned domain, bus, device, ids[2];
	char wide[32];
};

SHOW int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci);
SHOW int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci)
{
	if (!pci)
		return NVML_INVALID;
	*pci = (struct pci){ .bus = (unsigned)number(device) + 1 };
	fake_address(number(device), pci->address, sizeof(pci->address));
	return 0;
}

SHOW int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device);
SHOW int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
	char own[32];

	for (int i = 0; i < fake_settings.devices; i++) {
		fake_address(i, own, sizeof(own));
		if (strcasecmp(own, address) != 0)
			continue;
		*device = &handles[i];
		return 0;
	}
	return NVML_NOT_FOUND;
}

struct process {
	unsigned pid;
	unsigned long long used;
	unsigned instances[2];
};

/* *n: how many there is room for, then how many there are. */
SHOW int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *all);
SHOW int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, struct process *all)
{
	unsigned room = *n;

	*n = 0;
	for (unsigned i = 0; i < 256; i++) {
		int32_t pid = atomic_load(&fake_shared->slot[i].pid);

		if (pid && *n < room)
			all[*n] = (struct process){ .pid = (unsigned)pid, .used = fake_used_by(number(device), pid) };
		*n += pid != 0;
	}
	return *n > room ? NVML_INSUFFICIENT_SIZE : 0;
}

struct memory1 {
	unsigned long long total, free, used;
};

struct memory2 {
	unsigned version;
	unsigned long long total, reserved, free, used;
};

SHOW int nvmlDeviceGetMemoryInfo(void *device, struct memory1 *m);
SHOW int nvmlDeviceGetMemoryInfo(void *device, struct memory1 *m)
{
	if (!m)
		return NVML_INVALID;
	m->total = fake_settings.memory;
	m->used = fake_used(number(device));
	m->free = m->total - m->used;
	return 0;
}

SHOW int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory2 *m);
SHOW int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory2 *m)
{
	if (!m || m->version != (sizeof(*m) | 2u << 24))
		return NVML_INVALID;
	m->total = fake_settings.memory;
	m->reserved = 64 << 20;
	m->used = fake_used(number(device));
	m->free = m->total - m->used - m->reserved;
	return 0;
}
