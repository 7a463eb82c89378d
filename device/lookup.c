/* SPDX-License-Identifier: MIT */
/* dlsym and dlvsym: what is not about a driver goes to libc by a jump, so that the caller is
 * still the caller; what is, is looked up first, and replaced only where the address that was
 * found is a driver's own.
 *
 * A wrapper that is called returns to the wrong library: RTLD_NEXT and RTLD_DEFAULT mean the
 * library of the return address. A hook that goes by names alone makes loaders of layers, which
 * export the same names, call themselves.
 */
#include "device/resolve.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

struct choice {
	void *found;
	long is_made; /* 0: jump */
};

/* `version` NULL: the one that a program gets which asks for none. */
struct choice lookup_choose(void *handle, const char *name, const char *version, void *caller)
	__attribute__((visibility("hidden")));

static struct link_map *map_of(const void *at)
{
	struct link_map *map = NULL;
	Dl_info info;

	return dladdr1(at, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

static bool is_behind(const struct link_map *map, const struct link_map *of)
{
	while (map && map != of)
		map = map->l_prev;
	return map != NULL;
}

static void *find(void *handle, const char *name, const char *version)
{
	return version ? resolve_real_dlvsym(handle, name, version) : resolve_real_dlsym(handle, name);
}

/* Our own definitions are none: a program that looks whether there is a driver must not find us.
 * What stands behind us in the global scope is what stands behind a caller before it. */
static void *find_in_scope(const void *caller, const char *name, const char *version)
{
	void *found = find(RTLD_NEXT, name, version);

	return found && caller && !is_behind(map_of(found), map_of(caller)) ? NULL : found;
}

struct choice lookup_choose(void *handle, const char *name, const char *version, void *caller)
{
	struct choice c = { NULL, 0 };

	resolve_start();
	if (!name || !resolve_real_dlsym || !resolve_is_ours(name))
		return c;
	c.is_made = 1;
	if (handle == RTLD_NEXT)
		c.found = find_in_scope(caller, name, version);
	else if (handle == RTLD_DEFAULT)
		c.found = find_in_scope(NULL, name, version);
	else
		c.found = find(handle, name, version);
	if (c.found && map_of(c.found) == map_of(lookup_choose)) /* by the handle of the program itself */
		c.found = find_in_scope(NULL, name, version);
	if (c.found)
		c.found = resolve_stand_in(name, c.found);
	return c;
}

#ifdef __x86_64__
/* The three arguments and the return address; the jump leaves all as it was. */
#define PUSH(register) \
	"	push " register "\n" \
				"	.cfi_adjust_cfa_offset 8\n"
#define POP(register) \
	"	pop " register "\n" \
			       "	.cfi_adjust_cfa_offset -8\n"
#define LOOKUP(name, version) \
	__asm__(".text\n" \
		".globl " name "\n" \
		".type " name ", @function\n" name ":\n" \
		"	.cfi_startproc\n" \
		"	endbr64\n" PUSH("%rdi") PUSH("%rsi") PUSH("%rdx") version \
		"	mov 24(%rsp), %rcx\n" \
		"	call lookup_choose\n" \
		"	test %rdx, %rdx\n" POP("%rdx") POP("%rsi") POP("%rdi") "	jnz 1f\n" \
									       "	mov resolve_real_" name \
									       "(%rip), %rax\n" \
									       "	jmp *%rax\n" \
									       "1:	ret\n" \
									       "	.cfi_endproc\n" \
									       ".size " name ", .-" name "\n")
LOOKUP("dlsym", "	xor %edx, %edx\n");
LOOKUP("dlvsym", "");
#else
/* Elsewhere RTLD_NEXT of others means what stands behind us. */
EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
	struct choice c = lookup_choose(handle, name, NULL, __builtin_return_address(0));

	return c.is_made || !resolve_real_dlsym ? c.found : resolve_real_dlsym(handle, name);
}

EXPORT void *dlvsym(void *restrict handle, const char *restrict name, const char *restrict version)
{
	struct choice c = lookup_choose(handle, name, version, __builtin_return_address(0));

	return c.is_made || !resolve_real_dlvsym ? c.found : resolve_real_dlvsym(handle, name, version);
}
#endif
