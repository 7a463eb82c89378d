/* SPDX-License-Identifier: MIT */
/* What a mapping is. */
#include "preload/classify.h"

#include <sys/mman.h>

bool classify_is_usable(int prot)
{
	return prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

static enum class private_class(int flags)
{
	if (flags & MAP_LOCKED)
		return CLASS_PINNED;
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

bool classify_is_shared(int flags, int fd)
{
	return (flags & MAP_TYPE) != MAP_PRIVATE && (flags & MAP_ANONYMOUS || fd >= 0);
}
