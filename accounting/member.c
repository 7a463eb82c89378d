/* SPDX-License-Identifier: MIT */
/* Members: claiming slots, finding them, their accounts. */
#include "accounting/member.h"

#include "accounting/bell.h"
#include "accounting/procstat.h"
#include "accounting/reclaim.h"
#include "accounting/step.h"
#include "accounting/sys.h"

#include <errno.h>
#include <string.h>

int member_read_start_time(uint32_t pid, uint64_t *ret_ticks)
{
	uint64_t ticks = 0;
	int err = procstat_read(pid, PROCSTAT_START_TIME, &ticks);

	if (err)
		return err;
	*ret_ticks = ticks;
	return ticks ? 0 : -ESRCH;
}

static void raise(mc_word32 *mark, uint32_t to)
{
	uint32_t seen = mc_load_full(mark);

	while (seen < to && !mc_cas_full(mark, &seen, to))
		;
}

/* Below the mark all slots have their backing. */
static int claim_at(const struct segment *seg, uint32_t slot, uint32_t pid)
{
	struct member *m = member_of(seg, slot);
	uint64_t state;

	if (slot >= mc_load_full(&seg->counters->header.members_used) && segment_populate(seg, m, sizeof(*m)))
		return -ENOMEM;
	state = mc_load_relaxed(&m->state);
	if (member_state(state) != MEMBER_FREE)
		return -EBUSY;
	raise(&seg->counters->header.members_used, slot + 1);
	return mc_cas_full(&m->state, &state, member_state_word(pid, MEMBER_CLAIMED)) ? 0 : -EBUSY;
}

static int claim(const struct segment *seg, uint32_t pid, uint32_t *ret)
{
	mc_word32 *hint = &seg->counters->header.member_hint;
	uint32_t from = mc_load_relaxed(hint) % MEMBERS_MAX;

	for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
		uint32_t slot = (from + i) % MEMBERS_MAX;
		int err = claim_at(seg, slot, pid);

		if (err == -EBUSY)
			continue;
		if (!err) {
			mc_store_relaxed(hint, slot + 1);
			*ret = slot;
		}
		return err;
	}
	return -ENOSPC;
}

static mc_word32 *pid_hint(const struct segment *seg, uint32_t pid)
{
	return &seg->counters->member_of_pid[pid % MEMBERS_MAX];
}

static void set_comm(struct member *m, const char *comm)
{
	memset(m->comm, 0, sizeof(m->comm));
	if (comm)
		strncpy(m->comm, comm, sizeof(m->comm) - 1);
}

static void fill(struct member *m, uint64_t start_time, uint16_t group, const char *comm)
{
	mc_store_relaxed(&m->start_time, start_time);
	mc_store_relaxed(&m->open, 0);
	mc_store_relaxed(&m->flags, 0);
	mc_store_relaxed(&m->group, group);
	mc_store_relaxed(&m->asked, group);
	mc_store_relaxed(&m->refused, 0);
	mc_store_relaxed(&m->offset, 0);
	mc_store_relaxed(&m->purgeable, 0);
	reclaim_forget(m);
	mc_add_relaxed(&m->generation, 1);
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++)
		mc_store_relaxed(&m->account[i], 0);
	for (unsigned i = 0; i < MEMBER_TOLD_MAX; i++)
		mc_store_relaxed(&m->told[i].start, 0);
	set_comm(m, comm);
}

void member_free(const struct segment *seg, uint32_t member)
{
	mc_word32 *hint = &seg->counters->header.member_hint;

	mc_store_full(&member_of(seg, member)->state, 0);
	if (member < mc_load_relaxed(hint)) /* low slots first: scans stay short */
		mc_store_relaxed(hint, member);
}

static void give_up(const struct segment *seg, uint32_t member)
{
	uint32_t account = mc_load_acquire(&member_of(seg, member)->account[0]);

	if (account)
		account_free(seg, account - 1);
	member_free(seg, member);
}

uint32_t member_new_family(const struct segment *seg)
{
	return mc_add_relaxed(&seg->counters->header.families, 1) + 1;
}

/* `family` 0: of none. */
static int join(const struct segment *seg, uint32_t pid, uint64_t start_time, uint16_t group, enum member_state state,
		const char *comm, uint32_t family, uint32_t *ret_member)
{
	uint32_t generation = seg->limits->group[group].generation;
	uint32_t slot = 0;
	int err = claim(seg, pid, &slot);

	if (err)
		return err;
	STEP(J1);
	mc_store_full(pid_hint(seg, pid), slot + 1);
	fill(member_of(seg, slot), start_time, group, comm);
	mc_store_relaxed(&member_of(seg, slot)->family, family ? family : member_new_family(seg));
	mc_store_relaxed(&member_of(seg, slot)->flags, family ? MEMBER_FORKED : 0);
	err = member_account(seg, slot, RESOURCE_MEMORY, group);
	if (err < 0)
		goto undo;
	STEP(J2);
	mc_store_full(&member_of(seg, slot)->state, member_state_word(pid, state)); /* [O4] */
	err = -ENOENT;
	if (group_state(seg, group) != GROUP_LIVE || seg->limits->group[group].generation != generation)
		goto undo;
	*ret_member = slot;
	mc_add_full(&seg->counters->header.members_changed, 1);
	bell_ring(seg);
	return 0;
undo:
	give_up(seg, slot);
	return err;
}

int member_join(const struct segment *seg, uint32_t pid, uint64_t start_time, uint16_t group, enum member_state state,
		const char *comm, uint32_t *ret_member)
{
	return join(seg, pid, start_time, group, state, comm, 0, ret_member);
}

int member_join_family(const struct segment *seg, uint32_t pid, uint64_t start_time, uint16_t group,
		       enum member_state state, const char *comm, uint32_t family, uint32_t *ret_member)
{
	return join(seg, pid, start_time, group, state, comm, family, ret_member);
}

static bool is_member(const struct segment *seg, uint32_t slot, uint32_t pid, uint64_t start_time)
{
	struct member *m = member_of(seg, slot);
	uint64_t state = mc_load_full(&m->state);

	return member_pid(state) == pid && mc_load_relaxed(&m->start_time) == start_time &&
	       (member_state(state) == MEMBER_LIVE || member_state(state) == MEMBER_OBSERVED);
}

/* A hint is stale when its member is gone, or was overwritten by a pid of the same residue: then a scan
 * decides. It is never cleared, for somebody else of that residue may still need the scan. */
int member_find(const struct segment *seg, uint32_t pid, uint64_t start_time, uint32_t *ret_member)
{
	uint32_t hint = mc_load_full(pid_hint(seg, pid));
	uint32_t mark = member_mark(seg);

	if (hint == 0)
		return -ESRCH;
	if (hint <= mark && is_member(seg, hint - 1, pid, start_time)) {
		*ret_member = hint - 1;
		return 0;
	}
	for (uint32_t i = 0; i < mark; i++)
		if (is_member(seg, i, pid, start_time)) {
			*ret_member = i;
			return 0;
		}
	return -ESRCH;
}

/* What tells the accounts of one member apart. */
struct account_key {
	unsigned resource;
	uint16_t group;
	bool is_inherited;
};

static bool is_account_for(const struct segment *seg, uint32_t account, const struct account_key *key)
{
	uint64_t meta = mc_load_full(&account_of(seg, account)->meta);

	return account_meta_resource(meta) == key->resource && account_meta_group(meta) == key->group &&
	       account_meta_is_inherited(meta) == key->is_inherited;
}

int member_find_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group)
{
	const struct account_key key = { resource, group, false };

	for (unsigned slot = 0; slot < MEMBER_ACCOUNTS_MAX; slot++) {
		uint32_t account = mc_load_acquire(&member_of(seg, member)->account[slot]);

		if (account && is_account_for(seg, account - 1, &key))
			return (int)slot;
	}
	return -ENOENT;
}

/* Two threads may claim for the same pool at once; the loser gives his back and takes the winner's. */
static int find_or_claim(const struct segment *seg, uint32_t member, const struct account_key *key)
{
	struct member *m = member_of(seg, member);
	uint32_t claimed = 0;
	unsigned slot = 0;
	int err = 0;

	for (; slot < MEMBER_ACCOUNTS_MAX; slot++) {
		uint32_t seen = mc_load_acquire(&m->account[slot]);

		if (seen == 0 && !claimed) {
			err = account_claim(seg, member, key->resource, key->group,
					    key->is_inherited ? slot | ACCOUNT_INHERITED : slot, &claimed);
			if (err)
				return err;
			claimed++;
		}
		if (seen == 0 && mc_cas_full(&m->account[slot], &seen, claimed))
			return (int)slot;
		if (is_account_for(seg, seen - 1, key))
			break;
	}
	if (claimed)
		account_free(seg, claimed - 1);
	return slot < MEMBER_ACCOUNTS_MAX ? (int)slot : -ENOSPC;
}

/* open is up meanwhile: who dies between claiming an account and listing it is settled with a scan. */
static int account_by(const struct segment *seg, uint32_t member, const struct account_key *key)
{
	struct member *m = member_of(seg, member);
	int slot;

	mc_add_full(&m->open, 1);
	slot = find_or_claim(seg, member, key);
	mc_sub_full(&m->open, 1);
	return slot;
}

int member_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group)
{
	return account_by(seg, member, &(struct account_key){ resource, group, false });
}

int member_inherited_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group)
{
	return account_by(seg, member, &(struct account_key){ resource, group, true });
}

bool member_is_present(const struct segment *seg, uint32_t member)
{
	enum member_state s = member_state(mc_load_full(&member_of(seg, member)->state));

	return s == MEMBER_CLAIMED || s == MEMBER_LIVE || s == MEMBER_OBSERVED;
}

bool member_any_in(const struct segment *seg, uint16_t group)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++)
		if (member_is_present(seg, i) && mc_load_full(&member_of(seg, i)->group) == group)
			return true;
	return false;
}

void member_set_flags(const struct segment *seg, uint32_t member, uint32_t set, uint32_t clear)
{
	mc_word32 *flags = &member_of(seg, member)->flags;
	uint32_t seen = mc_load_full(flags);

	while (!mc_cas_full(flags, &seen, (seen | set) & ~clear))
		;
	if (set & MEMBER_EXECING) {
		mc_add_full(&seg->counters->header.members_changed, 1);
		bell_ring(seg);
	}
}

uint64_t member_held(const struct segment *seg, uint32_t member, unsigned resource)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_acquire(&member_of(seg, member)->account[i]);
		struct account *a;

		if (!account)
			continue;
		a = account_of(seg, account - 1);
		if (account_meta_resource(mc_load_full(&a->meta)) == resource)
			sum += account_held(mc_load_full(&a->word));
	}
	return sum;
}

/* Both numbers move meanwhile. */
uint64_t member_held_elsewhere(const struct segment *seg, uint32_t member, uint32_t account)
{
	uint64_t all = member_held(seg, member, RESOURCE_MEMORY);
	uint64_t here = account_held(mc_load_full(&account_of(seg, account)->word));

	return all > here ? all - here : 0;
}
