/* SPDX-License-Identifier: MIT */
/* shmat: a System V segment is nobody's page until somebody touches it. The daemon counts what is
 * resident, once for all who attach it; here it is only told to look.
 *
 * shmdt is not intercepted: it takes nothing from the ledger, and the daemon sees the mapping gone.
 */
#include "accounting/sys.h"
#include "preload/export.h"
#include "preload/map.h"
#include "preload/real.h"

#include <errno.h>
#include <stdint.h>
#include <sys/shm.h>

REAL(shmat)

static void *do_shmat(int id, const void *addr, int flags)
{
	long ret;

	if (real_shmat())
		return real_shmat()(id, addr, flags);
	ret = sys_call3(SYS_shmat, id, addr, flags);
	if (!sys_is_error(ret))
		return (void *)ret; /* NOLINT: the kernel's answer is an address */
	errno = (int)-ret;
	return (void *)-1;
}

/* Where SHM_REMAP replaces what is mapped; 0: nothing is. */
static size_t replaced(int id, const void *addr, int flags)
{
	struct shmid_ds ds;
	int saved = errno;
	size_t size = 0;

	if (addr && flags & SHM_REMAP && shmctl(id, IPC_STAT, &ds) == 0)
		size = ds.shm_segsz;
	errno = saved;
	return size;
}

static char *start_of(const void *addr, int flags)
{
	uintptr_t at = (uintptr_t)addr;

	return (char *)(flags & SHM_RND ? at & ~(uintptr_t)(SHMLBA - 1) : at); /* NOLINT: it is an address */
}

EXPORT void *shmat(int id, const void *addr, int flags)
{
	struct map_taken taken;
	size_t size;
	void *p;

	if (!map_is_on())
		return do_shmat(id, addr, flags);
	self_mark_sharing();
	size = replaced(id, addr, flags);
	map_take(&taken, size ? start_of(addr, flags) : NULL, size, 0);
	p = do_shmat(id, addr, flags);
	if (p == (void *)-1) /* NOLINT: shmat's own error value */
		map_undo_take(&taken);
	else
		map_drop(&taken);
	return p;
}
