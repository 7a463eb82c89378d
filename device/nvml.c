/* SPDX-License-Identifier: MIT */
/* NVML's view of memory: that of the group, so that programs which read both APIs find the same
 * numbers. In its lists of processes the members of that group have what they are charged, all
 * together `used`; the rest of a list is the driver's. */
#include "device/cuda.h"
#include "device/plain.h"
#include "device/view.h"

#include "accounting/account.h"
#include "accounting/group.h"
#include "accounting/member.h"
#include "accounting/region.h"

#include <stdio.h>
#include <string.h>

/* "0000:01:00.0"; "" where this NVML does not tell. */
static const char *address_of(struct copy *copy, nvml_device device, struct nvml_pci *pci)
{
	int (*ask)(nvml_device, struct nvml_pci *);

	*(void **)&ask = resolve_in(copy, "nvmlDeviceGetPciInfo_v3");
	return ask && ask(device, pci) == 0 ? pci->address : "";
}

/* Only regions that are registered: NVML alone charges nothing. */
static int find(struct copy *copy, uint64_t handle)
{
	nvml_device device = (nvml_device)(uintptr_t)handle; /* NOLINT: what the driver calls it */
	int (*uuid)(nvml_device, char *, unsigned);
	char text[96], name[REGION_NAME_MAX + 1];
	const char *part;
	struct nvml_pci pci = { .domain = 0 };
	struct device_member *m = device_member();
	unsigned resource;

	*(void **)&uuid = resolve_in(copy, "nvmlDeviceGetUUID");
	if (!m || !uuid || uuid(device, text, sizeof(text)) || strlen(text) > 50)
		return -1;
	part = strncmp(text, "MIG-", 4) == 0 ? text + 4 : strncmp(text, "GPU-", 4) == 0 ? text + 4 : text;
	(void)snprintf(name, sizeof(name), "cuda/GPU-%.50s/vram", part); /* CUDA tells no kind */
	if (region_find_device(m->actor.seg, name, address_of(copy, device, &pci), &resource))
		return -1;
	return (int)resource;
}

static int region_of(struct copy *copy, nvml_device device)
{
	static struct plain_regions known[COPIES];

	return plain_region(&known[copy->index], copy, (uint64_t)(uintptr_t)device, find);
}

/* ---- what members hold in the region, in the group that the view is of ------------------------------------- */

struct view {
	const struct segment *seg;
	struct device_share share;
	unsigned resource;
};

/* False: nothing is to be changed. */
static bool find_view(struct copy *copy, nvml_device device, struct view *ret)
{
	int region = region_of(copy, device);

	if (!device_charge_share(region, &ret->share))
		return false;
	ret->seg = device_member()->actor.seg;
	ret->resource = (unsigned)region;
	return true;
}

static uint64_t held_in_account(const struct view *v, uint32_t account)
{
	const struct account *a = account_of(v->seg, account);
	uint64_t meta = mc_load_full(&a->meta);

	if (account_meta_resource(meta) != v->resource ||
	    !group_is_within(v->seg, account_meta_group(meta), v->share.group))
		return 0;
	return account_held(mc_load_full(&a->word)) * REGION_UNIT;
}

static uint64_t held_by(const struct view *v, uint32_t member)
{
	uint64_t held = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_acquire(&member_of(v->seg, member)->account[i]);

		held += account ? held_in_account(v, account - 1) : 0;
	}
	return held;
}

/* Those of members that ended and are not settled yet, too. */
static uint64_t held_by_all(const struct view *v)
{
	uint32_t mark = account_mark(v->seg);
	uint64_t held = 0;

	for (uint32_t a = 0; a < mark; a++)
		held += mc_load_acquire(&account_of(v->seg, a)->member) ? held_in_account(v, a) : 0;
	return held;
}

/* What the member with this pid holds. False: there is none in the view. */
static bool held_by_pid(const struct view *v, uint32_t pid, uint64_t *ret)
{
	bool found = false;

	*ret = 0;
	for (uint32_t m = 0; m < member_mark(v->seg); m++) {
		uint64_t held;

		if (member_pid(mc_load_full(&member_of(v->seg, m)->state)) != pid || !member_is_present(v->seg, m))
			continue;
		held = held_by(v, m);
		*ret += held;
		found |= held || group_is_within(v->seg, mc_load_full(&member_of(v->seg, m)->group), v->share.group);
	}
	return found;
}

/* ---- numbers of a device --------------------------------------------------------------------------------- */

/* False: nothing is to be changed. */
static bool fit(struct copy *copy, nvml_device device, uint64_t *available, uint64_t *total, uint64_t *used)
{
	struct view v;
	uint64_t held;

	if (!find_view(copy, device, &v))
		return false;
	view_fit(&v.share, available, total);
	held = held_by_all(&v);
	*used = held < *total ? held : *total;
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

/* ---- lists of processes ---------------------------------------------------------------------------------- */

static struct nvml_process *entry(void *list, unsigned i, unsigned stride)
{
	return (void *)((char *)list + (size_t)i * stride);
}

/* One that is listed several times, for parts of the device, has all of it in the first place. */
static bool is_first(void *list, unsigned i, unsigned stride)
{
	for (unsigned before = 0; before < i; before++)
		if (entry(list, before, stride)->pid == entry(list, i, stride)->pid)
			return false;
	return true;
}

static void show_list(const struct view *v, void *list, unsigned n, unsigned stride)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t held;

		if (held_by_pid(v, entry(list, i, stride)->pid, &held))
			entry(list, i, stride)->used = is_first(list, i, stride) ? held : 0;
	}
}

typedef int list_call(nvml_device device, unsigned *n, void *list);

#define PROBED 64
#define UNTOUCHED 0xa5

/* How long an entry is, from what the driver writes: the lists' third version was longer in some
 * of its releases. 0: not to be told, for there is none, or there are too many. */
static unsigned probe(list_call *call, nvml_device device)
{
	unsigned char all[PROBED * NVML_PROCESS_MOST + 1];
	unsigned n = PROBED, end = sizeof(all), stride;

	memset(all, UNTOUCHED, sizeof(all));
	if (call(device, &n, all) || n == 0)
		return 0;
	while (end && all[end - 1] == UNTOUCHED)
		end--;
	stride = (end + n - 1) / n;
	return end <= n * NVML_PROCESS_MOST && stride % 8 == 0 && stride >= sizeof(struct nvml_process) ? stride : 0;
}

static int list_processes(struct copy *copy, unsigned call, nvml_device device, unsigned *n, void *list)
{
	static mc_word32 strides[CALLS][COPIES];
	mc_word32 *stride = &strides[call][copy->index];
	list_call *real = (list_call *)copy->real[call];
	int result = real(device, n, list);
	struct view v;

	if (result || !n || *n == 0 || !list || !find_view(copy, device, &v))
		return result;
	if (!mc_load_relaxed(stride))
		mc_store_relaxed(stride, probe(real, device));
	if (mc_load_relaxed(stride))
		show_list(&v, list, *n, mc_load_relaxed(stride));
	return result;
}

#define LIST(name) \
	int on_##name(struct copy *copy, nvml_device device, unsigned *n, void *list) \
	{ \
		return list_processes(copy, CALL_##name, device, n, list); \
	}
LIST(nvmlDeviceGetComputeRunningProcesses)
LIST(nvmlDeviceGetComputeRunningProcesses_v2)
LIST(nvmlDeviceGetComputeRunningProcesses_v3)
LIST(nvmlDeviceGetGraphicsRunningProcesses)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3)
LIST(nvmlDeviceGetMPSComputeRunningProcesses)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3)

int on_nvmlDeviceGetRunningProcessDetailList(struct copy *copy, nvml_device device, struct nvml_details *list)
{
	int result = REAL(copy, nvmlDeviceGetRunningProcessDetailList)(device, list);
	struct view v;

	if (!result && list && list->version == NVML_DETAILS_V1 && list->n && list->list && find_view(copy, device, &v))
		show_list(&v, list->list, list->n, NVML_PROCESS_MOST);
	return result;
}
