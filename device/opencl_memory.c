/* SPDX-License-Identifier: MIT */
/* OpenCL's memory objects: guessed before they are made, charged by the size that the driver then
 * says, given back when it frees them. Our destructor callback is the first on an object's stack
 * and so the last to be called. */
#include "device/opencl.h"

/* ---- a reservation in each region of a context */

bool opencl_reserve(struct opencl_charge *c, cl_handle context, uint64_t flags, uint64_t bytes)
{
	struct opencl_regions r;

	c->n = 0;
	c->is_host = false;
	opencl_regions_of(context, &r);
	for (unsigned i = 0; i < r.n; i++) {
		if (r.is_host[i] && (flags & CL_USE_HOST_PTR))
			continue;
		if (!device_charge_reserve(&c->charge[c->n], r.resource[i], bytes)) {
			opencl_cancel(c);
			return false;
		}
		c->is_host |= r.is_host[i];
		c->resource[c->n++] = r.resource[i];
	}
	return true;
}

bool opencl_reserve_more(struct opencl_charge *c, uint64_t bytes)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!device_charge_reserve_more(&c->charge[i], bytes))
			return false;
	return true;
}

/* Which of its devices has no room is not said. */
bool opencl_full(struct opencl_charge *c, uint64_t bytes)
{
	bool any = false;

	for (unsigned i = 0; i < c->n; i++)
		any |= device_full(&c->charge[i], bytes);
	return any;
}

void opencl_cancel(struct opencl_charge *c)
{
	for (unsigned i = 0; i < c->n; i++)
		device_charge_cancel(&c->charge[i]);
	c->n = 0;
}

/* The addresses behind an object's own, which nothing else begins at, are the keys of its other
 * regions. */
void opencl_commit(struct opencl_charge *c, const void *key, uint64_t bytes)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct ledger_entry e = {
			.key = (uintptr_t)key + i, .kind = LEDGER_BUFFER, .maps = c->n, .resource = c->resource[i]
		};

		device_charge_commit(&c->charge[i], bytes, &e.paid);
		(void)ledger_put(&e);
	}
}

void opencl_take(const void *key, struct opencl_held *ret)
{
	unsigned n = 1;

	for (ret->n = 0; ret->n < n; ret->n++) {
		if (!ledger_take(LEDGER_BUFFER, (uintptr_t)key + ret->n, &ret->entry[ret->n]))
			return;
		n = ret->entry[0].maps;
	}
}

void opencl_give(const struct opencl_held *held)
{
	for (unsigned i = 0; i < held->n; i++)
		device_charge_return(&held->entry[i].paid);
}

/* ---- objects */

static void gone(cl_handle mem, void *arg)
{
	struct opencl_held held;

	(void)arg;
	opencl_take(mem, &held);
	opencl_give(&held);
}

static cl_handle refuse(int error, int *err)
{
	if (err)
		*err = error;
	return NULL;
}

static uint64_t true_size(cl_handle mem, uint64_t guessed)
{
	size_t size = 0;

	if (BELOW(clGetMemObjectInfo)(mem, CL_MEM_SIZE, sizeof(size), &size, NULL) || size == 0)
		return guessed;
	return size;
}

static cl_handle keep(struct opencl_charge *c, cl_handle mem, uint64_t guessed, int *err)
{
	uint64_t bytes;

	if (!mem) {
		opencl_cancel(c);
		return NULL;
	}
	if (c->n == 0)
		return mem;
	bytes = true_size(mem, guessed);
	if (bytes > guessed && !opencl_reserve_more(c, bytes - guessed)) {
		opencl_cancel(c);
		(void)BELOW(clReleaseMemObject)(mem);
		return refuse(CL_MEM_OBJECT_ALLOCATION_FAILURE, err);
	}
	opencl_commit(c, mem, bytes);
	if (BELOW(clSetMemObjectDestructorCallback)(mem, gone, NULL)) {
		gone(mem, NULL); /* nobody would tell us */
		device_member_mark_partial();
	}
	return mem;
}

/* There is no room. What the driver would have said before it came to that is asked for with the
 * least of the same kind. */
static cl_handle refuse_as_driver(cl_handle least, int *err)
{
	if (!least)
		return NULL;
	(void)BELOW(clReleaseMemObject)(least);
	return refuse(CL_MEM_OBJECT_ALLOCATION_FAILURE, err);
}

/* Sizes and all else that a driver checks before it takes memory have errors of their own. A driver
 * that takes it at the first use says so there. */
static bool is_full(const struct opencl_charge *c, cl_handle mem, int error)
{
	return !mem && (error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_RESOURCES ||
			(error == CL_OUT_OF_HOST_MEMORY && c->is_host));
}

/* `err` is the caller's, or one that he need not see. */
#define MAKE_GUESSED(charge, guessed, err, real) \
	int unseen = CL_DONE; \
	cl_handle mem; \
	err = (err) ? (err) : &unseen; \
	DEVICE_CALL(mem, real, is_full(charge, mem, *(err)) && opencl_full(charge, guessed)); \
	return keep(charge, mem, guessed, err);

#define MAKE(context, flags, bytes, err, real, least) \
	uint64_t guessed = (bytes); \
	struct opencl_charge charge; \
	if (!opencl_reserve(&charge, context, flags, guessed)) \
		return refuse_as_driver(least, err); \
	MAKE_GUESSED(&charge, guessed, err, real)

#define MAKE_BUFFER(context, flags, size, err, real, least) \
	uint64_t guessed = (size); \
	struct opencl_charge charge; \
	if (opencl_reserve(&charge, context, flags, guessed)) { \
		MAKE_GUESSED(&charge, guessed, err, real) \
	} \
	if (!refuse_as_driver(least, err) && opencl_is_beyond_devices(context, guessed) && (err) && \
	    *(err) == CL_MEM_OBJECT_ALLOCATION_FAILURE) \
		return refuse(CL_INVALID_BUFFER_SIZE, err); \
	return NULL;

cl_handle opencl_clCreateBuffer(cl_handle context, uint64_t flags, size_t size, void *host, int *err)
{
	MAKE_BUFFER(context, flags, size, err, BELOW(clCreateBuffer)(context, flags, size, host, err),
		    BELOW(clCreateBuffer)(context, flags, 1, host, err))
}

/* Memory that comes from elsewhere is paid for there. */
static bool is_plain(const uint64_t *properties)
{
	return !properties || properties[0] == 0 || properties[0] == CL_MEM_DEVICE_HANDLE_LIST;
}

cl_handle opencl_clCreateBufferWithProperties(cl_handle context, const uint64_t *properties, uint64_t flags,
					      size_t size, void *host, int *err)
{
	if (!is_plain(properties)) {
		device_member_mark_partial();
		return BELOW(clCreateBufferWithProperties)(context, properties, flags, size, host, err);
	}
	MAKE_BUFFER(context, flags, size, err,
		    BELOW(clCreateBufferWithProperties)(context, properties, flags, size, host, err),
		    BELOW(clCreateBufferWithProperties)(context, properties, flags, 1, host, err))
}

cl_handle opencl_clCreatePipe(cl_handle context, uint64_t flags, unsigned packet, unsigned packets,
			      const intptr_t *properties, int *err)
{
	MAKE(context, flags, (uint64_t)packet * packets, err,
	     BELOW(clCreatePipe)(context, flags, packet, packets, properties, err),
	     BELOW(clCreatePipe)(context, flags, packet, 1, properties, err))
}

/* ---- images */

static unsigned channels_of(unsigned order)
{
	switch (order) {
	case 0x10b2: /* RG, RA */
	case 0x10b3:
		return 2;
	case 0x10b5: /* RGBA, BGRA, ARGB, sRGBA, sBGRA, ABGR */
	case 0x10b6:
	case 0x10b7:
	case 0x10c1:
	case 0x10c2:
	case 0x10c3:
		return 4;
	default:
		return 1; /* and what is packed into one; corrected afterwards */
	}
}

static unsigned bytes_of(unsigned type)
{
	switch (type) {
	case 0x10d1: /* 16 bits: normalized, packed, integers, half */
	case 0x10d3:
	case 0x10d4:
	case 0x10d5:
	case 0x10d8:
	case 0x10db:
	case 0x10dd:
		return 2;
	case 0x10d6: /* 32 bits: packed, integers, float */
	case 0x10d9:
	case 0x10dc:
	case 0x10de:
		return 4;
	default:
		return 1;
	}
}

/* 0: the driver will not. */
static uint64_t elements(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t n;

	return __builtin_mul_overflow(a, b ? b : 1, &n) || __builtin_mul_overflow(n, c ? c : 1, &n) ||
			       n > UINT64_MAX / 64
		       ? 0
		       : n;
}

static uint64_t guess(const struct cl_format *format, uint64_t n)
{
	return format ? n * channels_of(format->order) * bytes_of(format->type) : 0;
}

/* Which of its numbers count is said by the kind of an image: those of the others may be anything.
 */
static uint64_t elements_of(const struct cl_shape *s)
{
	switch (s->kind) {
	case 0x10f1:
		return elements(s->width, s->height, 1);
	case 0x10f2:
		return elements(s->width, s->height, s->depth);
	case 0x10f3:
		return elements(s->width, s->height, s->layers);
	case 0x10f4:
		return s->width;
	case 0x10f5:
		return elements(s->width, s->layers, 1);
	default:
		return 0;
	}
}

static struct cl_shape least_of(const struct cl_shape *s)
{
	struct cl_shape least = *s;

	least.width = least.height = least.depth = least.layers = 1;
	least.pitch = least.slice = 0;
	return least;
}

cl_handle opencl_clCreateImage(cl_handle context, uint64_t flags, const struct cl_format *format,
			       const struct cl_shape *shape, void *host, int *err)
{
	struct cl_shape least;

	if (!format || !shape || shape->of)
		return BELOW(clCreateImage)(context, flags, format, shape, host, err);
	least = least_of(shape);
	MAKE(context, flags, guess(format, elements_of(shape)), err,
	     BELOW(clCreateImage)(context, flags, format, shape, host, err),
	     BELOW(clCreateImage)(context, flags, format, &least, host, err))
}

cl_handle opencl_clCreateImageWithProperties(cl_handle context, const uint64_t *properties, uint64_t flags,
					     const struct cl_format *format, const struct cl_shape *shape, void *host,
					     int *err)
{
	struct cl_shape least;

	if (!is_plain(properties))
		device_member_mark_partial();
	if (!format || !shape || shape->of || !is_plain(properties))
		return BELOW(clCreateImageWithProperties)(context, properties, flags, format, shape, host, err);
	least = least_of(shape);
	MAKE(context, flags, guess(format, elements_of(shape)), err,
	     BELOW(clCreateImageWithProperties)(context, properties, flags, format, shape, host, err),
	     BELOW(clCreateImageWithProperties)(context, properties, flags, format, &least, host, err))
}

cl_handle opencl_clCreateImage2D(cl_handle context, uint64_t flags, const struct cl_format *format, size_t width,
				 size_t height, size_t pitch, void *host, int *err){
	MAKE(context, flags, guess(format, elements(width, height, 1)), err,
	     BELOW(clCreateImage2D)(context, flags, format, width, height, pitch, host, err),
	     BELOW(clCreateImage2D)(context, flags, format, 1, 1, 0, host, err))
}

cl_handle opencl_clCreateImage3D(cl_handle context, uint64_t flags, const struct cl_format *format, size_t width,
				 size_t height, size_t depth, size_t pitch, size_t slice, void *host, int *err)
{
	MAKE(context, flags, guess(format, elements(width, height, depth)), err,
	     BELOW(clCreateImage3D)(context, flags, format, width, height, depth, pitch, slice, host, err),
	     BELOW(clCreateImage3D)(context, flags, format, 1, 1, 2, 0, 0, host, err))
}
