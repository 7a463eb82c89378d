/* SPDX-License-Identifier: MIT */
/* Switches the Vulkan layer on, before the program and so before its loader: the layer's name and
 * the directory of its manifest are appended to what the user has set. Children inherit both and
 * add nothing. A layer that is named and not found makes vkCreateInstance fail, so the manifest is
 * looked for first; a privileged program's loader would not look there, so nothing is done in one.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define LAYER "VK_LAYER_MEMCTL_device"
#define MANIFEST "/" LAYER ".json"

static bool is_in(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL)
		if (strncmp(at, word, n) == 0 && (at[n] == ':' || at[n] == 0))
			return true;
	return false;
}

static bool append(const char *variable, const char *word)
{
	const char *old = getenv(variable);
	char *all;
	bool ok;

	if (!old || !*old)
		return setenv(variable, word, 1) == 0;
	if (is_in(old, word))
		return true;
	if (asprintf(&all, "%s:%s", old, word) < 0)
		return false;
	ok = setenv(variable, all, 1) == 0;
	free(all);
	return ok;
}

/* Beside this library, in a directory that has nothing else. */
static bool find_manifest(char ret_dir[PATH_MAX])
{
	char file[PATH_MAX + sizeof(MANIFEST)];
	Dl_info info;
	const char *slash;

	if (!dladdr((const void *)find_manifest, &info) || !info.dli_fname)
		return false;
	slash = strrchr(info.dli_fname, '/');
	if (!slash || info.dli_fname[0] != '/' || strchr(info.dli_fname, ':'))
		return false;
	if (snprintf(ret_dir, PATH_MAX, "%.*s/vulkan", (int)(slash - info.dli_fname), info.dli_fname) >= PATH_MAX)
		return false;
	(void)snprintf(file, sizeof(file), "%s" MANIFEST, ret_dir);
	return access(file, R_OK) == 0;
}

/* VK_LAYER_PATH replaces the loader's own directories, and VK_ADD_LAYER_PATH with them. */
__attribute__((constructor(103))) static void start(void)
{
	const char *path = getenv("VK_LAYER_PATH");
	char dir[PATH_MAX];

	if (getauxval(AT_SECURE) || !find_manifest(dir))
		return;
	if (append(path && *path ? "VK_LAYER_PATH" : "VK_ADD_LAYER_PATH", dir))
		(void)append("VK_INSTANCE_LAYERS", LAYER);
}
