/* SPDX-License-Identifier: MIT */
/* Room that a process keeps free for what it will start. */
#include "accounting/keep.h"

#include "accounting/bell.h"
#include "accounting/procstat.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"
#include "accounting/transfer.h"

#include <errno.h>

#define ANCESTORS_MAX 64

/* ---- descent ----------------------------------------------------------------------------------------------- */

/* 0: not known. */
static uint32_t parent_of(uint32_t pid)
{
	uint64_t parent = 0;

	(void)procstat_read(pid, PROCSTAT_PARENT, &parent);
	return (uint32_t)parent;
}

bool keep_is_descendant(uint32_t pid, uint32_t ancestor)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		pid = parent_of(pid);
		if (pid == ancestor)
			return true;
	}
	return false;
}

/* ---- the keeper's side ------------------------------------------------------------------------------------- */

static uint32_t own_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint32_t)st.st_ino;
}

int keep_open(const struct segment *seg, uint16_t group, struct keep *ret)
{
	uint32_t pid = (uint32_t)sys_getpid();
	struct keep k = { 0 };
	uint64_t start_time;
	int err = member_read_start_time(0, &start_time);

	if (err)
		return err;
	if (seg->limits->header.daemon_pid_ns != own_pid_namespace())
		return -EXDEV;
	err = member_join(seg, pid, start_time, group, MEMBER_CLAIMED, "keeper", &k.member);
	if (err)
		return err;
	k.actor = (struct actor){
		.seg = seg,
		.open = &member_of(seg, k.member)->open,
		.member = k.member,
		.pid = pid,
	};
	k.account = member_account_at(seg, k.member, 0);
	member_set_flags(seg, k.member, MEMBER_KEEPS, 0);
	mc_add_full(&seg->counters->header.keepers, 1); /* after the flag: who sees it finds the slot */
	*ret = k;
	return 0;
}

static uint16_t who_lacks_room(const struct keep *k, uint64_t pages)
{
	const struct segment *seg = k->actor.seg;

	for (uint16_t g = account_meta_group(mc_load_full(&account_of(seg, k->account)->meta)); g != GROUP_NIL;
	     g = group_parent(seg, g)) {
		uint64_t usage = pool_usage(mc_load_full(&pool_of(seg, RESOURCE_MEMORY, g)->word));

		if (usage + pages > pool_max(seg, RESOURCE_MEMORY, g))
			return g;
	}
	return GROUP_NIL;
}

/* A keeper's own ancestor may keep room for it. */
int keep_take(struct keep *k, uint64_t pages, uint16_t *ret_refused)
{
	uint16_t full = who_lacks_room(k, pages);

	if (full == GROUP_NIL && charge_try_as(&k->actor, k->account, pages, CHARGE_FIRST, &full) == 0)
		return 0;
	if (keep_hand_over(&k->actor, k->account, pages))
		return 0;
	*ret_refused = full;
	return -ENOMEM;
}

static uint64_t held(const struct segment *seg, uint32_t account)
{
	return account_held(mc_load_full(&account_of(seg, account)->word));
}

uint64_t keep_held(const struct keep *k)
{
	return held(k->actor.seg, k->account);
}

/* It may sink meanwhile: by so much less is taken off. */
void keep_shrink(struct keep *k, uint64_t pages)
{
	const struct segment *seg = k->actor.seg;
	uint64_t meta = mc_load_full(&account_of(seg, k->account)->meta);
	uint64_t kept;
	int err;

	do {
		kept = keep_held(k);
		if (kept <= pages)
			return;
		err = charge_adjust(&k->actor, k->account, meta, kept, pages, OVER_START);
	} while (err == -EAGAIN);
	reclaim_wake(seg);
}

void keep_close(struct keep *k)
{
	const struct segment *seg = k->actor.seg;
	struct member *m = member_of(seg, k->member);

	keep_shrink(k, 0);
	mc_add_full(&m->open, 1);
	account_free(seg, k->account);
	mc_store_full(&m->account[0], 0);
	mc_sub_full(&m->open, 1);
	member_free(seg, k->member);
	mc_add_full(&seg->counters->header.members_changed, 1);
	bell_ring(seg);
}

/* ---- the side of who was refused --------------------------------------------------------------------------- */

#define KNOWN_MAX 4u /* keepers among one's ancestors: a memctl run within a memctl run */

/* This process's keepers, as it has found them. Each entry is true by itself (a claim of a slot never comes back), so
 * threads that look at the same time spoil nothing but their time. */
static struct {
	mc_word seen;		   /* pid (32) | header.keepers (32) when it looked; 0: never */
	mc_word keeper[KNOWN_MAX]; /* slot + 1 (32) | generation (32); 0 none */
} known;

struct ancestors {
	uint32_t pid[ANCESTORS_MAX];
	unsigned n;
};

static void gather(struct ancestors *a)
{
	uint32_t at = (uint32_t)sys_getpid();

	do {
		at = parent_of(at);
		a->pid[a->n++] = at;
	} while (at > 1 && a->n < ANCESTORS_MAX);
}

static bool is_among(const struct ancestors *a, uint32_t pid)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->pid[i] == pid)
			return true;
	return false;
}

/* True when it keeps room, or will. */
static bool is_keeper(struct member *m)
{
	return member_state(mc_load_full(&m->state)) == MEMBER_CLAIMED && mc_load_full(&m->flags) & MEMBER_KEEPS;
}

static void look_for_keepers(const struct segment *seg)
{
	struct ancestors above = { .n = 0 };
	uint32_t mark = member_mark(seg);
	unsigned n = 0;

	gather(&above);
	for (uint32_t i = 0; i < mark && n < KNOWN_MAX; i++) {
		struct member *m = member_of(seg, i);

		if (is_keeper(m) && is_among(&above, member_pid(mc_load_full(&m->state))))
			mc_store_full(&known.keeper[n++], (uint64_t)(i + 1) << 32 | mc_load_relaxed(&m->generation));
	}
	while (n < KNOWN_MAX)
		mc_store_full(&known.keeper[n++], 0);
}

/* In another pid namespace its ancestors' numbers are those of others. */
static bool is_foreign(const struct actor *by)
{
	return by->member != MEMBER_NIL && mc_load_relaxed(&member_of(by->seg, by->member)->flags) & MEMBER_FOREIGN;
}

/* False: nobody keeps anything for this process. */
static bool learn_keepers(const struct actor *by)
{
	const struct segment *seg = by->seg;
	uint32_t keepers = mc_load_full(&seg->counters->header.keepers);
	uint64_t now;

	if (!keepers || is_foreign(by))
		return false;
	now = (uint64_t)sys_getpid() << 32 | keepers;
	if (mc_load_full(&known.seen) != now) {
		look_for_keepers(seg);
		mc_store_full(&known.seen, now);
	}
	return mc_load_full(&known.keeper[0]) != 0;
}

/* The account of a keeper that is still the one that was found; MEMBER_NIL. *ret_meta is read before that is looked
 * at: whoever claims the account later is told by it. */
static uint32_t account_of_keeper(const struct segment *seg, uint64_t keeper, uint64_t *ret_meta)
{
	struct member *m = member_of(seg, (uint32_t)(keeper >> 32) - 1);
	uint32_t account = keeper ? mc_load_acquire(&m->account[0]) : 0;

	if (!account)
		return MEMBER_NIL;
	*ret_meta = mc_load_full(&account_of(seg, account - 1)->meta);
	if (mc_load_relaxed(&m->generation) != (uint32_t)keeper || !is_keeper(m) ||
	    mc_load_acquire(&m->account[0]) != account)
		return MEMBER_NIL;
	return account - 1;
}

bool keep_hand_over(const struct actor *by, uint32_t account, uint64_t pages)
{
	if (!learn_keepers(by))
		return false;
	for (unsigned i = 0; i < KNOWN_MAX; i++) {
		uint64_t meta = 0;
		uint32_t from = account_of_keeper(by->seg, mc_load_full(&known.keeper[i]), &meta);

		if (from != MEMBER_NIL && from != account && transfer_try(by, from, meta, account, pages) == 0)
			return true;
	}
	return false;
}

bool keep_has_room(const struct actor *by, uint32_t account, uint64_t pages)
{
	if (!learn_keepers(by))
		return false;
	for (unsigned i = 0; i < KNOWN_MAX; i++) {
		uint64_t meta;
		uint32_t from = account_of_keeper(by->seg, mc_load_full(&known.keeper[i]), &meta);

		if (from != MEMBER_NIL && from != account && transfer_has_room(by, from, account, pages))
			return true;
	}
	return false;
}
