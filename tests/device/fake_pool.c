/* SPDX-License-Identifier: MIT */
/* The fake driver's stream-ordered memory, streams, capture and graphs. Everything has happened
 * when a call returns; but what was given back leaves a pool only when somebody waits. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <string.h>

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
	int device;
	bool is_dead;
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
	struct graph *capture;
};

static struct fake_pool *pools;
static struct fake_pool standard[FAKE_DEVICES_MAX];
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

static void shrink(struct fake_pool *p, uint64_t keep)
{
	uint64_t to = blocks(p->used > keep ? p->used : keep);

	if (to >= p->reserved)
		return;
	fake_give(fake_visible(p->device), p->reserved - to);
	p->reserved = to;
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
	if (!fake_take(fake_visible(p->device), need))
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
	if (s && s->capture) {
		result = capture(s, ptr, size);
	} else if (size <= fake_settings.memory && reserve(p, size)) {
		*ptr = fake_new_address(size);
		fake_block_add(*ptr, size, p->device, KIND_POOL)->pool = p;
		result = OK;
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

/* Under fake_lock. */
int fake_pool_free(struct fake_block *b)
{
	b->pool->used -= b->size;
	fake_block_remove(b);
	return OK;
}

static int give(uint64_t ptr)
{
	struct fake_block *b;
	int result = INVALID_VALUE;

	pthread_mutex_lock(&fake_lock);
	b = fake_block_find(ptr);
	if (b && b->kind == KIND_POOL)
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
	if (!pool || !like || like->location.type != 1 || !fake_is_device(like->location.id))
		return INVALID_VALUE;
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	*p = (struct fake_pool){ .next = pools, .device = like->location.id, .most = like->most };
	pools = *pool = p;
	LEAVE(cuMemPoolCreate, OK);
}

SHOW int cuMemPoolDestroy(struct fake_pool *p);
SHOW int cuMemPoolDestroy(struct fake_pool *p)
{
	ENTER(cuMemPoolDestroy)
	if (!p)
		return INVALID_VALUE;
	p->is_dead = true;
	fake_pools_shrink();
	LEAVE(cuMemPoolDestroy, OK);
}

SHOW int cuMemPoolTrimTo(struct fake_pool *p, size_t keep);
SHOW int cuMemPoolTrimTo(struct fake_pool *p, size_t keep)
{
	ENTER(cuMemPoolTrimTo)
	if (!p)
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
	ENTER(cuMemPoolGetAttribute)
	if (!p || !value || !attribute_at(p, attribute))
		return INVALID_VALUE;
	*(uint64_t *)value = *attribute_at(p, attribute);
	LEAVE(cuMemPoolGetAttribute, OK);
}

SHOW int cuMemPoolSetAttribute(struct fake_pool *p, int attribute, void *value);
SHOW int cuMemPoolSetAttribute(struct fake_pool *p, int attribute, void *value)
{
	ENTER(cuMemPoolSetAttribute)
	if (!p || !value || !attribute_at(p, attribute) || attribute == 5 || attribute == 7 ||
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
	if (!pool || !fake_is_device(device))
		return INVALID_VALUE;
	current[device] = pool;
	LEAVE(cuDeviceSetMemPool, OK);
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
	LEAVE(cuStreamCreate, *stream ? OK : OUT_OF_MEMORY);
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
	(void)mode;
	if (!stream || stream->capture)
		return INVALID_VALUE;
	stream->capture = new_graph();
	LEAVE(cuStreamBeginCapture_v2, OK);
}

SHOW int cuStreamEndCapture(struct stream *stream, struct graph **graph);
SHOW int cuStreamEndCapture(struct stream *stream, struct graph **graph)
{
	ENTER(cuStreamEndCapture)
	if (!stream || !stream->capture || !graph)
		return INVALID_VALUE;
	*graph = stream->capture;
	stream->capture = NULL;
	LEAVE(cuStreamEndCapture, OK);
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

SHOW int cuGraphAddMemAllocNode(void **node, struct graph *g, void *const *after, size_t n, struct node_parameters *p);
SHOW int cuGraphAddMemAllocNode(void **node, struct graph *g, void *const *after, size_t n, struct node_parameters *p)
{
	ENTER(cuGraphAddMemAllocNode)
	(void)after, (void)n;
	if (!node || !g || !p || g->n == NODES)
		return INVALID_VALUE;
	p->ptr = g->ptr[g->n] = fake_new_address(p->size);
	g->size[g->n++] = p->size;
	*node = g;
	LEAVE(cuGraphAddMemAllocNode, OK);
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
	ENTER(cuDeviceGraphMemTrim)
	if (!fake_is_device(device))
		return INVALID_DEVICE;
	fake_give(fake_visible(device), graph_reserved[device] - graph_used[device]);
	graph_reserved[device] = graph_used[device];
	LEAVE(cuDeviceGraphMemTrim, OK);
}

SHOW int cuDeviceGetGraphMemAttribute(int device, int attribute, void *value);
SHOW int cuDeviceGetGraphMemAttribute(int device, int attribute, void *value)
{
	ENTER(cuDeviceGetGraphMemAttribute)
	if (!fake_is_device(device) || !value)
		return INVALID_VALUE;
	*(uint64_t *)value = attribute == 2 ? graph_reserved[device] : graph_used[device];
	LEAVE(cuDeviceGetGraphMemAttribute, OK);
}
