/* SPDX-License-Identifier: MIT */
/* mmap and its kin: the ledger is cleared before the real call and written after it, so that another
 * thread which is given the same address in between finds its own entries untouched. */
#include "accounting/sys.h"
#include "accounting/ticket.h"
#include "accounting/units.h"
#include "preload/answer.h"
#include "preload/classify.h"
#include "preload/cold.h"
#include "preload/export.h"
#include "preload/ledger.h"
#include "preload/map.h"
#include "preload/real.h"
#include "preload/sharing.h"
#include "preload/sites.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

REAL(mmap)
REAL(munmap)
REAL(mremap)
REAL(mprotect)
REAL(madvise)
REAL(brk)
REAL(sbrk)

/* All at once while nothing else is under way: a signal handler may be the first to call one, and the dynamic
 * linker is not to be called there. */
__attribute__((constructor(102))) static void find_all(void)
{
	(void)real_mmap();
	(void)real_munmap();
	(void)real_mremap();
	(void)real_mprotect();
	(void)real_madvise();
}

/* Raw until the constructor has run, and for ever where the next library lacks the name. */
static void *do_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (real_mmap())
		return real_mmap()(addr, size, prot, flags, fd, offset);
	return answer_pointer(sys_mmap(addr, size, prot, flags, fd, offset));
}

static int do_munmap(void *addr, size_t size)
{
	return real_munmap() ? real_munmap()(addr, size) : answer(sys_munmap(addr, size));
}

static int do_mprotect(void *addr, size_t size, int prot)
{
	if (real_mprotect())
		return real_mprotect()(addr, size, prot);
	return answer(sys_call3(SYS_mprotect, addr, size, prot));
}

static int do_madvise(void *addr, size_t size, int advice)
{
	return real_madvise() ? real_madvise()(addr, size, advice) : answer(sys_madvise(addr, size, advice));
}

static void *do_mremap(void *old, size_t old_size, size_t size, int flags, void *addr)
{
	if (real_mremap())
		return real_mremap()(old, old_size, size, flags, addr);
	return answer_pointer(sys_call6(SYS_mremap, (long)old, (long)old_size, (long)size, flags, (long)addr, 0));
}

/* ---- mmap, munmap -------------------------------------------------------------------------------------- */

static void *map_charged(void *addr, size_t size, int prot, int flags, int fd, off_t offset, enum class class)
{
	struct map_charge charge;
	struct map_taken taken;
	void *p;

	if (!map_reserve(&charge, units_pages_up(size), classify_may_be_lazy(flags))) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	if (sites_are_on() && flags & MAP_FIXED)
		sites_unmap(addr, size);
	map_take(&taken, flags & MAP_FIXED ? addr : NULL, size, 0);
	p = do_mmap(addr, size, prot, flags, fd, offset);
	if (p == MAP_FAILED) {
		map_undo_take(&taken);
		map_cancel(&charge);
		return p;
	}
	map_drop(&taken);
	map_commit(&charge, p, class);
	if (sites_are_on())
		sites_map(p, size);
	sharing_drop(p, size);
	if (class == CLASS_SHMEM)
		sharing_add(p, size);
	return p;
}

static void *map_uncharged(void *addr, size_t size, int prot, int flags, int fd, off_t offset, uint8_t value)
{
	struct map_taken taken;
	void *p;

	if (sites_are_on() && flags & MAP_FIXED)
		sites_unmap(addr, size);
	map_take(&taken, flags & MAP_FIXED ? addr : NULL, size, 0);
	p = do_mmap(addr, size, prot, flags, fd, offset);
	if (p == MAP_FAILED) {
		map_undo_take(&taken);
		return p;
	}
	map_drop(&taken);
	sharing_drop(p, size);
	if (value && !ledger_set(p, units_pages_up(size), value))
		map_mark_partial();
	return p;
}

static void *map(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	enum class class = CLASS_ANON;

	if (!map_is_on() || size == 0)
		return do_mmap(addr, size, prot, flags, fd, offset);
	if (!self_is_sharing() && classify_is_shared(flags, fd))
		self_mark_sharing();
	switch (classify_mapping(prot, flags, &class)) {
	case CLASSIFY_CHARGE:
		return map_charged(addr, size, prot, flags, fd, offset, class);
	case CLASSIFY_RESERVE:
		return map_uncharged(addr, size, prot, flags, fd, offset, LEDGER_RESERVED);
	default:
		return map_uncharged(addr, size, prot, flags, fd, offset, 0);
	}
}

EXPORT void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	return map(addr, size, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	return map(addr, size, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t size)
{
	struct map_taken taken;
	int err;

	if (!map_is_on())
		return do_munmap(addr, size);
	if (sites_are_on())
		sites_unmap(addr, size);
	map_take(&taken, addr, size, 0);
	err = do_munmap(addr, size);
	if (err)
		map_undo_take(&taken);
	else
		map_drop(&taken);
	if (!err)
		sharing_drop(addr, size);
	return err;
}

/* ---- mremap -------------------------------------------------------------------------------------------- */

/* What comes on top is charged as the last page before it. */
static uint64_t pages_to_add(const struct map_taken *old, uint64_t pages, int flags)
{
	uint64_t stays = flags & MREMAP_DONTUNMAP ? 0 : old->pages;

	if (!ledger_is_charged(map_last_value(old)) && !ledger_is_lazy(map_last_value(old)))
		return 0;
	return pages > stays ? pages - stays : 0;
}

static void *remap(void *old, size_t old_size, size_t size, int flags, void *addr)
{
	uint64_t pages = units_pages_up(size);
	struct map_taken from;
	struct map_taken onto;
	struct map_charge charge;
	void *p;

	map_take(&from, old, old_size, pages);
	if (!map_reserve(&charge, pages_to_add(&from, pages, flags), true)) {
		map_undo_take(&from);
		errno = ENOMEM;
		return MAP_FAILED;
	}
	map_take(&onto, flags & MREMAP_FIXED ? addr : NULL, size, 0);
	p = do_mremap(old, old_size, size, flags, addr);
	if (p == MAP_FAILED) {
		map_undo_take(&onto);
		map_undo_take(&from);
		map_cancel(&charge);
		return p;
	}
	map_drop(&onto);
	if (sites_are_on()) {
		sites_unmap(old, flags & MREMAP_DONTUNMAP ? 0 : old_size);
		sites_map(p, charge.pages || from.pages ? size : 0);
	}
	sharing_drop(old, old_size);
	sharing_drop(p, size);
	map_move(&from, p, pages, flags & MREMAP_DONTUNMAP, &charge);
	return p;
}

EXPORT void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
	void *addr = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list args;

		va_start(args, flags);
		addr = va_arg(args, void *);
		va_end(args);
	}
	if (!map_is_on() || old_size == 0)
		return do_mremap(old, old_size, size, flags, addr);
	return remap(old, old_size, size, flags, addr);
}

/* ---- mprotect, madvise ---------------------------------------------------------------------------------- */

/* Where it stumbles over a hole the kernel has opened what is before: all is charged then. */
EXPORT int mprotect(void *addr, size_t size, int prot)
{
	struct map_charge charge;
	uint64_t reserved;
	int err;

	if (!map_is_on() || !classify_is_usable(prot))
		return do_mprotect(addr, size, prot);
	reserved = map_count_reserved(addr, size);
	if (reserved == 0)
		return do_mprotect(addr, size, prot);
	if (!map_reserve(&charge, reserved, true)) {
		errno = ENOMEM;
		return -1;
	}
	err = do_mprotect(addr, size, prot);
	if (err && errno == EINVAL)
		map_cancel(&charge);
	else
		map_open_reserved(&charge, addr, size);
	if (!err && sites_are_on())
		sites_map(addr, size);
	return err;
}

/* True when what is resident is gone afterwards, though the range stays. */
static bool drops(int advice)
{
	return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED;
}

EXPORT int madvise(void *addr, size_t size, int advice)
{
	struct map_taken seen;
	int err;

	if (advice == MADV_FREE)
		cold_note_given_up();
	if (!drops(advice) || !map_is_on())
		return do_madvise(addr, size, advice);
	map_look(&seen, addr, size);
	err = do_madvise(addr, size, advice);
	if (!err)
		map_discard(&seen);
	return err;
}

/* ---- the break ------------------------------------------------------------------------------------------ */

static char *up_to_page(char *p)
{
	return (char *)(((uintptr_t)p + MC_PAGE_SIZE - 1) & ~(uintptr_t)(MC_PAGE_SIZE - 1));
}

/* glibc's brk answers 0 for an address below the heap, but moves nothing. */
static bool has_moved(const char *to)
{
	return !real_sbrk() || real_sbrk()(0) == to;
}

/* Moves the break from `from` to `to` by `move`, which answers 0 when it is done. */
static int move_break(char *from, char *to, int (*move)(char *to))
{
	char *first = up_to_page(from);
	char *last = up_to_page(to);
	struct map_charge charge;
	struct map_taken taken;
	int err;

	if (!map_reserve(&charge, last > first ? (uint64_t)(last - first) >> MC_PAGE_SHIFT : 0, true)) {
		errno = ENOMEM;
		return -1;
	}
	map_take(&taken, last < first ? last : NULL, last < first ? (size_t)(first - last) : 0, 0);
	err = move(to);
	if (err || !has_moved(to)) {
		map_undo_take(&taken);
		map_cancel(&charge);
		return err;
	}
	map_drop(&taken);
	map_commit(&charge, first, CLASS_HEAP);
	return 0;
}

static int move_to(char *to)
{
	if (real_brk())
		return real_brk()(to);
	errno = ENOMEM;
	return -1;
}

EXPORT int brk(void *addr)
{
	char *now = real_sbrk() ? real_sbrk()(0) : (char *)-1;

	if (!map_is_on() || now == (char *)-1)
		return move_to(addr);
	return move_break(now, addr, move_to);
}

EXPORT void *sbrk(intptr_t increment)
{
	char *now = real_sbrk() ? real_sbrk()(0) : (char *)-1;

	if (increment == 0 || now == (char *)-1)
		return now;
	if (!map_is_on())
		return real_sbrk()(increment);
	return move_break(now, now + increment, move_to) ? (void *)-1 : now;
}
