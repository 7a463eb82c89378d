/* SPDX-License-Identifier: MIT */
/* A fake NVML beside the fake driver: the same devices, counted from the other end where
 * FAKE_CUDA_REVERSED says so. With FAKE_CUDA_MIG they are the parts of one device, which NVML
 * alone knows.
 *
 * FAKE_NVML_GRAPHICS=1     all processes are in the graphics lists, too (none is)
 * FAKE_NVML_USED=unknown   lists do not tell what a process uses
 * FAKE_NVML_TWICE=1        each process is listed once for each of two instances, with a half
 * FAKE_NVML_V3=32          how long an entry of the third version is (24)
 * FAKE_NVML_MEMORY=none    no numbers of the device, as where its memory is the host's
 */
#include "tests/device/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	NVML_OK = 0,
	NVML_INVALID = 2,
	NVML_NOT_SUPPORTED = 3,
	NVML_NOT_FOUND = 6,
	NVML_INSUFFICIENT_SIZE = 7,
	NVML_VERSION = 25,
};
#define NVML_UNKNOWN UINT64_MAX
#define NO_INSTANCE UINT32_MAX

static int handles[FAKE_DEVICES_MAX], parts[FAKE_DEVICES_MAX]; /* their addresses are what people have */

static bool is_set(const char *name, const char *value)
{
	const char *text = getenv(name);

	return text && strcmp(text, value) == 0;
}

/* ---- devices --------------------------------------------------------------------------------------------- */

#define NVML(name, parameters) \
	SHOW int name parameters; \
	int name parameters

NVML(nvmlInit_v2, (void))
{
	fake_state_open();
	return NVML_OK;
}

NVML(nvmlShutdown, (void))
{
	return NVML_OK;
}

static unsigned count(void)
{
	return fake_settings.mig ? 1 : (unsigned)fake_settings.devices;
}

static bool is_part(const void *device)
{
	return (const int *)device >= parts && (const int *)device < parts + FAKE_DEVICES_MAX;
}

static bool is_whole(const void *device)
{
	return (const int *)device >= handles && (const int *)device < handles + count();
}

/* That of the fake driver's; a whole that has parts is its first one. */
static int number(const void *device)
{
	return (int)((const int *)device - (is_part(device) ? parts : handles));
}

NVML(nvmlDeviceGetCount_v2, (unsigned *n))
{
	if (!n)
		return NVML_INVALID;
	*n = count();
	return NVML_OK;
}

NVML(nvmlDeviceGetHandleByIndex_v2, (unsigned index, void **device))
{
	if (index >= count() || !device)
		return NVML_INVALID;
	*device = &handles[fake_settings.reversed ? count() - 1 - index : index];
	return NVML_OK;
}

static void write_uuid(const void *device, char all[64])
{
	bool has_parts = fake_settings.mig && !is_part(device);
	unsigned char uuid[16];

	fake_uuid(has_parts ? FAKE_DEVICES_MAX : number(device), uuid);
	all += sprintf(all, is_part(device) ? "MIG-" : "GPU-");
	for (int i = 0; i < 16; i++)
		all += sprintf(all, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

NVML(nvmlDeviceGetUUID, (void *device, char *text, unsigned size))
{
	char all[64];

	if (!text || (!is_whole(device) && !is_part(device)))
		return NVML_INVALID;
	write_uuid(device, all);
	if (strlen(all) >= size)
		return NVML_INSUFFICIENT_SIZE;
	strcpy(text, all);
	return NVML_OK;
}

NVML(nvmlDeviceGetHandleByUUID, (const char *text, void **device))
{
	char all[64];

	if (!text || !device)
		return NVML_INVALID;
	for (int i = 0; i < fake_settings.devices; i++)
		for (int part = 0; part < 1 + fake_settings.mig; part++) {
			void *one = part ? &parts[i] : &handles[i];

			write_uuid(one, all);
			if ((is_whole(one) || part) && strcmp(all, text) == 0) {
				*device = one;
				return NVML_OK;
			}
		}
	return NVML_NOT_FOUND;
}

struct pci {
	char address[16];
	unsigned domain, bus, device, ids[2];
	char wide[32];
};

NVML(nvmlDeviceGetPciInfo_v3, (void *device, struct pci *pci))
{
	if (!pci)
		return NVML_INVALID;
	*pci = (struct pci){ .bus = (unsigned)number(device) + 1 };
	fake_address(number(device), pci->address, sizeof(pci->address));
	return NVML_OK;
}

NVML(nvmlDeviceGetHandleByPciBusId_v2, (const char *address, void **device))
{
	char own[32];

	if (!address || !device)
		return NVML_INVALID;
	for (unsigned i = 0; i < count(); i++) {
		fake_address((int)i, own, sizeof(own));
		if (strcasecmp(own, address) != 0)
			continue;
		*device = &handles[i];
		return NVML_OK;
	}
	return NVML_NOT_FOUND;
}

/* ---- parts of a device ----------------------------------------------------------------------------------- */

NVML(nvmlDeviceGetMigMode, (void *device, unsigned *current, unsigned *pending))
{
	if (!is_whole(device) || !current || !pending)
		return NVML_INVALID;
	*current = *pending = fake_settings.mig;
	return NVML_OK;
}

NVML(nvmlDeviceGetMaxMigDeviceCount, (void *device, unsigned *n))
{
	if (!is_whole(device) || !n)
		return NVML_INVALID;
	*n = fake_settings.mig ? (unsigned)fake_settings.devices : 0;
	return NVML_OK;
}

NVML(nvmlDeviceGetMigDeviceHandleByIndex, (void *device, unsigned index, void **ret))
{
	if (!is_whole(device) || !ret)
		return NVML_INVALID;
	if (!fake_settings.mig || index >= (unsigned)fake_settings.devices)
		return NVML_NOT_FOUND;
	*ret = &parts[index];
	return NVML_OK;
}

NVML(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (void *part, void **ret))
{
	if (!is_part(part) || !ret)
		return NVML_INVALID;
	*ret = &handles[0];
	return NVML_OK;
}

NVML(nvmlDeviceIsMigDeviceHandle, (void *device, unsigned *ret))
{
	if (!ret)
		return NVML_INVALID;
	*ret = is_part(device);
	return NVML_OK;
}

/* Those of the driver's devices that a handle is about. */
static int first(const void *device)
{
	return number(device);
}

static int end(const void *device)
{
	return fake_settings.mig && !is_part(device) ? fake_settings.devices : number(device) + 1;
}

/* ---- lists of processes ---------------------------------------------------------------------------------- */

struct process {
	unsigned pid;
	unsigned long long used;
	unsigned instances[2];
	unsigned long long protected;
};

#define PROCESSES_MAX (2 * 256 * FAKE_DEVICES_MAX)

/* One entry for each part of a device that a process has something of; at least one. */
static unsigned collect(const void *device, struct process *all)
{
	bool twice = is_set("FAKE_NVML_TWICE", "1");
	unsigned n = 0;

	(void)fake_used(0); /* the dead are in no list */
	for (unsigned i = 0; i < 256; i++) {
		int32_t pid = atomic_load(&fake_shared->slot[i].pid);

		for (int d = first(device); pid && d < end(device); d++) {
			uint64_t used = fake_used_by(d, pid);

			if (fake_settings.mig && !used)
				continue;
			for (unsigned instance = 0; instance < 1u + twice; instance++)
				all[n++] = (struct process){
					.pid = (unsigned)pid,
					.used = is_set("FAKE_NVML_USED", "unknown") ? NVML_UNKNOWN : used >> twice,
					.instances = { fake_settings.mig ? (unsigned)d + 1 : NO_INSTANCE,
						       fake_settings.mig || twice ? instance : NO_INSTANCE },
				};
		}
	}
	return n;
}

/* *n: how many there is room for, then how many there are. */
static int list(const void *device, unsigned *n, void *ret, size_t entry, bool is_compute)
{
	struct process *all;
	unsigned room, there;
	int result;

	if (!n || (*n && !ret) || (!is_whole(device) && !is_part(device)))
		return NVML_INVALID;
	all = calloc(PROCESSES_MAX, sizeof(*all));
	there = all && (is_compute || is_set("FAKE_NVML_GRAPHICS", "1")) ? collect(device, all) : 0;
	room = *n;
	*n = there;
	result = there > room ? NVML_INSUFFICIENT_SIZE : NVML_OK;
	for (unsigned i = 0; !result && i < there; i++)
		memcpy((char *)ret + i * entry, &all[i], entry);
	free(all);
	return result;
}

#define LIST(name, entry, is_compute) \
	NVML(name, (void *device, unsigned *n, void *all)) \
	{ \
		return list(device, n, all, entry, is_compute); \
	}
#define V3 (is_set("FAKE_NVML_V3", "32") ? sizeof(struct process) : 24)
LIST(nvmlDeviceGetComputeRunningProcesses, 16, true)
LIST(nvmlDeviceGetComputeRunningProcesses_v2, 24, true)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, V3, true)
LIST(nvmlDeviceGetGraphicsRunningProcesses, 16, false)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, 24, false)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, V3, false)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, 16, false)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, 24, false)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, V3, false)

struct details {
	unsigned version, mode, n;
	struct process *all;
};

NVML(nvmlDeviceGetRunningProcessDetailList, (void *device, struct details *d))
{
	if (!d)
		return NVML_INVALID;
	if (d->version != (sizeof(*d) | 1u << 24))
		return NVML_VERSION;
	return list(device, &d->n, d->all, sizeof(*d->all), d->mode == 0);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

struct memory1 {
	unsigned long long total, free, used;
};

struct memory2 {
	unsigned version;
	unsigned long long total, reserved, free, used;
};

static int add_up(const void *device, unsigned long long *total, unsigned long long *used)
{
	if (!is_whole(device) && !is_part(device))
		return NVML_INVALID;
	if (is_set("FAKE_NVML_MEMORY", "none"))
		return NVML_NOT_SUPPORTED;
	*total = *used = 0;
	for (int d = first(device); d < end(device); d++) {
		*total += fake_settings.memory;
		*used += fake_used(d);
	}
	return NVML_OK;
}

NVML(nvmlDeviceGetMemoryInfo, (void *device, struct memory1 *m))
{
	int result = m ? add_up(device, &m->total, &m->used) : NVML_INVALID;

	if (!result)
		m->free = m->total - m->used;
	return result;
}

NVML(nvmlDeviceGetMemoryInfo_v2, (void *device, struct memory2 *m))
{
	int result;

	if (!m || m->version != (sizeof(*m) | 2u << 24))
		return NVML_INVALID;
	result = add_up(device, &m->total, &m->used);
	if (result)
		return result;
	m->reserved = 64 << 20;
	m->free = m->total - m->used - m->reserved;
	return result;
}
