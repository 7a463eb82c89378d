/* SPDX-License-Identifier: MIT */
/* A driver without a device: what a CUDA driver does with memory, its answers and its mistakes
 * included, so that what stands in front of it can be tested anywhere. Devices' capacity is shared
 * between processes by a file.
 *
 * FAKE_CUDA_STATE=FILE     that file; made if missing
 * FAKE_CUDA_DEVICES=N      1 to 4 (1)             FAKE_CUDA_MEMORY=BYTES   of each (8 GiB)
 * FAKE_CUDA_CONTEXT=BYTES  what a context takes (0)
 * FAKE_CUDA_MODULE=BYTES   what a module takes (0)
 * FAKE_CUDA_VERSION=N      13000                  FAKE_CUDA_REVERSED=1     NVML counts from the other end
 * FAKE_CUDA_MIG=1          the devices are parts of one: one address, and NVML knows the whole
 * FAKE_CUDA_FAIL=NAME:N:CODE     the N-th call of NAME answers CODE
 * FAKE_CUDA_CRASH=NAME:N:WHERE   there the process is killed: before (the call does anything), after
 * FAKE_CUDA_LOG=FILE       at the end: a line "NAME COUNT" for each that was called
 * FAKE_CUDA_LOOKUPS=FILE   a line "NAME VERSION FLAGS FOUND" for each that cuGetProcAddress is asked for
 */
#ifndef TESTS_DEVICE_FAKE_H
#define TESTS_DEVICE_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_DEVICES_MAX 4
#define FAKE_BLOCK (2ull << 20)
#define SHOW __attribute__((visibility("default")))

enum {
	OK = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	DEINITIALIZED = 4,
	INVALID_DEVICE = 101,
	INVALID_CONTEXT = 201,
	ALREADY_MAPPED = 208,
	NOT_MAPPED = 211,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_SUPPORTED = 801,
	CAPTURE_UNSUPPORTED = 900,
	CAPTURE_INVALIDATED = 901,
};

/* ---- what processes share (fake_state.c) ----------------------------------------------------------------- */

struct fake_slot {
	_Atomic int32_t pid;
	_Atomic uint64_t image; /* of the process: another one has lost what was there before */
	_Atomic uint64_t used[FAKE_DEVICES_MAX];
};

/* Memory that several processes have: it is the device's until the last one has closed it. */
#define FAKE_HOLDERS 16
struct fake_lent {
	uint64_t serial, size;
	int device;
	int32_t holder[FAKE_HOLDERS]; /* pids; 0 none */
};

struct fake_shared {
	_Atomic uint64_t used[FAKE_DEVICES_MAX];
	struct fake_slot slot[256];
	_Atomic int32_t lock; /* of what follows */
	uint64_t serials;
	struct fake_lent lent[256];
};

struct fake_settings {
	int devices, version;
	uint64_t memory, context, module;
	bool reversed, mig;
};

extern struct fake_shared *fake_shared;
extern struct fake_settings fake_settings;

void fake_state_open(void);
bool fake_take(int device, uint64_t bytes);
void fake_give(int device, uint64_t bytes);
uint64_t fake_used(int device);
uint64_t fake_used_by(int device, int32_t pid);

/* Own memory that others may open: its serial. fake_open adds this process, or takes it anew where it had gone. */
uint64_t fake_lend(int device, uint64_t size);
void fake_open(uint64_t serial, int device, uint64_t size);
void fake_close(uint64_t serial);
void fake_uuid(int device, unsigned char uuid[16]);
void fake_address(int device, char *text, size_t size);

/* ---- one driver (fake_driver.c) -------------------------------------------------------------------------- */

enum fake_call {
#define DRIVER(name, base, version, per_thread) FAKE_##name,
#include "tests/device/driver.def"
#undef DRIVER
	FAKE_CALLS
};

struct fake_name {
	const char *name, *base;
	int version, per_thread;
	void *function;
};
extern const struct fake_name fake_names[FAKE_CALLS]; /* fake_names.c */

/* Counts; what is not 0 is the answer: not initialized, or FAKE_CUDA_FAIL. */
int fake_enter(enum fake_call call, bool needs_init);
int fake_leave(enum fake_call call, int result);

#define ENTER(name) \
	int entered = fake_enter(FAKE_##name, true); \
	if (entered) \
		return entered;
#define LEAVE(name, result) return fake_leave(FAKE_##name, (result))

struct fake_context {
	int device;
	bool is_alive, is_primary;
	int refs;		    /* beside the first, but for a primary one */
	struct fake_context *under; /* of a green one: the primary one */
};

extern pthread_mutex_t fake_lock;

/* The thread's, whose its memory is; NULL: none. */
struct fake_context *fake_current(void);
int fake_primary_retain(int device, struct fake_context **ret);
void fake_primary_release(int device);
bool fake_is_device(int device);

/* Which device of the machine an ordinal is, -1 none: what is taken and given is counted by that. */
int fake_visible(int ordinal);

/* Ends all that was allocated in a context. Under fake_lock. */
void fake_memory_end(struct fake_context *context);
void fake_pools_shrink(void);

/* ---- addresses (fake_memory.c) --------------------------------------------------------------------------- */

enum fake_kind {
	KIND_PLAIN,
	KIND_MANAGED,
	KIND_POOL,
	KIND_MAPPED,
	KIND_IPC,
	KIND_RANGE,
	KIND_GRAPH,
	KIND_EXTERNAL,
	KIND_IMPORTED
};

struct fake_pool;
struct fake_external;

struct fake_block {
	struct fake_block *next;
	uint64_t ptr, size, taken;
	int device;
	enum fake_kind kind;
	struct fake_context *context;
	struct fake_pool *pool;
	struct fake_external *external;
	uint64_t serial; /* what others may open; 0: they may not */
};

uint64_t fake_new_address(uint64_t size);
struct fake_block *fake_block_add(uint64_t ptr, uint64_t size, int device, enum fake_kind kind);
struct fake_block *fake_block_find(uint64_t ptr);
void fake_block_remove(struct fake_block *b);
uint64_t fake_block_lower(uint64_t ptr); /* to an address of 32 bits */
int fake_pool_free(struct fake_block *b);

/* ---- arrays (fake_memory.c, fake_sparse.c) --------------------------------------------------------------- */

#define ARRAY_MAGIC 0x41525259u
#define ARRAY_SPARSE 0x40u
#define ARRAY_DEFERRED 0x80u

struct fake_array {
	unsigned magic;
	struct fake_array *next;
	struct fake_context *context;
	struct fake_external *external; /* whose memory it is; NULL: its own */
	uint64_t size, element;
	uint64_t width, height, depth; /* elements, 1 at least */
	unsigned levels, flags;
	bool is_mipmap;
};

struct fake_array *fake_array_add(struct fake_context *context);
void fake_sparse_end(struct fake_array *a);

/* ---- physical memory, and what keeps it (fake_physical.c, fake_multicast.c, fake_external.c) ------------- */

/* A handle that is valid, if only by its mappings. */
bool fake_physical_hold(uint64_t handle);
void fake_physical_let(uint64_t handle);
uint64_t fake_physical_size(uint64_t handle); /* 0: it is none, or a multicast object */
uint64_t fake_physical_at(uint64_t ptr);      /* 0: nothing is mapped there */
int fake_physical_device(uint64_t handle);
uint64_t fake_multicast_add(uint64_t size, unsigned devices);
unsigned *fake_multicast_devices(uint64_t handle, uint64_t *size); /* to come; NULL: it is none */
void fake_multicast_end(uint64_t handle);

/* What goes through a descriptor. */
struct fake_exported {
	int32_t pid, device;
	uint64_t size, handle, serial;
	unsigned is_multicast;
};

void fake_external_let(struct fake_external *e);
void fake_external_end(const struct fake_context *context);

#endif
