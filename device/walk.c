/* SPDX-License-Identifier: MIT */
/* A look at all entries of a kind. */
#include "device/walk.h"

#include "accounting/sys.h"

static void look(enum ledger_kind kind, uint64_t key, walk_goes *goes, walk_taken *taken, void *arg)
{
	struct ledger_entry e;

	if (ledger_find(kind, key, &e) && goes(&e, arg) && ledger_take(kind, key, &e))
		taken(&e, arg);
}

void walk_take(enum ledger_kind kind, walk_goes *goes, walk_taken *taken, void *arg)
{
	size_t room = ledger_count(kind), size, n;
	uint64_t *key;

	if (room == 0)
		return;
	room += 64; /* others may get more */
	size = (room * sizeof(*key) + MC_PAGE_SIZE - 1) / MC_PAGE_SIZE * MC_PAGE_SIZE;
	key = device_pages(size, PAGES_ABSENT);
	n = key ? ledger_keys(kind, key, room) : 0;
	for (size_t i = 0; i < n && i < room; i++)
		look(kind, key[i], goes, taken, arg);
	if (key)
		(void)sys_munmap(key, size);
}
