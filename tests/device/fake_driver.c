/* SPDX-License-Identifier: MIT */
/* The fake driver: counting, lookups, devices, contexts. */
#include "tests/device/fake.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_initialized, is_over;
static _Atomic uint64_t count[FAKE_CALLS];
static int fail_call = -1, crash_call = -1, fail_code;
static uint64_t fail_at, crash_at;
static bool crash_before;

/* ---- knobs ----------------------------------------------------------------------------------------------- */

static int find(const char *name, size_t n)
{
	for (int i = 0; i < FAKE_CALLS; i++)
		if (strlen(fake_names[i].name) == n && memcmp(fake_names[i].name, name, n) == 0)
			return i;
	return -1;
}

/* "NAME:N:REST" */
static int parse_knob(const char *variable, uint64_t *ret_at, const char **ret_rest)
{
	const char *text = getenv(variable);
	size_t n = text ? strcspn(text, ":") : 0;
	char *end;

	if (!text || !text[n])
		return -1;
	*ret_at = strtoull(text + n + 1, &end, 10);
	*ret_rest = *end ? end + 1 : end;
	return find(text, n);
}

static void forget_in_child(void)
{
	is_initialized = false;
}

__attribute__((constructor)) static void start(void)
{
	const char *rest = "";

	fail_call = parse_knob("FAKE_CUDA_FAIL", &fail_at, &rest);
	fail_code = atoi(rest);
	rest = "";
	crash_call = parse_knob("FAKE_CUDA_CRASH", &crash_at, &rest);
	crash_before = strcmp(rest, "before") == 0;
	(void)pthread_atfork(NULL, NULL, forget_in_child);
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("FAKE_CUDA_LOG");
	FILE *log = path ? fopen(path, "a") : NULL;

	is_over = true;
	for (int i = 0; log && i < FAKE_CALLS; i++)
		if (count[i])
			(void)fprintf(log, "%s %llu\n", fake_names[i].name, (unsigned long long)count[i]);
	if (log)
		(void)fclose(log);
}

SHOW uint64_t fake_cuda_count(const char *name);
SHOW uint64_t fake_cuda_count(const char *name)
{
	int call = find(name, strlen(name));

	return call < 0 ? 0 : count[call];
}

int fake_enter(enum fake_call call, bool needs_init)
{
	uint64_t n = atomic_fetch_add_explicit(&count[call], 1, memory_order_relaxed) + 1;

	if (__builtin_expect((int)call == crash_call, 0) && n == crash_at && crash_before)
		(void)kill(getpid(), SIGKILL);
	if (__builtin_expect((int)call == fail_call, 0) && n == fail_at)
		return fail_code;
	if (is_over)
		return DEINITIALIZED;
	return needs_init && !is_initialized ? NOT_INITIALIZED : OK;
}

int fake_leave(enum fake_call call, int result)
{
	if (__builtin_expect((int)call == crash_call, 0) && count[call] == crash_at && !crash_before)
		(void)kill(getpid(), SIGKILL);
	return result;
}

/* ---- lookups --------------------------------------------------------------------------------------------- */

/* The newest variant that is not newer than `version`, among those for per-thread streams or the
 * others. */
static int choose(const char *base, int version, int per_thread, bool *ret_known)
{
	int best = -1;

	for (int i = 0; i < FAKE_CALLS; i++) {
		if (!fake_names[i].version || fake_names[i].per_thread != per_thread ||
		    strcmp(fake_names[i].base, base) != 0)
			continue;
		*ret_known = true;
		if (fake_names[i].version <= version && (best < 0 || fake_names[i].version > fake_names[best].version))
			best = i;
	}
	return best;
}

static void note(const char *symbol, int version, uint64_t flags, const char *found)
{
	const char *path = getenv("FAKE_CUDA_LOOKUPS");
	FILE *file = path ? fopen(path, "a") : NULL;

	if (!file)
		return;
	(void)fprintf(file, "%s %d %d %s\n", symbol, version, (int)flags, found);
	(void)fclose(file);
}

static int look_up(const char *symbol, int version, uint64_t flags, void **ret)
{
	bool known = false;
	int call = flags & 2 ? choose(symbol, version, 2, &known) : -1;

	if (call < 0)
		call = choose(symbol, version, 0, &known);
	*ret = call < 0 ? NULL : fake_names[call].function;
	note(symbol, version, flags, call < 0 ? "-" : fake_names[call].name);
	return call >= 0 ? 0 : known ? 2 : 1;
}

static _Atomic int is_held, is_waiting;

/* Who is looking something up waits until it is let go; answers whether anybody does. */
SHOW int fake_cuda_hold(int on);
SHOW int fake_cuda_hold(int on)
{
	is_held = on;
	return is_waiting;
}

static void wait_while_held(void)
{
	is_waiting = is_held;
	while (is_held)
		(void)sched_yield();
}

SHOW int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
SHOW int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags)
{
	int result = fake_enter(FAKE_cuGetProcAddress, false);

	wait_while_held();
	fake_state_open();
	if (result)
		return result;
	if (!symbol || !function || version > fake_settings.version)
		LEAVE(cuGetProcAddress, INVALID_VALUE);
	LEAVE(cuGetProcAddress, look_up(symbol, version, flags, function) ? NOT_FOUND : OK);
}

SHOW int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status);
SHOW int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status)
{
	int result = fake_enter(FAKE_cuGetProcAddress_v2, false);
	int found;

	wait_while_held();
	fake_state_open();
	if (result)
		return result;
	if (!symbol || !function || version > fake_settings.version)
		LEAVE(cuGetProcAddress_v2, INVALID_VALUE);
	found = look_up(symbol, version, flags, function);
	if (status)
		*status = found;
	LEAVE(cuGetProcAddress_v2, OK);
}

/* A runtime asks for tables that we have not, having found all functions that it wants: there it can be looked at. */
extern void (*fake_cuda_before_tables)(void);
SHOW void (*fake_cuda_before_tables)(void) = NULL;

SHOW int cuGetExportTable(const void **table, const void *which);
SHOW int cuGetExportTable(const void **table, const void *which)
{
	(void)table, (void)which;
	if (fake_cuda_before_tables)
		fake_cuda_before_tables();
	ENTER(cuGetExportTable)
	LEAVE(cuGetExportTable, NOT_SUPPORTED);
}

/* ---- devices --------------------------------------------------------------------------------------------- */

SHOW int cuInit(unsigned flags);
SHOW int cuInit(unsigned flags)
{
	int result = fake_enter(FAKE_cuInit, false);

	(void)flags;
	if (result)
		return result;
	fake_state_open();
	is_initialized = true;
	LEAVE(cuInit, OK);
}

SHOW int cuDriverGetVersion(int *version);
SHOW int cuDriverGetVersion(int *version)
{
	fake_state_open();
	(void)fake_enter(FAKE_cuDriverGetVersion, false);
	if (!version)
		return INVALID_VALUE;
	*version = fake_settings.version;
	return OK;
}

/* CUDA_VISIBLE_DEVICES as a list of numbers: which device an ordinal is. */
static int look_at_list(int ordinal)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");

	if (!list)
		return ordinal < fake_settings.devices ? ordinal : -1;
	for (; *list; ordinal--) {
		int device = atoi(list);

		if (device < 0 || device >= fake_settings.devices)
			return -1;
		if (ordinal == 0)
			return device;
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return -1;
}

/* The list is read once, as drivers do. */
int fake_visible(int ordinal)
{
	static int known[FAKE_DEVICES_MAX]; /* device + 1, or -1; 0: not looked up yet */

	if (ordinal < 0 || ordinal >= FAKE_DEVICES_MAX)
		return -1;
	if (!known[ordinal])
		known[ordinal] = look_at_list(ordinal) < 0 ? -1 : look_at_list(ordinal) + 1;
	return known[ordinal] < 0 ? -1 : known[ordinal] - 1;
}

bool fake_is_device(int device)
{
	return device >= 0 && fake_visible(device) >= 0;
}

SHOW int cuDeviceGetCount(int *n);
SHOW int cuDeviceGetCount(int *n)
{
	ENTER(cuDeviceGetCount)
	if (!n)
		return INVALID_VALUE;
	for (*n = 0; *n < FAKE_DEVICES_MAX && fake_is_device(*n); ++*n)
		;
	LEAVE(cuDeviceGetCount, OK);
}

SHOW int cuDeviceGet(int *device, int ordinal);
SHOW int cuDeviceGet(int *device, int ordinal)
{
	ENTER(cuDeviceGet)
	if (!device)
		return INVALID_VALUE;
	if (!fake_is_device(ordinal))
		return INVALID_DEVICE;
	*device = ordinal;
	LEAVE(cuDeviceGet, OK);
}

SHOW int cuDeviceGetUuid_v2(unsigned char *uuid, int device);
SHOW int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
	ENTER(cuDeviceGetUuid_v2)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	fake_uuid(fake_visible(device), uuid);
	LEAVE(cuDeviceGetUuid_v2, OK);
}

SHOW int cuDeviceGetPCIBusId(char *text, int size, int device);
SHOW int cuDeviceGetPCIBusId(char *text, int size, int device)
{
	ENTER(cuDeviceGetPCIBusId)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	fake_address(fake_visible(device), text, (size_t)size);
	LEAVE(cuDeviceGetPCIBusId, OK);
}

SHOW int cuDeviceTotalMem_v2(size_t *bytes, int device);
SHOW int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
	ENTER(cuDeviceTotalMem_v2)
	if (!bytes)
		return INVALID_VALUE;
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	*bytes = fake_settings.memory;
	LEAVE(cuDeviceTotalMem_v2, OK);
}

/* ---- contexts -------------------------------------------------------------------------------------------- */

static struct fake_context primary[FAKE_DEVICES_MAX];
static __thread struct fake_context *stack[16];
static __thread int depth;

struct fake_context *fake_current(void)
{
	struct fake_context *c = depth ? stack[depth - 1] : NULL;

	if (c && c->is_alive && c->under)
		c = c->under;
	return c && c->is_alive ? c : NULL;
}

static int begin(struct fake_context *c, int device)
{
	if (!fake_take(fake_visible(device), fake_settings.context))
		return OUT_OF_MEMORY;
	c->device = device;
	c->is_alive = true;
	return OK;
}

static void finish(struct fake_context *c)
{
	if (!c->is_alive)
		return;
	pthread_mutex_lock(&fake_lock);
	fake_memory_end(c);
	pthread_mutex_unlock(&fake_lock);
	fake_give(fake_visible(c->device), fake_settings.context);
	c->is_alive = false;
}

#define CREATE(name, device) \
	struct fake_context *c; \
	ENTER(name) \
	if (!ret) \
		return INVALID_VALUE; \
	if (!fake_is_device(device)) \
		return INVALID_DEVICE; \
	c = calloc(1, sizeof(*c)); \
	if (!c || depth == 16 || begin(c, device)) \
		return OUT_OF_MEMORY; \
	*ret = stack[depth++] = c; \
	LEAVE(name, OK);

SHOW int cuCtxCreate_v2(struct fake_context **ret, unsigned flags, int device);
SHOW int cuCtxCreate_v2(struct fake_context **ret, unsigned flags, int device)
{
	(void)flags;
	CREATE(cuCtxCreate_v2, device)
}

SHOW int cuCtxCreate_v4(struct fake_context **ret, void *parameters, unsigned flags, int device);
SHOW int cuCtxCreate_v4(struct fake_context **ret, void *parameters, unsigned flags, int device)
{
	(void)parameters, (void)flags;
	CREATE(cuCtxCreate_v4, device)
}

SHOW int cuCtxDestroy_v2(struct fake_context *c);
SHOW int cuCtxDestroy_v2(struct fake_context *c)
{
	ENTER(cuCtxDestroy_v2)
	if (!c || !c->is_alive || c->is_primary)
		return INVALID_CONTEXT;
	finish(c);
	if (depth && stack[depth - 1] == c)
		depth--;
	LEAVE(cuCtxDestroy_v2, OK);
}

SHOW int cuCtxAttach(struct fake_context **ret, unsigned flags);
SHOW int cuCtxAttach(struct fake_context **ret, unsigned flags)
{
	ENTER(cuCtxAttach)
	if (!ret || flags)
		return INVALID_VALUE;
	if (!fake_current())
		return INVALID_CONTEXT;
	*ret = stack[depth - 1];
	(*ret)->refs++;
	LEAVE(cuCtxAttach, OK);
}

SHOW int cuCtxDetach(struct fake_context *c);
SHOW int cuCtxDetach(struct fake_context *c)
{
	ENTER(cuCtxDetach)
	if (!c || !fake_current() || stack[depth - 1] != c || c->is_primary)
		return INVALID_CONTEXT;
	if (c->refs-- == 0) {
		finish(c);
		depth--;
	}
	LEAVE(cuCtxDetach, OK);
}

int fake_primary_retain(int device, struct fake_context **ret)
{
	primary[device].is_primary = true;
	if (!primary[device].is_alive && begin(&primary[device], device))
		return OUT_OF_MEMORY;
	primary[device].refs++;
	*ret = &primary[device];
	return OK;
}

void fake_primary_release(int device)
{
	if (primary[device].refs && --primary[device].refs == 0)
		finish(&primary[device]);
}

SHOW int cuDevicePrimaryCtxRetain(struct fake_context **ret, int device);
SHOW int cuDevicePrimaryCtxRetain(struct fake_context **ret, int device)
{
	ENTER(cuDevicePrimaryCtxRetain)
	if (!ret)
		return INVALID_VALUE;
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	LEAVE(cuDevicePrimaryCtxRetain, fake_primary_retain(device, ret));
}

SHOW int cuDevicePrimaryCtxRelease_v2(int device);
SHOW int cuDevicePrimaryCtxRelease_v2(int device)
{
	ENTER(cuDevicePrimaryCtxRelease_v2)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	if (!primary[device].is_alive)
		return INVALID_CONTEXT;
	fake_primary_release(device);
	LEAVE(cuDevicePrimaryCtxRelease_v2, OK);
}

SHOW int cuDevicePrimaryCtxReset_v2(int device);
SHOW int cuDevicePrimaryCtxReset_v2(int device)
{
	ENTER(cuDevicePrimaryCtxReset_v2)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	finish(&primary[device]);
	primary[device].refs = 0;
	LEAVE(cuDevicePrimaryCtxReset_v2, OK);
}

SHOW int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active);
SHOW int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
	ENTER(cuDevicePrimaryCtxGetState)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	*flags = 0;
	*active = primary[device].is_alive;
	LEAVE(cuDevicePrimaryCtxGetState, OK);
}

SHOW int cuCtxSetCurrent(struct fake_context *c);
SHOW int cuCtxSetCurrent(struct fake_context *c)
{
	ENTER(cuCtxSetCurrent)
	if (depth == 0)
		depth = 1;
	stack[depth - 1] = c;
	LEAVE(cuCtxSetCurrent, OK);
}

SHOW int cuCtxPushCurrent_v2(struct fake_context *c);
SHOW int cuCtxPushCurrent_v2(struct fake_context *c)
{
	ENTER(cuCtxPushCurrent_v2)
	if (!c || !c->is_alive || depth == 16)
		return INVALID_CONTEXT;
	stack[depth++] = c;
	LEAVE(cuCtxPushCurrent_v2, OK);
}

SHOW int cuCtxPopCurrent_v2(struct fake_context **ret);
SHOW int cuCtxPopCurrent_v2(struct fake_context **ret)
{
	ENTER(cuCtxPopCurrent_v2)
	if (depth == 0)
		return INVALID_CONTEXT;
	depth--;
	if (ret)
		*ret = stack[depth];
	LEAVE(cuCtxPopCurrent_v2, OK);
}

SHOW int cuCtxGetCurrent(struct fake_context **ret);
SHOW int cuCtxGetCurrent(struct fake_context **ret)
{
	ENTER(cuCtxGetCurrent)
	if (!ret)
		return INVALID_VALUE;
	*ret = fake_current() ? stack[depth - 1] : NULL;
	LEAVE(cuCtxGetCurrent, OK);
}

SHOW int cuCtxGetDevice(int *device);
SHOW int cuCtxGetDevice(int *device)
{
	ENTER(cuCtxGetDevice)
	if (!device)
		return INVALID_VALUE;
	if (!fake_current())
		return INVALID_CONTEXT;
	*device = fake_current()->device;
	LEAVE(cuCtxGetDevice, OK);
}

SHOW int cuCtxSynchronize(void);
SHOW int cuCtxSynchronize(void)
{
	ENTER(cuCtxSynchronize)
	if (!fake_current())
		return INVALID_CONTEXT;
	fake_pools_shrink();
	LEAVE(cuCtxSynchronize, OK);
}

/* ---- modules, of which only what they take is there ------------------------------------------------------ */

struct module {
	int device;
};

SHOW int cuModuleLoadData(struct module **ret, const void *image);
SHOW int cuModuleLoadData(struct module **ret, const void *image)
{
	struct module *m;

	ENTER(cuModuleLoadData)
	if (!ret || !image)
		return INVALID_VALUE;
	if (!fake_current())
		return INVALID_CONTEXT;
	m = calloc(1, sizeof(*m));
	if (!m || !fake_take(fake_visible(fake_current()->device), fake_settings.module))
		return OUT_OF_MEMORY;
	m->device = fake_visible(fake_current()->device);
	*ret = m;
	LEAVE(cuModuleLoadData, OK);
}

SHOW int cuModuleUnload(struct module *m);
SHOW int cuModuleUnload(struct module *m)
{
	ENTER(cuModuleUnload)
	if (!m)
		return INVALID_HANDLE;
	fake_give(m->device, fake_settings.module);
	free(m);
	LEAVE(cuModuleUnload, OK);
}
