/* SPDX-License-Identifier: MIT */
/* A CUDA program by dictation: reads a command a line, answers each with a line of numbers, the
 * driver's result first. Its first argument says how it finds the driver's functions. Nothing of
 * ours is linked in.
 *
 *   linked     by the dynamic linker (the program client_linked)
 *   dlsym      dlopen, dlsym                    deepbind   the same with RTLD_DEEPBIND
 *   dlmopen    in a namespace of its own        default    dlopen RTLD_GLOBAL, dlsym(RTLD_DEFAULT)
 *   gpa1, gpa2 cuGetProcAddress of either kind, as the runtime does; gpa2 asks for that by itself
 * first streams    as gpa2, with the flag for per-thread default streams
 */
#include "tests/device/client.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *how;
static void *driver;
typedef int lookup1(const char *, void **, int, uint64_t);
typedef int lookup2(const char *, void **, int, uint64_t, int *);
static lookup1 *ask1;
static lookup2 *ask2;

/* ---- finding --------------------------------------------------------------------------------------------- */

#ifdef LINKED
#define LINK(name) extern int name(void);
#define WITH(name) { #name, (void *)name },
#else
#define LINK(name)
#define WITH(name) { #name, NULL },
#endif
/* clang-format off */
#define NAMES(X) \
	X(cuInit) \
	X(cuDeviceGetCount) \
	X(cuDeviceTotalMem_v2) \
	X(cuCtxCreate_v2) \
	X(cuCtxDestroy_v2) \
	X(cuCtxSetCurrent) \
	X(cuDevicePrimaryCtxRetain) \
	X(cuDevicePrimaryCtxRelease_v2) \
	X(cuDevicePrimaryCtxReset_v2) \
	X(cuMemAlloc_v2) \
	X(cuMemAlloc) \
	X(cuMemAllocPitch_v2) \
	X(cuMemAllocManaged) \
	X(cuMemFree_v2) \
	X(cuMemGetInfo_v2) \
	X(cuMemAllocAsync) \
	X(cuMemAllocAsync_ptsz) \
	X(cuMemAllocFromPoolAsync) \
	X(cuMemFreeAsync) \
	X(cuMemPoolCreate) \
	X(cuMemPoolDestroy) \
	X(cuMemPoolTrimTo) \
	X(cuMemPoolSetAttribute) \
	X(cuMemPoolGetAttribute) \
	X(cuDeviceGetMemPool) \
	X(cuDeviceGetDefaultMemPool) \
	X(cuStreamCreate) \
	X(cuStreamSynchronize) \
	X(cuStreamBeginCapture_v2) \
	X(cuStreamEndCapture) \
	X(cuGraphInstantiateWithFlags) \
	X(cuGraphLaunch) \
	X(cuGraphExecDestroy) \
	X(cuDeviceGraphMemTrim) \
	X(cuGraphCreate) \
	X(cuGraphAddMemAllocNode) \
	X(cuMemCreate) \
	X(cuMemRelease) \
	X(cuMemMap) \
	X(cuMemUnmap) \
	X(cuMemAddressReserve) \
	X(cuMemRetainAllocationHandle) \
	X(cuMemExportToShareableHandle) \
	X(cuMemImportFromShareableHandle) \
	X(cuArrayCreate_v2) \
	X(cuArray3DCreate_v2) \
	X(cuArrayDestroy) \
	X(cuMipmappedArrayCreate) \
	X(cuMipmappedArrayDestroy) \
	X(cuMemHostAlloc) \
	X(cuMemFreeHost) \
	X(cuIpcGetMemHandle) \
	X(cuIpcOpenMemHandle_v2) \
	X(cuIpcCloseMemHandle) \
	X(cuMulticastCreate) \
	X(cuGetProcAddress_v2) \
	X(cuMemHostRegister_v2) \
	X(cuMemHostUnregister) \
	X(cuModuleLoadData) \
	X(cuModuleUnload)
/* clang-format on */

NAMES(LINK)

static const struct {
	const char *name;
	void *linked;
} names[] = { NAMES(WITH) };

static void open_driver(void)
{
	int flags = RTLD_NOW | (strcmp(how, "deepbind") == 0  ? RTLD_DEEPBIND
				: strcmp(how, "default") == 0 ? RTLD_GLOBAL
							      : 0);

	if (strcmp(how, "linked") == 0)
		return;
	driver = strcmp(how, "dlmopen") == 0 ? dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW)
					     : dlopen("libcuda.so.1", flags);
	if (!driver) {
		(void)fprintf(stderr, "client: %s\n", dlerror());
		exit(2);
	}
	*(void **)&ask1 = dlsym(driver, "cuGetProcAddress");
	*(void **)&ask2 = dlsym(driver, "cuGetProcAddress_v2");
	if (strcmp(how, "gpa2") == 0 || strcmp(how, "streams") == 0)
		(void)ask2("cuGetProcAddress", (void **)&ask2, 12000, 0, NULL);
}

/* "cuMemAlloc_v2" is asked for as "cuMemAlloc" of a version that has it. */
static void *ask(const char *name)
{
	const char *end = strstr(name, "_v");
	int version = strcmp(name, "cuMemAlloc") == 0			    ? 2000
		      : strcmp(name, "cuCtxCreate_v2") == 0		    ? 3020
		      : strstr(name, "cuMemGet") && strstr(name, "MemPool") ? 13000
									    : 12040;
	uint64_t flags = strcmp(how, "streams") == 0 ? 2 : strstr(name, "_ptsz") ? 2 : 1;
	void *found = NULL;
	char base[64];
	int status;

	(void)snprintf(base, sizeof(base), "%.*s", end ? (int)(end - name) : (int)strlen(name), name);
	base[strcspn(base, "_")] = 0;
	if (strcmp(how, "gpa1") == 0)
		(void)ask1(base, &found, version, flags);
	else
		(void)ask2(base, &found, version, flags, &status);
	return found;
}

static void *find(const char *name)
{
	void *found = NULL;

	if (strcmp(how, "linked") == 0)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			found = strcmp(names[i].name, name) == 0 ? names[i].linked : found;
	else if (strcmp(how, "default") == 0)
		found = dlsym(RTLD_DEFAULT, name);
	else if (how[0] == 'g' || how[0] == 's')
		found = ask(name);
	else
		found = dlsym(driver, name);
	if (!found) {
		(void)fprintf(stderr, "client: %s is not found by %s\n", name, how);
		exit(2);
	}
	return found;
}

int client_call(const char *name, number a, number b, number c, number d, number e, number f, number g)
{
	int (*function)(number, number, number, number, number, number, number);

	*(void **)&function = find(name);
	return function(a, b, c, d, e, f, g);
}

static int call(const char *name, number a, number b, number c, number d, number e)
{
	return client_call(name, a, b, c, d, e, 0, 0);
}

#define AT(x) ((number)(uintptr_t)(x))
#define CALL1(n, a) call(n, AT(a), 0, 0, 0, 0)
#define CALL2(n, a, b) call(n, AT(a), AT(b), 0, 0, 0)
#define CALL3(n, a, b, c) call(n, AT(a), AT(b), AT(c), 0, 0)
#define CALL4(n, a, b, c, d) call(n, AT(a), AT(b), AT(c), AT(d), 0)
#define CALL5(n, a, b, c, d, e) call(n, AT(a), AT(b), AT(c), AT(d), AT(e))

/* ---- what is kept by number ------------------------------------------------------------------------------ */

number kept[200000];
static unsigned n_kept;

void client_answer(int result, number value)
{
	(void)printf("%d %llu\n", result, value);
}

static void answer(int result, number value)
{
	client_answer(result, value);
}

void client_keep(int result, number value)
{
	kept[n_kept] = value;
	(void)printf("%d %u %llu\n", result, n_kept, value);
	if (n_kept + 1 < sizeof(kept) / sizeof(kept[0]))
		n_kept++;
}

static void keep(int result, number value)
{
	client_keep(result, value);
}

/* The call first, then what it has written. */
#define KEEP(result, value) \
	do { \
		int r_ = (result); \
		keep(r_, (value)); \
	} while (0)
#define ANSWER(result, value) \
	do { \
		int r_ = (result); \
		answer(r_, (value)); \
	} while (0)

static number size_of(const char *word)
{
	char *end;
	number n = strtoull(word, &end, 0);

	return n << (*end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0);
}

number client_size(const char *word)
{
	return size_of(word);
}

struct location {
	int type, id;
};

struct properties {
	int type, handle_types;
	struct location location;
	void *security;
	number more[12];
};

struct flat {
	size_t width, height;
	int format;
	unsigned channels;
};

struct deep {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

struct node {
	struct properties_of_pool {
		int type, handle_types;
		struct location location;
		void *security;
		size_t most;
		unsigned short usage;
		unsigned char reserved[54];
	} pool;
	const void *access;
	size_t accesses, size;
	number ptr;
};

static number nvml(unsigned index, int version, number *ret_free, number *ret_used)
{
	struct {
		number total, free, used;
	} one = { 0, 0, 0 };
	struct {
		unsigned version;
		number total, reserved, free, used;
	} two = { .version = 40 | 2u << 24 };
	void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW), *device = NULL;
	int (*function)(void *, void *);

	*(void **)&function = dlsym(library, "nvmlInit_v2");
	(void)function(NULL, NULL);
	int (*get)(unsigned, void **);
	*(void **)&get = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
	(void)get(index, &device);
	*(void **)&function = dlsym(library, version == 2 ? "nvmlDeviceGetMemoryInfo_v2" : "nvmlDeviceGetMemoryInfo");
	(void)function(device, version == 2 ? (void *)&two : (void *)&one);
	*ret_free = version == 2 ? two.free : one.free;
	*ret_used = version == 2 ? two.used : one.used;
	return version == 2 ? two.total : one.total;
}

static void pairs(number live, number size, number n)
{
	int (*alloc)(number *, size_t), (*release)(number);
	struct timespec a, b;
	number ptr = 0;

	*(void **)&alloc = find("cuMemAlloc_v2");
	*(void **)&release = find("cuMemFree_v2");
	for (number i = 0; i < live; i++)
		if (alloc(&kept[i], 512))
			abort();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (number i = 0; i < n; i++)
		if (alloc(&ptr, size) || release(ptr))
			abort();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	(void)printf("0 %.1f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)n);
	for (number i = 0; i < live; i++)
		(void)release(kept[i]);
}

static void infos(number n)
{
	int (*info)(size_t *, size_t *);
	struct timespec a, b;
	size_t free, total;

	*(void **)&info = find("cuMemGetInfo_v2");
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (number i = 0; i < n; i++)
		if (info(&free, &total))
			abort();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	(void)printf("0 %.1f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)n);
}

/* As many as are asked for; says how many came. Each is given back at once with `churn`. */
static void many(number n, number size, int churn)
{
	number done = 0, refused = 0;

	for (number i = 0; i < n; i++) {
		number ptr = 0;

		if (CALL2("cuMemAlloc_v2", &ptr, size)) {
			refused++;
			continue;
		}
		done++;
		if (churn)
			(void)CALL1("cuMemFree_v2", ptr);
		else
			kept[n_kept++] = ptr;
	}
	(void)printf("0 %llu %llu\n", done, refused);
}

static void in_child(const char *self, int is_exec)
{
	number ptr = 0;
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (is_exec)
			(void)execl(self, self, how, (char *)NULL);
		status = CALL2("cuMemAlloc_v2", &ptr, 1 << 20);
		if (n_kept)
			status = status * 16 + CALL1("cuMemFree_v2", kept[0]);
		_exit(status);
	}
	(void)waitpid(pid, &status, 0);
	answer(0, (number)WEXITSTATUS(status));
}

/* Each name of the driver in each version, for each kind of streams, and by dlsym: what is
 * answered, and what it is called where it lies. */
static void lookups(void)
{
	static const char *const lists[] = {
#define DRIVER(name, base, version, per_thread) #name, base,
#include "tests/device/driver.def"
#undef DRIVER
	};
	static const int versions[] = { 2000, 3020, 4000, 7000, 10020, 11020, 11030, 12000, 13000, 14000 };
	void *handle = driver ? driver : dlopen("libcuda.so.1", RTLD_NOW);
	lookup2 *look = ask2;
	Dl_info info;

	if (!look)
		*(void **)&look = dlsym(handle, "cuGetProcAddress_v2");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		void *found = i % 2 ? NULL : dlsym(handle, lists[i]);

		if (found)
			(void)printf("%s %s\n", lists[i],
				     dladdr(found, &info) && info.dli_sname ? info.dli_sname : lists[i]);
		for (unsigned v = 0; i % 2 && v < sizeof(versions) / sizeof(versions[0]); v++)
			for (uint64_t flags = 0; flags <= 2; flags++) {
				int status = -1, result = look(lists[i], &found, versions[v], flags, &status);

				(void)printf("%s %d %d: %d %d %d\n", lists[i], versions[v], (int)flags, result, status,
					     found != NULL);
			}
	}
}

/* ---- a child made while another thread is the first to look something up ----------------------------------------- */

static void *look_up(void *fresh)
{
	return dlsym(fresh, "cuMemAlloc_v2");
}

/* The driver lets us see that we are asking it, and waits. Answers whether the child found it, too. */
static void fork_meanwhile(void)
{
	void *fresh = dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW);
	int (*hold)(int) = NULL;
	void *found = NULL;
	pthread_t other;
	int status = -1;
	pid_t pid;

	*(void **)&hold = dlsym(fresh, "fake_cuda_hold");
	(void)hold(1);
	if (pthread_create(&other, NULL, look_up, fresh))
		abort();
	while (!hold(1))
		(void)sched_yield();
	pid = fork();
	if (pid == 0) {
		(void)hold(0);
		(void)alarm(30);
		_exit(dlsym(fresh, "cuMemAlloc_v2") ? 0 : 1);
	}
	(void)waitpid(pid, &status, 0);
	(void)hold(0);
	(void)pthread_join(other, &found);
	answer(status, found != NULL);
}

/* ---- descriptors to another client: one waits at a path, the other sends --------------------------------- */

union passed {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static struct msghdr message(union passed *passed, struct iovec *byte)
{
	return (struct msghdr){
		.msg_iov = byte, .msg_iovlen = 1, .msg_control = passed, .msg_controllen = sizeof(*passed)
	};
}

static int socket_at(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int receive(const char *path)
{
	struct sockaddr_un at;
	char byte;
	struct iovec one = { &byte, 1 };
	union passed passed;
	struct msghdr m = message(&passed, &one);
	int fd = -1, server = socket_at(path, &at), peer;

	(void)unlink(path);
	if (bind(server, (struct sockaddr *)&at, sizeof(at)) || listen(server, 1))
		return -1;
	answer(0, 0); /* it waits */
	peer = accept(server, NULL, NULL);
	if (recvmsg(peer, &m, MSG_CMSG_CLOEXEC) == 1 && m.msg_controllen)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	(void)close(peer);
	(void)close(server);
	return fd;
}

static int send_to(const char *path, int fd)
{
	struct sockaddr_un at;
	char byte = 0;
	struct iovec one = { &byte, 1 };
	union passed passed = {
		.header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS }
	};
	struct msghdr m = message(&passed, &one);
	int peer = socket_at(path, &at), result;

	memcpy(CMSG_DATA(&passed.header), &fd, sizeof(fd));
	result = connect(peer, (struct sockaddr *)&at, sizeof(at)) || sendmsg(peer, &m, 0) != 1;
	(void)close(peer);
	return result;
}

/* ---- commands -------------------------------------------------------------------------------------------- */

static struct properties of_device(int type, int id)
{
	return (struct properties){ .type = 1, .location = { .type = type, .id = id } };
}

static int is(const char *word, const char *name)
{
	return strcmp(word, name) == 0;
}

static int plain(char **w, number a, number b)
{
	number x = 0, y = 0;

	if (is(w[0], "init"))
		ANSWER(CALL1("cuInit", 0), 0);
	else if (is(w[0], "context"))
		KEEP(CALL3("cuCtxCreate_v2", &x, 0, a), x);
	else if (is(w[0], "destroy"))
		ANSWER(CALL1("cuCtxDestroy_v2", kept[a]), 0);
	else if (is(w[0], "module"))
		KEEP(CALL2("cuModuleLoadData", &x, "code"), x);
	else if (is(w[0], "unload"))
		ANSWER(CALL1("cuModuleUnload", kept[a]), 0);
	else if (is(w[0], "retain"))
		KEEP(CALL2("cuDevicePrimaryCtxRetain", &x, a), x);
	else if (is(w[0], "current"))
		ANSWER(CALL1("cuCtxSetCurrent", kept[a]), 0);
	else if (is(w[0], "release"))
		ANSWER(CALL1("cuDevicePrimaryCtxRelease_v2", a), 0);
	else if (is(w[0], "reset"))
		ANSWER(CALL1("cuDevicePrimaryCtxReset_v2", a), 0);
	else if (is(w[0], "alloc"))
		KEEP(CALL2("cuMemAlloc_v2", &x, a), x);
	else if (is(w[0], "alloc1"))
		KEEP(CALL2("cuMemAlloc", &x, a), x);
	else if (is(w[0], "allocnull"))
		ANSWER(CALL2("cuMemAlloc_v2", 0, a), 0);
	else if (is(w[0], "managed"))
		KEEP(CALL3("cuMemAllocManaged", &x, a, 1), x);
	else if (is(w[0], "pitch"))
		KEEP(CALL5("cuMemAllocPitch_v2", &x, &y, a, b, 4), x);
	else if (is(w[0], "free"))
		ANSWER(CALL1("cuMemFree_v2", kept[a]), 0);
	else if (is(w[0], "freeraw"))
		ANSWER(CALL1("cuMemFree_v2", a), 0);
	else if (is(w[0], "many"))
		many(a, b, 0);
	else if (is(w[0], "churn"))
		many(a, b, 1);
	else if (is(w[0], "pairs"))
		pairs(a, b, size_of(w[3]));
	else if (is(w[0], "infos"))
		infos(a);
	else
		return 0;
	return 1;
}

static int views(char **w, number a)
{
	number x = 0, y = 0;

	if (is(w[0], "null")) { /* a call by its name, all arguments 0 */
		answer(call(w[1], 0, 0, 0, 0, 0), 0);
	} else if (is(w[0], "info")) {
		int result = CALL2("cuMemGetInfo_v2", &x, &y);

		(void)printf("%d %llu %llu\n", result, x, y);
	} else if (is(w[0], "infonull")) {
		int result = CALL2("cuMemGetInfo_v2", 0, &y);

		answer(result, y);
	} else if (is(w[0], "total")) {
		int result = CALL2("cuDeviceTotalMem_v2", &x, a);

		answer(result, x);
	} else if (is(w[0], "nvml1") || is(w[0], "nvml2")) {
		number total = nvml((unsigned)a, w[0][4] - '0', &x, &y);

		(void)printf("0 %llu %llu %llu\n", x, total, y);
	} else {
		return 0;
	}
	return 1;
}

static int ordered(char **w, number a, number b)
{
	number x = 0;

	if (is(w[0], "async"))
		KEEP(CALL3("cuMemAllocAsync", &x, a, w[2] ? kept[b] : 0), x);
	else if (is(w[0], "asyncptsz"))
		KEEP(CALL3("cuMemAllocAsync_ptsz", &x, a, 0), x);
	else if (is(w[0], "frompool"))
		KEEP(CALL4("cuMemAllocFromPoolAsync", &x, a, kept[b], 0), x);
	else if (is(w[0], "freeasync"))
		ANSWER(CALL2("cuMemFreeAsync", kept[a], 0), 0);
	else if (is(w[0], "sync"))
		ANSWER(CALL1("cuStreamSynchronize", 0), 0);
	else if (is(w[0], "pool")) {
		struct properties p = of_device(1, (int)a);

		KEEP(CALL2("cuMemPoolCreate", &x, &p), x);
	} else if (is(w[0], "standard"))
		KEEP(CALL2("cuDeviceGetDefaultMemPool", &x, a), x);
	else if (is(w[0], "threshold"))
		ANSWER(CALL3("cuMemPoolSetAttribute", kept[a], 4, &b), 0);
	else if (is(w[0], "trim"))
		ANSWER(CALL2("cuMemPoolTrimTo", kept[a], b), 0);
	else if (is(w[0], "endpool"))
		ANSWER(CALL1("cuMemPoolDestroy", kept[a]), 0);
	else if (is(w[0], "stream"))
		KEEP(CALL2("cuStreamCreate", &x, 0), x);
	else if (is(w[0], "capture"))
		ANSWER(CALL2("cuStreamBeginCapture_v2", kept[a], b), 0);
	else if (is(w[0], "captured"))
		KEEP(CALL2("cuStreamEndCapture", kept[a], &x), x);
	else if (is(w[0], "instantiate"))
		KEEP(CALL3("cuGraphInstantiateWithFlags", &x, kept[a], 0), x);
	else if (is(w[0], "launch"))
		ANSWER(CALL2("cuGraphLaunch", kept[a], 0), 0);
	else if (is(w[0], "endgraph"))
		ANSWER(CALL1("cuGraphExecDestroy", kept[a]), 0);
	else if (is(w[0], "trimgraphs"))
		ANSWER(CALL1("cuDeviceGraphMemTrim", a), 0);
	else if (is(w[0], "graph"))
		KEEP(CALL2("cuGraphCreate", &x, 0), x);
	else if (is(w[0], "node")) {
		struct node p = { .pool = { .type = 1, .location = { 1, 0 } }, .size = b };

		ANSWER(CALL5("cuGraphAddMemAllocNode", &x, kept[a], 0, 0, &p), p.ptr);
	} else
		return 0;
	return 1;
}

static int physical(char **w, number a, number b, number c)
{
	number x = 0;

	if (is(w[0], "create") || is(w[0], "createhost") || is(w[0], "shareable")) {
		struct properties p = of_device(is(w[0], "createhost") ? 3 : 1, (int)b);

		p.handle_types = is(w[0], "shareable");

		KEEP(CALL4("cuMemCreate", &x, a, &p, 0), x);
	} else if (is(w[0], "drop"))
		ANSWER(CALL1("cuMemRelease", kept[a]), 0);
	else if (is(w[0], "range"))
		KEEP(CALL5("cuMemAddressReserve", &x, a, 0, 0, 0), x);
	else if (is(w[0], "map")) /* range + offset, size, handle */
		ANSWER(CALL5("cuMemMap", kept[a] + b, c, 0, kept[size_of(w[4])], 0), 0);
	else if (is(w[0], "unmap"))
		ANSWER(CALL2("cuMemUnmap", kept[a] + b, c), 0);
	else if (is(w[0], "again"))
		KEEP(CALL2("cuMemRetainAllocationHandle", &x, kept[a]), x);
	else if (is(w[0], "export")) {
		int fd = -1, result = CALL4("cuMemExportToShareableHandle", &fd, kept[a], 1, 0);

		keep(result, (number)fd);
	} else if (is(w[0], "import"))
		KEEP(CALL3("cuMemImportFromShareableHandle", &x, a, 1), x);
	else if (is(w[0], "receive"))
		answer(0, (number)receive(w[1]));
	else if (is(w[0], "send"))
		answer(send_to(w[2], (int)a), 0);
	else if (is(w[0], "closefd"))
		answer(close((int)a), 0);
	else
		return 0;
	return 1;
}

static int others(char **w, number a, number b, const char *self)
{
	struct deep d = { a, b, w[1] && w[2] && w[3] ? size_of(w[3]) : 0, 0x20, 4, 0 };
	struct flat f = { a, b, 0x20, 4 };
	static char handle[64];
	number x = 0;

	if (is(w[0], "array"))
		KEEP(CALL2("cuArrayCreate_v2", &x, &f), x);
	else if (is(w[0], "sparse")) {
		d.flags = 0x40;
		KEEP(CALL2("cuArray3DCreate_v2", &x, &d), x);
	} else if (is(w[0], "array3"))
		KEEP(CALL2("cuArray3DCreate_v2", &x, &d), x);
	else if (is(w[0], "mipmap")) {
		number levels = d.depth;

		d.depth = 0;
		KEEP(CALL3("cuMipmappedArrayCreate", &x, &d, levels), x);
	} else if (is(w[0], "endarray"))
		ANSWER(CALL1("cuArrayDestroy", kept[a]), 0);
	else if (is(w[0], "endmipmap"))
		ANSWER(CALL1("cuMipmappedArrayDestroy", kept[a]), 0);
	else if (is(w[0], "host"))
		KEEP(CALL3("cuMemHostAlloc", &x, a, 0), x);
	else if (is(w[0], "endhost"))
		ANSWER(CALL1("cuMemFreeHost", kept[a]), 0);
	else if (is(w[0], "fork"))
		in_child(self, 0);
	else if (is(w[0], "forkmeanwhile"))
		fork_meanwhile();
	else if (is(w[0], "exec")) {
		answer(0, 0); /* what is sent before it has come is lost */
		(void)fflush(stdout);
		(void)execl(self, self, how, (char *)NULL);
	} else if (is(w[0], "share")) { /* into a file */
		int result = CALL2("cuIpcGetMemHandle", handle, kept[a]);
		FILE *file = fopen(w[2], "w");

		(void)fwrite(handle, 1, sizeof(handle), file);
		(void)fclose(file);
		answer(result, 0);
	} else if (is(w[0], "open")) {
		struct by_value {
			char byte[64];
		} v;
		int (*function)(number *, struct by_value, unsigned);
		FILE *file = fopen(w[1], "r");

		(void)!fread(&v, 1, sizeof(v), file);
		(void)fclose(file);
		*(void **)&function = find("cuIpcOpenMemHandle_v2");
		KEEP(function(&x, v, 1), x);
	} else if (is(w[0], "close"))
		ANSWER(CALL1("cuIpcCloseMemHandle", kept[a]), 0);
	else if (is(w[0], "lookups"))
		lookups();
	else if (is(w[0], "reopen")) {
		answer(dlclose(driver), 0);
		open_driver();
	} else if (is(w[0], "pid"))
		answer(0, (number)getpid());
	else
		return 0;
	return 1;
}

static void obey(char *line, const char *self)
{
	char *w[12] = { NULL };
	int n = 0;

	for (char *word = strtok(line, " \n"); word && n < 11; word = strtok(NULL, " \n"))
		w[n++] = word;
	number a = n > 1 ? size_of(w[1]) : 0, b = n > 2 ? size_of(w[2]) : 0, c = n > 3 ? size_of(w[3]) : 0;

	if (n && !client_obey_holders(w) && !plain(w, a, b) && !views(w, a) && !ordered(w, a, b) &&
	    !physical(w, a, b, c) && !others(w, a, b, self))
		(void)printf("-1 what is %s?\n", w[0]);
}

static void obey_in_child(char *line, const char *self)
{
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		obey(line, self);
		(void)fflush(stdout);
		_exit(0);
	}
	(void)waitpid(pid, &status, 0);
	if (status)
		(void)printf("-2 the child ended with %d\n", status);
}

/* What is done when main has returned, and when the libraries have ended, which begins with us. */
static char at_exit_line[512], at_end_line[512];

static void at_exit(void)
{
	obey(at_exit_line, "");
}

__attribute__((destructor)) static void at_end(void)
{
	if (at_end_line[0])
		obey(at_end_line, "");
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[512];

	how = argc > 1 ? argv[1] : "dlsym";
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	open_driver();
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "child ", 6) == 0)
			obey_in_child(line + 6, argv[0]);
		else if (strncmp(line, "later ", 6) == 0) {
			strcpy(at_exit_line, line + 6);
			strcpy(at_end_line, line + 6);
			(void)atexit(at_exit);
			answer(0, 0);
		} else
			obey(line, argv[0]);
	}
	return 0;
}
