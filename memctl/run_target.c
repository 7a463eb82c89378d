/* SPDX-License-Identifier: MIT */
/* memctl run: the program to start, and whether it can be preloaded. */
#include "memctl/run.h"

#include "memctl/say.h"
#include "accounting/elf.h"

#include <errno.h>
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
		return errno == ENOENT || errno == ENOTDIR ? not_found(path)
							   : not_executable(path, errno);
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
		return say_failed(
			"run",
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
	static const char *const known[] = { "jemalloc", "tcmalloc", "mimalloc",  "snmalloc",
					     "rpmalloc", "hoard",    "tbbmalloc", "scudo",
					     "dmalloc",  "efence" };
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
	static const char name[] = "libmemctl-preload";
	const char *slash = memrchr(entry, '/', n);
	const char *file = slash ? slash + 1 : entry;

	return n - (size_t)(file - entry) >= sizeof(name) - 1 && memcmp(file, name, sizeof(name) - 1) == 0;
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
	const char *users = getenv("LD_PRELOAD");
	char *list;

	if (check_allocator() || (t->keeps_preload && check_library(ours)))
		return SAY_RUN_FAILED;
	list = malloc(strlen(ours) + 2 * strlen(users ? users : "") + 2);
	if (!list)
		return SAY_RUN_FAILED;
	strcpy(list, t->keeps_preload ? ours : "");
	copy_others(list + strlen(list), users ? users : "");
	if (*list)
		(void)setenv("LD_PRELOAD", *list == ':' ? list + 1 : list, 1);
	else
		(void)unsetenv("LD_PRELOAD");
	free(list);
	return 0;
}

int run_target_set_environment(const struct run_target *t, const char *dir, const char *group)
{
	if (set_preload(t))
		return SAY_RUN_FAILED;
	if (setenv("MEMCTL_DIR", dir, 1) || setenv("MEMCTL_GROUP", group, 1)) {
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
