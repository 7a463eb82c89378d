/* SPDX-License-Identifier: MIT */
/* A fake NVML beside the fake driver: the same devices, counted from the other end where
 * FAKE_CUDA_REVERSED says so. */
#include "tests/device/fake.h"

#include <stdio.h>
#include <string.h>

#define NVML_INVALID   2
#define NVML_NOT_FOUND 6

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
	*device = &handles[fake_settings.reversed ? (unsigned)fake_settings.devices - 1 - index
						  : index];
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
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      uuid[i]);
	if (strlen(all) >= size)
		return 7;
	strcpy(text, all);
	return 0;
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
