/* SPDX-License-Identifier: MIT */
/* The client's commands about what else holds device memory: sparse arrays, multicast objects, what
 * others have made, shared pools; and contexts of other kinds. Nothing of ours is linked in. */
#include "tests/device/client.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT(x) ((number)(uintptr_t)(x))
#define CALL(name, ...) CALL_(name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(name, a, b, c, d, e, f, g, ...) client_call(name, AT(a), AT(b), AT(c), AT(d), AT(e), AT(f), AT(g))

/* The call first, then what it has written. */
#define KEEP(result, value) \
	do { \
		int r_ = (result); \
		client_keep(r_, (value)); \
	} while (0)
#define ANSWER(result) client_answer((result), 0)

static int is(char **w, const char *name)
{
	return strcmp(w[0], name) == 0;
}

static number at(char **w, int i)
{
	return w[i] ? client_size(w[i]) : 0;
}

static number kept_at(char **w, int i)
{
	return w[i] && strcmp(w[i], "-") != 0 ? kept[client_size(w[i])] : 0;
}

/* ---- what others have made ------------------------------------------------------------------------------- */

struct external {
	int type;
	union {
		int fd;
		void *pointer[2];
	};
	number size;
	unsigned flags, reserved[16];
};

struct part {
	number offset, size;
	unsigned flags, reserved[16];
};

static int external(char **w)
{
	struct external what = { .type = 1, .fd = (int)at(w, 1), .size = at(w, 2) };
	struct part part = { .size = at(w, 2) };
	number x = 0, levels[32] = { 0 };

	if (is(w, "descriptor")) { /* of another process: pid, its number there */
		int fd =
			(int)syscall(SYS_pidfd_getfd, (int)syscall(SYS_pidfd_open, (int)at(w, 1), 0), (int)at(w, 2), 0);

		client_answer(fd < 0, (number)fd);
	} else if (is(w, "external"))
		KEEP(CALL("cuImportExternalMemory", &x, &what), x);
	else if (is(w, "buffer"))
		KEEP(CALL("cuExternalMemoryGetMappedBuffer", &x, kept_at(w, 1), &part), x);
	else if (is(w, "mipmapof"))
		KEEP(CALL("cuExternalMemoryGetMappedMipmappedArray", &x, kept_at(w, 1), levels), x);
	else if (is(w, "endexternal"))
		ANSWER(CALL("cuDestroyExternalMemory", kept_at(w, 1)));
	else
		return 0;
	return 1;
}

/* ---- sparse arrays --------------------------------------------------------------------------------------- */

struct deep {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

struct map {
	int array_type;
	number array;
	int part;
	union {
		struct {
			unsigned level, layer, x, y, z, width, height, depth;
		} level;
		struct {
			unsigned layer;
			number offset, size;
		} tail;
	};
	int operation, handle_type;
	number handle, offset;
	unsigned devices, flags, reserved[2];
};

static void map_call(const char *name, char **w, int type)
{
	struct map m = { .array_type = type,
			 .array = kept_at(w, 1),
			 .level = { .x = (unsigned)at(w, 3),
				    .y = (unsigned)at(w, 4),
				    .width = (unsigned)at(w, 5),
				    .height = (unsigned)at(w, 6),
				    .depth = 1,
				    .level = (unsigned)at(w, 7) },
			 .handle = kept_at(w, 2),
			 .devices = 1 };

	m.operation = m.handle ? 1 : 2;
	ANSWER(CALL(name, &m, 1, 0));
}

static void tail_call(char **w)
{
	struct map m = { .array_type = 1,
			 .array = kept_at(w, 1),
			 .part = 1,
			 .tail = { .offset = at(w, 3), .size = at(w, 4) },
			 .handle = kept_at(w, 2),
			 .devices = 1 };

	m.operation = m.handle ? 1 : 2;
	ANSWER(CALL("cuMemMapArrayAsync", &m, 1, 0));
}

/* Arrays are of 16 bytes an element. */
static int sparse(char **w)
{
	struct deep d = { at(w, 1), at(w, 2), 0, 0x20, 4, is(w, "deferred") ? 0x80 : 0x40 };
	number x = 0;

	if (is(w, "deferred"))
		KEEP(CALL("cuArray3DCreate_v2", &x, &d), x);
	else if (is(w, "sparsemip"))
		KEEP(CALL("cuMipmappedArrayCreate", &x, &d, at(w, 3)), x);
	else if (is(w, "tiles")) /* array, memory or -, x, y, width, height, level */
		map_call("cuMemMapArrayAsync", w, 0);
	else if (is(w, "tilesptsz"))
		map_call("cuMemMapArrayAsync_ptsz", w, 0);
	else if (is(w, "tilesmip"))
		map_call("cuMemMapArrayAsync", w, 1);
	else if (is(w, "tail")) /* mipmap, memory or -, offset, size */
		tail_call(w);
	else
		return 0;
	return 1;
}

/* ---- multicast objects ----------------------------------------------------------------------------------- */

struct multicast {
	unsigned devices;
	size_t size;
	number handle_types, flags;
};

static int multicast(char **w)
{
	struct multicast p = { .devices = w[1] && w[2] ? (unsigned)at(w, 2) : 1, .size = at(w, 1), .handle_types = 1 };
	number x = 0;

	if (is(w, "multicast"))
		KEEP(CALL("cuMulticastCreate", &x, &p), x);
	else if (is(w, "adddevice"))
		ANSWER(CALL("cuMulticastAddDevice", kept_at(w, 1), at(w, 2)));
	else if (is(w, "bindmem")) /* object, at, memory, offset, size */
		ANSWER(CALL("cuMulticastBindMem", kept_at(w, 1), at(w, 2), kept_at(w, 3), at(w, 4), at(w, 5), 0));
	else if (is(w, "bindmem2")) /* object, device, at, memory, offset, size */
		ANSWER(CALL("cuMulticastBindMem_v2", kept_at(w, 1), at(w, 2), at(w, 3), kept_at(w, 4), at(w, 5),
			    at(w, 6), 0));
	else if (is(w, "bindaddr")) /* object, at, range, offset, size */
		ANSWER(CALL("cuMulticastBindAddr", kept_at(w, 1), at(w, 2), kept_at(w, 3) + at(w, 4), at(w, 5), 0));
	else if (is(w, "bindaddr2")) /* object, device, at, range, offset, size */
		ANSWER(CALL("cuMulticastBindAddr_v2", kept_at(w, 1), at(w, 2), at(w, 3), kept_at(w, 4) + at(w, 5),
			    at(w, 6), 0));
	else if (is(w, "unbind")) /* object, device, at, size */
		ANSWER(CALL("cuMulticastUnbind", kept_at(w, 1), at(w, 2), at(w, 3), at(w, 4)));
	else
		return 0;
	return 1;
}

/* ---- contexts -------------------------------------------------------------------------------------------- */

static int context(char **w)
{
	number x = 0;

	if (is(w, "green"))
		KEEP(CALL("cuGreenCtxCreate", &x, &x, at(w, 1), 1), x);
	else if (is(w, "greenas"))
		KEEP(CALL("cuCtxFromGreenCtx", &x, kept_at(w, 1)), x);
	else if (is(w, "endgreen"))
		ANSWER(CALL("cuGreenCtxDestroy", kept_at(w, 1)));
	else if (is(w, "attach"))
		KEEP(CALL("cuCtxAttach", &x, 0), x);
	else if (is(w, "detach"))
		ANSWER(CALL("cuCtxDetach", kept_at(w, 1)));
	else
		return 0;
	return 1;
}

/* ---- pools ----------------------------------------------------------------------------------------------- */

struct location {
	int type, id;
};

struct pool {
	int type, handle_types;
	struct location location;
	number more[12];
};

static void export_pointer(char **w)
{
	static char data[64];
	int result = CALL("cuMemPoolExportPointer", data, kept_at(w, 1));
	FILE *file = result ? NULL : fopen(w[2], "w");

	if (file) {
		(void)fwrite(data, 1, sizeof(data), file);
		(void)fclose(file);
	}
	ANSWER(result);
}

static void import_pointer(char **w)
{
	char data[64] = "";
	FILE *file = fopen(w[2], "r");
	number x = 0;

	if (file) {
		(void)!fread(data, 1, sizeof(data), file);
		(void)fclose(file);
	}
	KEEP(CALL("cuMemPoolImportPointer", &x, kept_at(w, 1), data), x);
}

static int pool(char **w)
{
	/* where, which, kind of memory, kinds of handles */
	struct location l = { (int)at(w, 1), (int)at(w, 2) };
	struct pool p = { .type = (int)at(w, 3),
			  .handle_types = w[1] && w[2] && w[3] ? (int)at(w, 4) : 0,
			  .location = l };
	number x = 0;
	int fd = -1;

	if (is(w, "poolof")) {
		KEEP(CALL("cuMemPoolCreate", &x, &p), x);
	} else if (is(w, "createat")) { /* where, which, kind, 0, size */
		KEEP(CALL("cuMemCreate", &x, at(w, 5), &p, 0), x);
	} else if (is(w, "standardof")) {
		KEEP(CALL("cuMemGetDefaultMemPool", &x, &l, p.type), x);
	} else if (is(w, "currentof")) {
		KEEP(CALL("cuMemGetMemPool", &x, &l, p.type), x);
	} else if (is(w, "exportpool")) {
		int result = CALL("cuMemPoolExportToShareableHandle", &fd, kept_at(w, 1), 1, 0);

		client_keep(result, (number)fd);
	} else if (is(w, "importpool")) {
		KEEP(CALL("cuMemPoolImportFromShareableHandle", &x, at(w, 1), 1, 0), x);
	} else if (is(w, "exportptr")) {
		export_pointer(w);
	} else if (is(w, "importptr")) {
		import_pointer(w);
	} else {
		return 0;
	}
	return 1;
}

/* ---- graphs ---------------------------------------------------------------------------------------------- */

static int graph(char **w)
{
	/* As the driver has it: what a pool is takes 88 bytes. */
	struct {
		int type, reserved[3];
		struct {
			int type, handle_types;
			struct location location;
			void *security;
			size_t most;
			char rest[56];
			const void *access;
			size_t accesses, size;
			number ptr;
		} alloc;
		number more[16];
	} n = { .type = 10, .alloc = { .type = 1, .location = { 1, 0 }, .size = (size_t)at(w, 2) } };
	struct {
		number flags;
		void *stream, *node;
		int result;
	} how = { .flags = at(w, 2) };
	number x = 0;

	if (is(w, "anynode"))
		client_answer(CALL("cuGraphAddNode", &x, kept_at(w, 1), 0, 0, &n), n.alloc.ptr);
	else if (is(w, "anynode2"))
		client_answer(CALL("cuGraphAddNode_v2", &x, kept_at(w, 1), 0, 0, 0, &n), n.alloc.ptr);
	else if (is(w, "instantiate2"))
		KEEP(CALL("cuGraphInstantiateWithParams", &x, kept_at(w, 1), &how), x);
	else
		return 0;
	return 1;
}

/* ---- any call ---------------------------------------------------------------------------------------------- */

/* "=": where the result goes; "@3": what was kept as 3; "flat", "deep": arrays, as the interface
 * of 32 bits describes them; "text"; or a number. */
static number argument(const char *word, number *result)
{
	static unsigned flat[4] = { 64, 64, 0x20, 4 }, deep[6] = { 64, 64, 1, 0x20, 4, 0 };

	switch (word[0]) {
	case '=':
		return AT(result);
	case '@':
		return kept[client_size(word + 1)];
	case 'f':
		return AT(flat);
	case 'd':
		return AT(deep);
	case 't':
		return AT("text");
	default:
		return client_size(word);
	}
}

static int any(char **w)
{
	number a[7] = { 0 }, x[2] = { 0 };

	if (!is(w, "do") || !w[1])
		return 0;
	for (int i = 0; i < 7 && w[2 + i]; i++)
		a[i] = argument(w[2 + i], x);
	KEEP(client_call(w[1], a[0], a[1], a[2], a[3], a[4], a[5], a[6]), x[0]);
	return 1;
}

int client_obey_holders(char **words)
{
	return external(words) || sparse(words) || multicast(words) || context(words) || pool(words) || graph(words) ||
	       any(words);
}
