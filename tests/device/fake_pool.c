/* SPDX-License-Identifier: MIT */
/* The fake driver's stream-ordered memory, streams, capture and graphs. Everything has happened
 * when a call returns; but what was given back leaves a pool only when somebody waits. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct location {
	int type, id;
};

struct properties {
	int type, handle_types;
	struct location location;
	void *security;
	size_t most;
	unsigned short usage;
	unsigned char reserved[54];
};

struct fake_pool {
	struct fake_pool *next;
	int device; /* -1: the host's */
	int handle_types;
	bool is_dead, is_imported;
	uint64_t reserved, used, threshold, reserved_high, used_high, most;
};

#define NODES 32

struct graph {
	uint64_t size[NODES], ptr[NODES];
	unsigned n;
	bool is_launched;
	int device;
};

struct stream {
	struct stream *next;
	struct graph *capture;
	int mode;
	pthread_t by;
	bool is_spoiled;
};

static struct stream *streams;
static __thread int own_mode;

#define MODE_GLOBAL 0
#define MODE_RELAXED 2

/* Calls about pools are unsafe while something is captured: they fail, and the capture with them. */
static int unsafe(void)
{
	int result = OK;

	pthread_mutex_lock(&fake_lock);
	for (struct stream *s = streams; s && own_mode != MODE_RELAXED; s = s->next) {
		bool is_own = s->capture && pthread_equal(s->by, pthread_self());

		if (!s->capture || s->mode == MODE_RELAXED ||
		    (!is_own && (s->mode != MODE_GLOBAL || own_mode != MODE_GLOBAL)))
			continue;
		s->is_spoiled = true;
		result = CAPTURE_UNSUPPORTED;
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

#define ENTER_UNSAFE(name) \
	ENTER(name) \
	if (unsafe()) \
		return CAPTURE_UNSUPPORTED;

SHOW int cuThreadExchangeStreamCaptureMode(int *mode);
SHOW int cuThreadExchangeStreamCaptureMode(int *mode)
{
	int was = own_mode;

	ENTER(cuThreadExchangeStreamCaptureMode)
	if (!mode || *mode < MODE_GLOBAL || *mode > MODE_RELAXED)
		return INVALID_VALUE;
	own_mode = *mode;
	*mode = was;
	LEAVE(cuThreadExchangeStreamCaptureMode, OK);
}

static struct fake_pool *pools;
static struct fake_pool standard[FAKE_DEVICES_MAX], of_host = { .device = -1 };
static struct fake_pool *current[FAKE_DEVICES_MAX];
static uint64_t graph_reserved[FAKE_DEVICES_MAX], graph_used[FAKE_DEVICES_MAX];

static uint64_t blocks(uint64_t bytes)
{
	return (bytes + FAKE_BLOCK - 1) / FAKE_BLOCK * FAKE_BLOCK;
}

static struct fake_pool *default_pool(int device)
{
	standard[device].device = device;
	return &standard[device];
}

static struct fake_pool *current_pool(int device)
{
	return current[device] ? current[device] : default_pool(device);
}

/* Neither ended nor somebody else's handle. */
static bool is_pool(const struct fake_pool *of)
{
	const struct fake_pool *p = pools;

	while (p && p != of)
		p = p->next;
	return of && (p ? !p->is_dead : of == &of_host || (of >= standard && of < standard + FAKE_DEVICES_MAX));
}

static void give_back(struct fake_pool *p, uint64_t bytes)
{
	if (p->device >= 0)
		fake_give(fake_visible(p->device), bytes);
	p->reserved -= bytes;
}

static void shrink(struct fake_pool *p, uint64_t keep)
{
	uint64_t to = blocks(p->used > keep ? p->used : keep);

	if (p->is_imported || to >= p->reserved)
		return;
	give_back(p, p->reserved - to);
}

void fake_pools_shrink(void)
{
	pthread_mutex_lock(&fake_lock);
	for (int i = 0; i < FAKE_DEVICES_MAX; i++)
		shrink(&standard[i], standard[i].threshold);
	for (struct fake_pool *p = pools; p; p = p->next)
		shrink(p, p->is_dead ? 0 : p->threshold);
	pthread_mutex_unlock(&fake_lock);
}

static bool reserve(struct fake_pool *p, uint64_t size)
{
	uint64_t need = p->used + size > p->reserved ? blocks(p->used + size) - p->reserved : 0;

	if (p->most && p->used + size > p->most)
		return false;
	if (p->device >= 0 && !fake_take(fake_visible(p->device), need))
		return false;
	p->reserved += need;
	p->used += size;
	if (p->reserved > p->reserved_high)
		p->reserved_high = p->reserved;
	if (p->used > p->used_high)
		p->used_high = p->used;
	return true;
}

static int capture(struct stream *s, uint64_t *ptr, uint64_t size)
{
	struct graph *g = s->capture;

	if (g->n == NODES)
		return OUT_OF_MEMORY;
	*ptr = fake_new_address(size);
	(void)fake_block_add(*ptr, size, g->device, KIND_GRAPH);
	g->ptr[g->n] = *ptr;
	g->size[g->n++] = size;
	return OK;
}

static int allocate(uint64_t *ptr, uint64_t size, struct fake_pool *p, struct stream *s)
{
	int result = OUT_OF_MEMORY;

	pthread_mutex_lock(&fake_lock);
	if (!is_pool(p) || p->is_imported) {
		result = INVALID_VALUE;
	} else if (s && s->capture) {
		result = capture(s, ptr, size);
	} else if (size <= fake_settings.memory && reserve(p, size)) {
		*ptr = fake_new_address(size);
		fake_block_add(*ptr, size, p->device, KIND_POOL)->pool = p;
		result = OK;
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

/* Under fake_lock. What others have leaves the pool at once. */
int fake_pool_free(struct fake_block *b)
{
	if (b->kind == KIND_POOL)
		b->pool->used -= b->size;
	if (b->kind == KIND_IMPORTED || b->serial)
		b->pool->reserved -= blocks(b->size);
	if (b->serial)
		fake_close(b->serial);
	fake_block_remove(b);
	return OK;
}

static int give(uint64_t ptr)
{
	struct fake_block *b;
	int result = INVALID_VALUE;

	pthread_mutex_lock(&fake_lock);
	b = fake_block_find(ptr);
	if (b && (b->kind == KIND_POOL || b->kind == KIND_IMPORTED))
		result = fake_pool_free(b);
	else if (b && b->kind == KIND_GRAPH)
		result = OK;
	pthread_mutex_unlock(&fake_lock);
	return result;
}

#define ALLOCATE(name, from) \
	ENTER(name) \
	if (!ptr || !size) \
		return INVALID_VALUE; \
	if (!fake_current()) \
		return INVALID_CONTEXT; \
	LEAVE(name, allocate(ptr, size, from, stream));

SHOW int cuMemAllocAsync(uint64_t *ptr, size_t size, struct stream *stream);
SHOW int cuMemAllocAsync(uint64_t *ptr, size_t size,
			 struct stream *stream){ ALLOCATE(cuMemAllocAsync, current_pool(fake_current()->device)) }

SHOW int cuMemAllocAsync_ptsz(uint64_t *ptr, size_t size, struct stream *stream);
SHOW int cuMemAllocAsync_ptsz(uint64_t *ptr, size_t size, struct stream *stream){
	ALLOCATE(cuMemAllocAsync_ptsz, current_pool(fake_current()->device))
}

SHOW int cuMemAllocFromPoolAsync(uint64_t *ptr, size_t size, struct fake_pool *pool, struct stream *stream);
SHOW int cuMemAllocFromPoolAsync(uint64_t *ptr, size_t size, struct fake_pool *pool,
				 struct stream *stream){ ALLOCATE(cuMemAllocFromPoolAsync, pool) }

SHOW int cuMemAllocFromPoolAsync_ptsz(uint64_t *ptr, size_t size, struct fake_pool *pool, struct stream *stream);
SHOW int cuMemAllocFromPoolAsync_ptsz(uint64_t *ptr, size_t size, struct fake_pool *pool,
				      struct stream *stream){ ALLOCATE(cuMemAllocFromPoolAsync_ptsz, pool) }

SHOW int cuMemFreeAsync(uint64_t ptr, struct stream *stream);
SHOW int cuMemFreeAsync(uint64_t ptr, struct stream *stream)
{
	ENTER(cuMemFreeAsync)
	(void)stream;
	LEAVE(cuMemFreeAsync, give(ptr));
}

SHOW int cuMemFreeAsync_ptsz(uint64_t ptr, struct stream *stream);
SHOW int cuMemFreeAsync_ptsz(uint64_t ptr, struct stream *stream)
{
	ENTER(cuMemFreeAsync_ptsz)
	(void)stream;
	LEAVE(cuMemFreeAsync_ptsz, give(ptr));
}

/* ---- pools ----------------------------------------------------------------------------------------------- */

SHOW int cuMemPoolCreate(struct fake_pool **pool, const struct properties *like);
SHOW int cuMemPoolCreate(struct fake_pool **pool, const struct properties *like)
{
	struct fake_pool *p;

	ENTER(cuMemPoolCreate)
	if (!pool || !like || like->type < 1 || like->type > 2 || like->location.type < (like->type == 1) ||
	    like->location.type > 3 || (like->location.type == 1 && !fake_is_device(like->location.id)))
		return INVALID_VALUE;
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	*p = (struct fake_pool){ .next = pools,
				 .device = like->location.type == 1 ? like->location.id
					   : like->location.type    ? -1
								    : 0,
				 .handle_types = like->handle_types,
				 .most = like->most };
	pools = *pool = p;
	LEAVE(cuMemPoolCreate, OK);
}

SHOW int cuMemPoolDestroy(struct fake_pool *p);
SHOW int cuMemPoolDestroy(struct fake_pool *p)
{
	ENTER(cuMemPoolDestroy)
	if (!is_pool(p) || p == &of_host || (p >= standard && p < standard + FAKE_DEVICES_MAX))
		return INVALID_VALUE;
	p->is_dead = true;
	fake_pools_shrink();
	LEAVE(cuMemPoolDestroy, OK);
}

SHOW int cuMemPoolTrimTo(struct fake_pool *p, size_t keep);
SHOW int cuMemPoolTrimTo(struct fake_pool *p, size_t keep)
{
	ENTER_UNSAFE(cuMemPoolTrimTo)
	if (!is_pool(p))
		return INVALID_VALUE;
	if (getenv("FAKE_CUDA_TRIM_NEEDS_CONTEXT") && !fake_current())
		return INVALID_CONTEXT;
	pthread_mutex_lock(&fake_lock);
	shrink(p, keep);
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuMemPoolTrimTo, OK);
}

static uint64_t *attribute_at(struct fake_pool *p, int attribute)
{
	switch (attribute) {
	case 4:
		return &p->threshold;
	case 5:
		return &p->reserved;
	case 6:
		return &p->reserved_high;
	case 7:
		return &p->used;
	case 8:
		return &p->used_high;
	default:
		return NULL;
	}
}

SHOW int cuMemPoolGetAttribute(struct fake_pool *p, int attribute, void *value);
SHOW int cuMemPoolGetAttribute(struct fake_pool *p, int attribute, void *value)
{
	ENTER_UNSAFE(cuMemPoolGetAttribute)
	if (!is_pool(p) || !value || !attribute_at(p, attribute))
		return INVALID_VALUE;
	*(uint64_t *)value = *attribute_at(p, attribute);
	LEAVE(cuMemPoolGetAttribute, OK);
}

SHOW int cuMemPoolSetAttribute(struct fake_pool *p, int attribute, void *value);
SHOW int cuMemPoolSetAttribute(struct fake_pool *p, int attribute, void *value)
{
	ENTER_UNSAFE(cuMemPoolSetAttribute)
	if (!is_pool(p) || !value || !attribute_at(p, attribute) || attribute == 5 || attribute == 7 ||
	    (attribute != 4 && *(uint64_t *)value))
		return INVALID_VALUE;
	*attribute_at(p, attribute) = *(uint64_t *)value;
	LEAVE(cuMemPoolSetAttribute, OK);
}

#define ANSWER_POOL(name, which) \
	ENTER(name) \
	if (!pool || !fake_is_device(device)) \
		return INVALID_VALUE; \
	*pool = which(device); \
	LEAVE(name, OK);

SHOW int cuDeviceGetMemPool(struct fake_pool **pool, int device);
SHOW int cuDeviceGetMemPool(struct fake_pool **pool, int device){ ANSWER_POOL(cuDeviceGetMemPool, current_pool) }

SHOW int cuDeviceGetDefaultMemPool(struct fake_pool **pool, int device);
SHOW int cuDeviceGetDefaultMemPool(struct fake_pool **pool,
				   int device){ ANSWER_POOL(cuDeviceGetDefaultMemPool, default_pool) }

SHOW int cuDeviceSetMemPool(int device, struct fake_pool *pool);
SHOW int cuDeviceSetMemPool(int device, struct fake_pool *pool)
{
	ENTER(cuDeviceSetMemPool)
	if (!is_pool(pool) || pool->is_imported || !fake_is_device(device))
		return INVALID_VALUE;
	current[device] = pool;
	LEAVE(cuDeviceSetMemPool, OK);
}

static struct fake_pool *pool_at(const struct location *l, int type, struct fake_pool *(*of)(int))
{
	if (!l || type < 1 || type > 2)
		return NULL;
	if (l->type == 1)
		return fake_is_device(l->id) ? of(l->id) : NULL;
	return l->type == 2 || l->type == 3 ? &of_host : NULL;
}

SHOW int cuMemGetDefaultMemPool(struct fake_pool **pool, const struct location *l, int type);
SHOW int cuMemGetDefaultMemPool(struct fake_pool **pool, const struct location *l, int type)
{
	ENTER(cuMemGetDefaultMemPool)
	if (!pool || !pool_at(l, type, default_pool))
		return INVALID_VALUE;
	*pool = pool_at(l, type, default_pool);
	LEAVE(cuMemGetDefaultMemPool, OK);
}

SHOW int cuMemGetMemPool(struct fake_pool **pool, const struct location *l, int type);
SHOW int cuMemGetMemPool(struct fake_pool **pool, const struct location *l, int type)
{
	ENTER(cuMemGetMemPool)
	if (!pool || !pool_at(l, type, current_pool))
		return INVALID_VALUE;
	*pool = pool_at(l, type, current_pool);
	LEAVE(cuMemGetMemPool, OK);
}

/* ---- pools of several processes -------------------------------------------------------------------------- */

SHOW int cuMemPoolExportToShareableHandle(void *shareable, struct fake_pool *p, int type, unsigned long long flags);
SHOW int cuMemPoolExportToShareableHandle(void *shareable, struct fake_pool *p, int type, unsigned long long flags)
{
	int fd;

	ENTER(cuMemPoolExportToShareableHandle)
	if (!shareable || !is_pool(p) || !(p->handle_types & type) || type != 1 || flags)
		return INVALID_VALUE;
	fd = memfd_create("fake-pool", 0);
	if (fd < 0 || write(fd, &p->device, sizeof(p->device)) != sizeof(p->device))
		return OUT_OF_MEMORY;
	*(int *)shareable = fd;
	LEAVE(cuMemPoolExportToShareableHandle, OK);
}

SHOW int cuMemPoolImportFromShareableHandle(struct fake_pool **pool, void *shareable, int type,
					    unsigned long long flags);
SHOW int cuMemPoolImportFromShareableHandle(struct fake_pool **pool, void *shareable, int type,
					    unsigned long long flags)
{
	struct fake_pool *p;
	int device;

	ENTER(cuMemPoolImportFromShareableHandle)
	if (!pool || type != 1 || flags ||
	    pread((int)(intptr_t)shareable, &device, sizeof(device), 0) != sizeof(device))
		return INVALID_VALUE;
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	*p = (struct fake_pool){ .next = pools, .device = device, .is_imported = true };
	pools = *pool = p;
	LEAVE(cuMemPoolImportFromShareableHandle, OK);
}

struct pool_pointer {
	int32_t pid, device;
	uint64_t ptr, size, serial;
	char rest[32];
};

_Static_assert(sizeof(struct pool_pointer) == 64, "the driver's size");

SHOW int cuMemPoolExportPointer(struct pool_pointer *data, uint64_t ptr);
SHOW int cuMemPoolExportPointer(struct pool_pointer *data, uint64_t ptr)
{
	struct fake_block *b;

	ENTER(cuMemPoolExportPointer)
	b = fake_block_find(ptr);
	if (!data || !b || b->kind != KIND_POOL || !b->pool->handle_types)
		return INVALID_VALUE;
	if (!b->serial)
		b->serial = fake_lend(fake_visible(b->device), blocks(b->size));
	*data = (struct pool_pointer){
		.pid = getpid(), .device = b->device, .ptr = ptr, .size = b->size, .serial = b->serial
	};
	LEAVE(cuMemPoolExportPointer, OK);
}

SHOW int cuMemPoolImportPointer(uint64_t *ptr, struct fake_pool *p, const struct pool_pointer *data);
SHOW int cuMemPoolImportPointer(uint64_t *ptr, struct fake_pool *p, const struct pool_pointer *data)
{
	struct fake_block *b;

	ENTER(cuMemPoolImportPointer)
	if (!ptr || !is_pool(p) || !p->is_imported || !data || !data->serial)
		return INVALID_VALUE;
	pthread_mutex_lock(&fake_lock);
	*ptr = fake_new_address(data->size);
	b = fake_block_add(*ptr, data->size, data->device, KIND_IMPORTED);
	b->pool = p;
	p->reserved += blocks(data->size); /* of another's; this one says so, too */
	b->serial = data->serial;
	fake_open(data->serial, fake_visible(data->device), blocks(data->size));
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuMemPoolImportPointer, OK);
}

/* ---- streams --------------------------------------------------------------------------------------------- */

SHOW int cuStreamCreate(struct stream **stream, unsigned flags);
SHOW int cuStreamCreate(struct stream **stream, unsigned flags)
{
	ENTER(cuStreamCreate)
	(void)flags;
	if (!fake_current())
		return INVALID_CONTEXT;
	*stream = calloc(1, sizeof(**stream));
	if (!*stream)
		return OUT_OF_MEMORY;
	pthread_mutex_lock(&fake_lock);
	(*stream)->next = streams;
	streams = *stream;
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuStreamCreate, OK);
}

SHOW int cuStreamSynchronize(struct stream *stream);
SHOW int cuStreamSynchronize(struct stream *stream)
{
	ENTER(cuStreamSynchronize)
	(void)stream;
	fake_pools_shrink();
	LEAVE(cuStreamSynchronize, OK);
}

SHOW int cuStreamSynchronize_ptsz(struct stream *stream);
SHOW int cuStreamSynchronize_ptsz(struct stream *stream)
{
	ENTER(cuStreamSynchronize_ptsz)
	(void)stream;
	fake_pools_shrink();
	LEAVE(cuStreamSynchronize_ptsz, OK);
}

static struct graph *new_graph(void)
{
	struct graph *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->device = fake_current() ? fake_current()->device : 0;
	return g;
}

SHOW int cuStreamBeginCapture_v2(struct stream *stream, int mode);
SHOW int cuStreamBeginCapture_v2(struct stream *stream, int mode)
{
	ENTER(cuStreamBeginCapture_v2)
	if (!stream || stream->capture)
		return INVALID_VALUE;
	stream->mode = mode;
	stream->by = pthread_self();
	stream->is_spoiled = false;
	stream->capture = new_graph();
	LEAVE(cuStreamBeginCapture_v2, OK);
}

SHOW int cuStreamEndCapture(struct stream *stream, struct graph **graph);
SHOW int cuStreamEndCapture(struct stream *stream, struct graph **graph)
{
	ENTER(cuStreamEndCapture)
	if (!stream || !stream->capture || !graph)
		return INVALID_VALUE;
	*graph = stream->is_spoiled ? NULL : stream->capture;
	stream->capture = NULL;
	LEAVE(cuStreamEndCapture, *graph ? OK : CAPTURE_INVALIDATED);
}

/* ---- graphs ---------------------------------------------------------------------------------------------- */

SHOW int cuGraphCreate(struct graph **graph, unsigned flags);
SHOW int cuGraphCreate(struct graph **graph, unsigned flags)
{
	ENTER(cuGraphCreate)
	(void)flags;
	*graph = new_graph();
	LEAVE(cuGraphCreate, OK);
}

struct node_parameters {
	struct properties pool;
	const void *access;
	size_t accesses, size;
	uint64_t ptr;
};

static int add_node(void **node, struct graph *g, struct node_parameters *p)
{
	if (!node || !g || !p || g->n == NODES)
		return INVALID_VALUE;
	p->ptr = g->ptr[g->n] = fake_new_address(p->size);
	g->size[g->n++] = p->size;
	*node = g;
	return OK;
}

SHOW int cuGraphAddMemAllocNode(void **node, struct graph *g, void *const *after, size_t n, struct node_parameters *p);
SHOW int cuGraphAddMemAllocNode(void **node, struct graph *g, void *const *after, size_t n, struct node_parameters *p)
{
	ENTER(cuGraphAddMemAllocNode)
	(void)after, (void)n;
	LEAVE(cuGraphAddMemAllocNode, add_node(node, g, p));
}

struct any_node {
	int type, reserved[3];
	struct node_parameters alloc;
};

static int add_any(void **node, struct graph *g, struct any_node *p)
{
	if (!node || !g || !p)
		return INVALID_VALUE;
	if (p->type == 10)
		return add_node(node, g, &p->alloc);
	*node = g;
	return OK;
}

SHOW int cuGraphAddNode(void **node, struct graph *g, void *const *after, size_t n, struct any_node *p);
SHOW int cuGraphAddNode(void **node, struct graph *g, void *const *after, size_t n, struct any_node *p)
{
	ENTER(cuGraphAddNode)
	(void)after, (void)n;
	LEAVE(cuGraphAddNode, add_any(node, g, p));
}

SHOW int cuGraphAddNode_v2(void **node, struct graph *g, void *const *after, const void *edges, size_t n,
			   struct any_node *p);
SHOW int cuGraphAddNode_v2(void **node, struct graph *g, void *const *after, const void *edges, size_t n,
			   struct any_node *p)
{
	ENTER(cuGraphAddNode_v2)
	(void)after, (void)edges, (void)n;
	LEAVE(cuGraphAddNode_v2, add_any(node, g, p));
}

SHOW int cuGraphInstantiateWithFlags(struct graph **exec, struct graph *graph, unsigned long long flags);
SHOW int cuGraphInstantiateWithFlags(struct graph **exec, struct graph *graph, unsigned long long flags)
{
	ENTER(cuGraphInstantiateWithFlags)
	(void)flags;
	if (!exec || !graph)
		return INVALID_VALUE;
	*exec = new_graph();
	**exec = *graph;
	LEAVE(cuGraphInstantiateWithFlags, OK);
}

static uint64_t graph_size(const struct graph *g)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < g->n; i++)
		sum += blocks(g->size[i]);
	return sum;
}

/* The memory of one graph's launches is the same each time. */
static int launch(struct graph *g)
{
	uint64_t need;

	if (g->is_launched)
		return OK;
	need = graph_used[g->device] + graph_size(g);
	need = need > graph_reserved[g->device] ? need - graph_reserved[g->device] : 0;
	if (!fake_take(fake_visible(g->device), need))
		return OUT_OF_MEMORY;
	graph_reserved[g->device] += need;
	graph_used[g->device] += graph_size(g);
	g->is_launched = true;
	return OK;
}

struct instantiation {
	uint64_t flags; /* 2: upload it, too */
	struct stream *stream;
	void *node;
	int result;
};

SHOW int cuGraphInstantiateWithParams(struct graph **exec, struct graph *graph, struct instantiation *p);
SHOW int cuGraphInstantiateWithParams(struct graph **exec, struct graph *graph, struct instantiation *p)
{
	ENTER(cuGraphInstantiateWithParams)
	if (!exec || !graph || !p)
		return INVALID_VALUE;
	*exec = new_graph();
	**exec = *graph;
	LEAVE(cuGraphInstantiateWithParams, p->flags & 2 ? launch(*exec) : OK);
}

SHOW int cuGraphLaunch(struct graph *exec, struct stream *stream);
SHOW int cuGraphLaunch(struct graph *exec, struct stream *stream)
{
	ENTER(cuGraphLaunch)
	(void)stream;
	LEAVE(cuGraphLaunch, exec ? launch(exec) : INVALID_VALUE);
}

SHOW int cuGraphLaunch_ptsz(struct graph *exec, struct stream *stream);
SHOW int cuGraphLaunch_ptsz(struct graph *exec, struct stream *stream)
{
	ENTER(cuGraphLaunch_ptsz)
	(void)stream;
	LEAVE(cuGraphLaunch_ptsz, exec ? launch(exec) : INVALID_VALUE);
}

SHOW int cuGraphExecDestroy(struct graph *exec);
SHOW int cuGraphExecDestroy(struct graph *exec)
{
	ENTER(cuGraphExecDestroy)
	if (!exec)
		return INVALID_VALUE;
	if (exec->is_launched)
		graph_used[exec->device] -= graph_size(exec);
	free(exec);
	LEAVE(cuGraphExecDestroy, OK);
}

SHOW int cuDeviceGraphMemTrim(int device);
SHOW int cuDeviceGraphMemTrim(int device)
{
	ENTER_UNSAFE(cuDeviceGraphMemTrim)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	fake_give(fake_visible(device), graph_reserved[device] - graph_used[device]);
	graph_reserved[device] = graph_used[device];
	LEAVE(cuDeviceGraphMemTrim, OK);
}

SHOW int cuDeviceGetGraphMemAttribute(int device, int attribute, void *value);
SHOW int cuDeviceGetGraphMemAttribute(int device, int attribute, void *value)
{
	ENTER_UNSAFE(cuDeviceGetGraphMemAttribute)
	if (!fake_is_device(device) || !value)
		return INVALID_VALUE;
	*(uint64_t *)value = attribute == 2 ? graph_reserved[device] : graph_used[device];
	LEAVE(cuDeviceGetGraphMemAttribute, OK);
}
