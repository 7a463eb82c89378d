/* SPDX-License-Identifier: MIT */
/* memctl run: the program to start, and whether it can be preloaded. */
#include "memctl/run.h"

#include "memctl/say.h"
#include "accounting/elf.h"
#include "controld/proto.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int not_found(const char *name)
{
	(void)say_failed("run", "%s: no such program; give its path, or see PATH", name);
	return SAY_RUN_NOT_FOUND;
}

static int not_executable(const char *name, int err)
{
	(void)say_failed("run", "%s: cannot be executed: %s", name, strerror(err));
	return SAY_RUN_NOT_EXECUTABLE;
}

static int check_path(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT || errno == ENOTDIR ? not_found(path) : not_executable(path, errno);
	if (S_ISDIR(st.st_mode))
		return not_executable(path, EISDIR);
	return access(path, X_OK) ? not_executable(path, errno) : 0;
}

static void judge(const char *path, struct run_target *t)
{
	enum elf_kind kind = elf_classify(path);

	t->carries = kind == ELF_PRELOADABLE || kind == ELF_NOT_ELF;
	/* These ignore LD_PRELOAD, and what they start may take it; others would complain or fail.
	 */
	t->keeps_preload = t->carries || kind == ELF_STATIC || kind == ELF_SECURE;
	t->words = elf_kind_words(kind);
}

int run_target_find(char **argv, struct run_target *ret)
{
	char buf[4096];
	const char *slash = strrchr(argv[0], '/');
	const char *path = *argv[0] ? elf_search(argv[0], getenv("PATH"), buf, sizeof(buf)) : NULL;
	int status = path ? check_path(path) : not_found(argv[0]);

	if (status)
		return status;
	ret->argv = argv;
	ret->name = slash ? slash + 1 : argv[0];
	judge(path, ret);
	return 0;
}

/* ---- LD_PRELOAD -------------------------------------------------------------------------- */

#define SEPARATORS ": "

#define ALLOCATOR "MEMCTL_ALLOCATOR"

static bool keeps_malloc(void)
{
	const char *allocator = getenv(ALLOCATOR);

	return allocator && strcmp(allocator, "system") == 0;
}

static int check_allocator(void)
{
	const char *allocator = getenv(ALLOCATOR);

	if (!allocator || strcmp(allocator, "jemalloc") == 0 || keeps_malloc())
		return 0;
	return say_failed("run", ALLOCATOR "=%s: it is jemalloc (the default) or system", allocator);
}

/* Of two libraries in one directory the one that leaves malloc alone, or the one that does not. */
static const char *library_path(void)
{
	const char *path = getenv("MEMCTL_PRELOAD");
	static char sister[4096];
	size_t n;

	if (!path || !*path)
		path = PKGLIBDIR "/libmemctl-preload.so";
	n = strlen(path);
	if (!keeps_malloc() || n < 3 || n + sizeof("-system") > sizeof(sister) || strcmp(path + n - 3, ".so") != 0)
		return path;
	(void)snprintf(sister, sizeof(sister), "%.*s-system.so", (int)n - 3, path);
	return sister;
}

static int check_library(const char *path)
{
	if (strpbrk(path, SEPARATORS))
		return say_failed("run",
				  "the preload library's path has a blank or a colon, which LD_PRELOAD "
				  "cannot carry: %s",
				  path);
	if (access(path, R_OK))
		return say_failed("run",
				  "the preload library %s cannot be read: %m; is memctl installed "
				  "completely?",
				  path);
	return 0;
}

static bool names_allocator(const char *entry, size_t n)
{
	static const char *const known[] = { "jemalloc", "tcmalloc",  "mimalloc", "snmalloc", "rpmalloc",
					     "hoard",	 "tbbmalloc", "scudo",	  "dmalloc",  "efence" };
	const char *slash = memrchr(entry, '/', n);
	const char *name = slash ? slash + 1 : entry;
	size_t left = n - (size_t)(name - entry);

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (memmem(name, left, known[i], strlen(known[i])))
			return true;
	return false;
}

static bool is_ours(const char *entry, size_t n)
{
	static const char *const names[] = { "libmemctl-preload", "libmemctl-device" };
	const char *slash = memrchr(entry, '/', n);
	const char *file = slash ? slash + 1 : entry;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (n - (size_t)(file - entry) >= strlen(names[i]) && memcmp(file, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The user's entries without ours, each with a separator in front; says whose malloc is used. */
static void copy_others(char *to, const char *list)
{
	for (; *list; list += *list != 0) {
		size_t n = strcspn(list, SEPARATORS);

		if (n && !is_ours(list, n)) {
			to += sprintf(to, "%s%.*s", ":", (int)n, list);
			if (names_allocator(list, n) && !keeps_malloc())
				say_note("run",
					 "LD_PRELOAD names the allocator %.*s; memctl's own malloc "
					 "comes first "
					 "and is used",
					 (int)n, list);
		}
		list += n;
	}
}

static int set_preload(const struct run_target *t)
{
	const char *ours = library_path();
	const char *device = t->on_device && t->keeps_preload ? run_device_library() : "";
	const char *users = getenv("LD_PRELOAD");
	char *list;

	if (check_allocator() || (t->keeps_preload && check_library(ours)) || (*device && check_library(device)))
		return SAY_RUN_FAILED;
	list = malloc(strlen(ours) + strlen(device) + 2 * strlen(users ? users : "") + 3);
	if (!list)
		return SAY_RUN_FAILED;
	strcpy(list, t->keeps_preload ? ours : "");
	if (*device)
		strcat(strcat(list, ":"), device);
	copy_others(list + strlen(list), users ? users : "");
	if (*list)
		(void)setenv("LD_PRELOAD", *list == ':' ? list + 1 : list, 1);
	else
		(void)unsetenv("LD_PRELOAD");
	free(list);
	return 0;
}

/* ---- MEMORY_PRESSURE_WATCH --------------------------------------------------------------- */

/* Set by an outer `memctl run`, whose daemon may be another one. */
static bool is_our_socket(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && strcmp(name + 1, PROTO_PRESSURE_NAME) == 0;
}

/* A service manager's, or /dev/null (the user wants none), stays as it is. What is to be written to a socket of ours is
 * nothing, so that a MEMORY_PRESSURE_WRITE of others goes with the path that it was made for. */
static int set_pressure_watch(const char *dir)
{
	static const char variable[] = "MEMORY_PRESSURE_WATCH";
	const char *users = getenv(variable);
	char path[PATH_MAX];

	if (users && *users && !is_our_socket(users))
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, PROTO_PRESSURE_NAME);
	return setenv(variable, path, 1) || unsetenv("MEMORY_PRESSURE_WRITE");
}

int run_target_set_environment(const struct run_target *t, const char *dir, const char *group)
{
	if (set_preload(t))
		return SAY_RUN_FAILED;
	if (setenv("MEMCTL_DIR", dir, 1) || setenv("MEMCTL_GROUP", group, 1) || set_pressure_watch(dir)) {
		(void)say_failed("run", "no memory left");
		return SAY_RUN_FAILED;
	}
	if (!t->carries)
		say_note("run",
			 "%s is %s and cannot be preloaded: it is observed, and no charge of it is "
			 "refused",
			 t->name, t->words);
	return 0;
}
