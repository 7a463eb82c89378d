/* SPDX-License-Identifier: MIT */
/* The environment variables that carry membership. */
#include "preload/environment.h"

#include "accounting/sys.h"

#include <string.h>

#define LIBRARY "libmemctl-preload"
#define LIBRARY_JEMALLOC LIBRARY ".so"
#define LIBRARY_SYSTEM LIBRARY "-system.so"
#define LIBRARY_DEVICE "libmemctl-device"

struct environment environment;

extern char **environ;

static const char *value_of(char *const env[], const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* Entries of LD_PRELOAD are separated by colons or blanks. */
static size_t entry_length(const char *p)
{
	return strcspn(p, ": ");
}

static bool is_called(const char *name, const char *entry, size_t n)
{
	const char *found = memmem(entry, n, name, strlen(name));

	return found && !memchr(found, '/', (size_t)(entry + n - found));
}

static bool is_ours(const char *entry, size_t n)
{
	return is_called(LIBRARY, entry, n);
}

/* The one for device memory, which goes where we go. */
static bool is_device(const char *entry, size_t n)
{
	return is_called(LIBRARY_DEVICE, entry, n);
}

static void copy_text(char *to, size_t size, const char *from, size_t n)
{
	if (n < size) {
		memcpy(to, from, n);
		to[n] = 0;
	}
}

static void find_own_entry(const char *list)
{
	while (list && *list) {
		size_t n = entry_length(list);

		if (is_ours(list, n) && !environment.preload[0])
			copy_text(environment.preload, sizeof(environment.preload), list, n);
		if (is_device(list, n))
			copy_text(environment.device, sizeof(environment.device), list, n);
		list += n + (list[n] != 0);
	}
}

static void set_default_dir(void)
{
	char *p = environment.dir;
	char digits[12];
	int n = 0;
	unsigned uid = (unsigned)sys_call3(SYS_geteuid, 0, 0, 0);

	strcpy(p, uid ? "/dev/shm/memctl-" : "/run/memctl");
	if (!uid)
		return;
	p += strlen(p);
	do
		digits[n++] = (char)('0' + uid % 10);
	while ((uid /= 10) != 0);
	while (n)
		*p++ = digits[--n];
	*p = 0;
}

static void copy_variable(char *to, size_t size, const char *name)
{
	const char *value = value_of(environ, name);

	if (value)
		copy_text(to, size, value, strlen(value));
}

bool environment_start(void)
{
	static bool done;

	if (done || !environ)
		return done;
	find_own_entry(value_of(environ, "LD_PRELOAD"));
	copy_variable(environment.group, sizeof(environment.group), "MEMCTL_GROUP");
	copy_variable(environment.dir, sizeof(environment.dir), "MEMCTL_DIR");
	if (!environment.dir[0])
		set_default_dir();
	done = true;
	return true;
}

/* A name without a path, or with $LIB in it, is the dynamic linker's matter. */
bool environment_is_reachable(void)
{
	const char *path = environment.preload;

	return *path != '/' || strchr(path, '$') || sys_call3(SYS_faccessat, AT_FDCWD, path, R_OK) == 0;
}

size_t environment_entries(char *const env[])
{
	size_t n = 0;

	while (env && env[n])
		n++;
	return n + 4; /* three variables that may be missing, and NULL */
}

static char *put(char *to, const char *end, const char *text, size_t n)
{
	if (!to || (size_t)(end - to) <= n)
		return NULL;
	memcpy(to, text, n);
	to[n] = 0;
	return to + n;
}

/* The name of the library that `env` asks for; NULL: the one that we are. */
static const char *wanted_name(char *const env[])
{
	const char *allocator = value_of(env, "MEMCTL_ALLOCATOR");

	if (!allocator)
		return NULL;
	return strcmp(allocator, "system") == 0 ? LIBRARY_SYSTEM : LIBRARY_JEMALLOC;
}

/* Our entry, or its sister's in the same directory. */
static bool write_library(struct environment_copy *copy, const char *name)
{
	const char *own = environment.preload;
	const char *slash = strrchr(own, '/');
	size_t n = name && slash ? (size_t)(slash + 1 - own) : strlen(own);
	char *end = copy->library + sizeof(copy->library);
	char *to = put(copy->library, end, own, n);

	return put(to, end, name && slash ? name : "", name && slash ? strlen(name) : 0) != NULL;
}

/* "LD_PRELOAD=" with our entry first (or without it) and the others as they were. NULL: too long. */
static char *write_preload(struct environment_copy *copy, const char *list, bool preloadable)
{
	const char *end = copy->preload + sizeof(copy->preload);
	char *to = put(copy->preload, end, "LD_PRELOAD=", 11);
	const char *separator = "";

	if (preloadable) {
		to = put(to, end, copy->library, strlen(copy->library));
		separator = ":";
	}
	if (preloadable && environment.device[0]) {
		to = put(to, end, separator, strlen(separator));
		to = put(to, end, environment.device, strlen(environment.device));
	}
	while (list && *list) {
		size_t n = entry_length(list);

		if (n && !is_ours(list, n) && !is_device(list, n)) {
			to = put(to, end, separator, strlen(separator));
			to = put(to, end, list, n);
			separator = ":";
		}
		list += n + (list[n] != 0);
	}
	return to;
}

static char *write_variable(char *to, size_t size, const char *name, const char *value)
{
	char *at = put(to, to + size, name, strlen(name));

	return put(at, to + size, value, strlen(value)) ? to : NULL;
}

static size_t append(char **env, size_t n, char *entry)
{
	if (entry)
		env[n++] = entry;
	return n;
}

static bool is_first(const char *list, const char *name)
{
	size_t n = list ? entry_length(list) : 0;
	size_t tail = name ? strlen(name) : 0;

	return list && is_ours(list, n) && n >= tail && (!name || memcmp(list + n - tail, name, tail) == 0);
}

void environment_fill(struct environment_copy *copy, char *const env[], bool preloadable)
{
	const char *list = value_of(env, "LD_PRELOAD");
	const char *name = wanted_name(env);
	bool have_own = environment.preload[0] != 0;
	bool rewrite = have_own && (preloadable ? !is_first(list, name) : list != NULL) && write_library(copy, name) &&
		       write_preload(copy, list, preloadable);
	size_t n = 0;

	for (; env && *env; env++)
		if (!rewrite || strncmp(*env, "LD_PRELOAD=", 11) != 0)
			copy->env[n++] = *env;
	if (rewrite && copy->preload[11])
		n = append(copy->env, n, copy->preload);
	copy->env[n] = NULL;
	if (preloadable && have_own && !value_of(copy->env, "MEMCTL_GROUP"))
		n = append(copy->env, n,
			   write_variable(copy->group, sizeof(copy->group), "MEMCTL_GROUP=", environment.group));
	copy->env[n] = NULL;
	if (preloadable && have_own && !value_of(copy->env, "MEMCTL_DIR"))
		n = append(copy->env, n, write_variable(copy->dir, sizeof(copy->dir), "MEMCTL_DIR=", environment.dir));
	copy->env[n] = NULL;
}
