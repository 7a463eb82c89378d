/* SPDX-License-Identifier: MIT */
/* What a mapping is. */
#include "preload/classify.h"

#include "accounting/sys.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

bool classify_is_usable(int prot)
{
	return prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

static enum class private_class(int flags) {
	if (flags & MAP_LOCKED) return CLASS_PINNED;
	return flags & (MAP_STACK | MAP_GROWSDOWN) ? CLASS_STACK : CLASS_ANON;
}

enum classify_verdict classify_mapping(int prot, int flags, enum class *ret_class)
{
	if (!(flags & MAP_ANONYMOUS) || flags & MAP_HUGETLB)
		return CLASSIFY_IGNORE;
	if ((flags & MAP_TYPE) != MAP_PRIVATE) {
		*ret_class = CLASS_SHMEM;
		return CLASSIFY_CHARGE;
	}
	*ret_class = private_class(flags);
	return classify_is_usable(prot) ? CLASSIFY_CHARGE : CLASSIFY_RESERVE;
}

bool classify_may_be_lazy(int flags)
{
	return !(flags & (MAP_LOCKED | MAP_POPULATE));
}

/* A memfd, a file on a tmpfs, or /dev/zero, which is one of the latter as a rule; else a device of that name. */
static bool is_memory(int fd, bool may_be_device)
{
	struct statfs fs;
	struct stat st;

	if (sys_is_error(sys_call3(SYS_fstatfs, fd, &fs, 0)))
		return false;
	return fs.f_type == TMPFS_MAGIC ||
	       (may_be_device && !sys_is_error(sys_call3(SYS_fstat, fd, &st, 0)) && S_ISCHR(st.st_mode));
}

bool classify_is_shared(int flags, int fd)
{
	bool private = (flags & MAP_TYPE) == MAP_PRIVATE;

	if (flags & MAP_ANONYMOUS)
		return !private;
	return fd >= 0 && is_memory(fd, !private);
}
