/* SPDX-License-Identifier: MIT */
/* Device memory that several processes have: who pays for it. */
#include "controld/heirs.h"

#include "accounting/member.h"
#include "accounting/step.h"
#include "controld/legacy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEIRS_MAGIC 0x6d656d63746c4531ull /* "memctlE1" */

/* An image of a process; count 0: nobody. */
struct holder {
	uint32_t member, generation, family;
	uint32_t count; /* how often it has it open */
};

struct record {
	uint64_t name; /* 0: unused */
	uint64_t units;
	uint64_t number; /* of its making: the oldest that nobody has goes first */
	uint32_t resource;
	uint32_t payer;	  /* holder + 1; 0: nobody */
	uint32_t account; /* the payer's, + 1, where it has inherited: this is charged there */
	uint32_t unused;
	struct holder holder[HEIRS_HOLDERS];
};

struct map {
	uint64_t magic, size, instance;
	uint64_t made; /* records, ever */
	uint32_t used; /* of the table, from its beginning */
	struct record record[HEIRS_RECORDS];
};

struct heirs {
	struct map *map; /* NULL: nothing was ever shared */
};

/* ---- the file -------------------------------------------------------------------------------------------- */

static bool is_sound(const struct map *m)
{
	bool ok = m->used <= HEIRS_RECORDS;

	for (uint32_t i = 0; ok && i < m->used; i++)
		ok = m->record[i].payer <= HEIRS_HOLDERS && m->record[i].resource < RESOURCES_MAX &&
		     m->record[i].units <= ACCOUNT_HELD_MAX;
	return ok;
}

/* One that is not ours, or was written to by somebody else, is begun anew. */
static struct map *make_map(const struct served *s)
{
	struct map *m = legacy_map(s->seg.dir, HEIRS_NAME, sizeof(*m));

	if (!m)
		return NULL;
	if (!legacy_populate(m, sizeof(*m)) && !legacy_detach(m, sizeof(*m), s->seg.dir, HEIRS_NAME)) {
		(void)munmap(m, sizeof(*m));
		return NULL;
	}
	if (m->magic != HEIRS_MAGIC || m->size != sizeof(*m) || m->instance != s->seg.limits->header.instance ||
	    !is_sound(m)) {
		memset(m, 0, sizeof(*m));
		m->instance = s->seg.limits->header.instance;
		m->size = sizeof(*m);
		m->magic = HEIRS_MAGIC;
	}
	return m;
}

void heirs_close(struct served *s)
{
	if (!s->heirs)
		return;
	if (s->heirs->map)
		(void)munmap(s->heirs->map, sizeof(*s->heirs->map));
	free(s->heirs);
	s->heirs = NULL;
}

/* ---- holders --------------------------------------------------------------------------------------------- */

static bool is_present(const struct served *s, uint32_t member)
{
	return member < MEMBERS_MAX && member_is_present(&s->seg, member);
}

static struct holder image_of(const struct served *s, uint32_t member)
{
	const struct member *m = member_of(&s->seg, member);

	return (struct holder){ .member = member,
				.generation = mc_load_relaxed(&m->generation),
				.family = mc_load_relaxed(&m->family),
				.count = 1 };
}

static bool is_same(const struct holder *a, const struct holder *b)
{
	return a->member == b->member && a->generation == b->generation && a->family == b->family;
}

static bool is_gone(const struct served *s, const struct holder *h)
{
	struct holder now;

	if (!is_present(s, h->member))
		return true;
	now = image_of(s, h->member);
	return !is_same(h, &now);
}

static struct holder *holder_of(struct record *r, const struct holder *like)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS; i++)
		if (r->holder[i].count && is_same(&r->holder[i], like))
			return &r->holder[i];
	return NULL;
}

static bool is_held(const struct record *r)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS; i++)
		if (r->holder[i].count)
			return true;
	return false;
}

static struct holder *add_holder(struct record *r, const struct holder *like)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS; i++)
		if (!r->holder[i].count) {
			r->holder[i] = *like;
			return &r->holder[i];
		}
	return NULL;
}

/* ---- paying ---------------------------------------------------------------------------------------------- */

static bool charge_heir(struct served *s, struct record *r, uint32_t i)
{
	uint32_t member = r->holder[i].member;
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);
	int slot = member_inherited_account(&s->seg, member, r->resource, group);

	if (slot < 0) {
		member_set_flags(&s->seg, member, MEMBER_PARTIAL, 0);
		return false;
	}
	r->account = member_account_at(&s->seg, member, (unsigned)slot) + 1;
	STEP(H1);
	charge_force(&s->actor, r->account - 1, r->units, OVER_LAZY);
	STEP(H2);
	r->payer = i + 1;
	STEP(H3);
	return true;
}

/* Where the image that inherited was replaced, its account was settled with it. */
static void uncharge_heir(struct served *s, uint32_t member, uint32_t account, uint64_t units)
{
	if (account && mc_load_full(&account_of(&s->seg, account - 1)->member) == member + 1)
		charge_uncharge(&s->actor, account - 1, units);
}

/* The first who has it and can. */
static void elect(struct served *s, struct record *r)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS && r->payer == 0; i++)
		if (r->holder[i].count && !is_gone(s, &r->holder[i]))
			(void)charge_heir(s, r, i);
}

/* The next one pays before the last one has stopped to: in between, nobody finds room that is not
 * there. */
static void pass_on(struct served *s, struct record *r, bool was_settled)
{
	uint32_t from = r->payer - 1, account = r->account;

	r->payer = r->account = 0;
	STEP(H4);
	elect(s, r);
	if (!was_settled)
		uncharge_heir(s, r->holder[from].member, account, r->units);
	STEP(H5);
}

static void drop(struct served *s, struct record *r, struct holder *h, bool was_settled)
{
	bool paid = r->payer == (uint32_t)(h - r->holder) + 1;

	h->count = 0;
	STEP(H6);
	if (paid)
		pass_on(s, r, was_settled);
}

/* ---- what another daemon has left ------------------------------------------------------------------------ */

/* Nobody pays whom it does not know any more, or who was just losing it. */
static void strike(struct served *s, struct record *r)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS; i++)
		if (r->holder[i].count && is_gone(s, &r->holder[i]))
			r->holder[i].count = 0;
	if (r->payer && !r->holder[r->payer - 1].count)
		r->payer = r->account = 0;
}

static uint64_t recorded(const struct map *m, uint32_t account)
{
	uint64_t units = 0;

	for (uint32_t i = 0; i < m->used; i++)
		if (m->record[i].payer && m->record[i].account == account + 1)
			units += m->record[i].units;
	return units;
}

/* Nobody else charges there: what is more or less than the records say was under way. */
static void correct(struct served *s, uint32_t account)
{
	uint64_t is = account_held(mc_load_full(&account_of(&s->seg, account)->word));
	uint64_t wanted = recorded(s->heirs->map, account);

	if (is > wanted)
		charge_uncharge(&s->actor, account, is - wanted);
	else if (is < wanted)
		charge_force(&s->actor, account, wanted - is, OVER_LAZY);
}

static void correct_all(struct served *s)
{
	uint32_t mark = account_mark(&s->seg);

	for (uint32_t i = 0; i < mark; i++) {
		const struct account *a = account_of(&s->seg, i);

		if (mc_load_full(&a->member) && account_meta_is_inherited(mc_load_full(&a->meta)))
			correct(s, i);
	}
}

/* It may have died between any two steps of ours. */
static void take_over(struct served *s)
{
	struct map *m = s->heirs->map;

	for (uint32_t i = 0; i < m->used; i++)
		strike(s, &m->record[i]);
	correct_all(s);
	for (uint32_t i = 0; i < m->used; i++)
		elect(s, &m->record[i]);
}

int heirs_open(struct served *s)
{
	char path[sizeof(s->seg.dir) + 16];

	s->heirs = calloc(1, sizeof(*s->heirs));
	if (!s->heirs)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "%s/" HEIRS_NAME, s->seg.dir);
	if (access(path, F_OK) == 0)
		s->heirs->map = make_map(s);
	if (s->heirs->map)
		take_over(s);
	return 0;
}

/* ---- records --------------------------------------------------------------------------------------------- */

static struct record *find(const struct served *s, uint64_t name)
{
	struct map *m = s->heirs->map;

	for (uint32_t i = 0; m && i < m->used; i++)
		if (m->record[i].name == name)
			return &m->record[i];
	return NULL;
}

/* One that nobody has, the oldest where all were used. */
static struct record *new_record(struct map *m)
{
	struct record *oldest = NULL;

	if (m->used < HEIRS_RECORDS)
		return &m->record[m->used++];
	for (uint32_t i = 0; i < HEIRS_RECORDS; i++)
		if (!is_held(&m->record[i]) && (!oldest || m->record[i].number < oldest->number))
			oldest = &m->record[i];
	return oldest;
}

/* True: somebody who is still there has what was called so. */
static bool is_in_use(const struct served *s, const struct record *r)
{
	for (uint32_t i = 0; i < HEIRS_HOLDERS; i++)
		if (r->holder[i].count && !is_gone(s, &r->holder[i]))
			return true;
	return false;
}

static void begin_record(struct served *s, struct record *r, const struct holder *lender, const struct record *like)
{
	if (r->payer)
		drop(s, r, &r->holder[r->payer - 1], true);
	*r = *like;
	r->number = ++s->heirs->map->made;
	r->payer = 1;
	r->holder[0] = *lender;
}

int heirs_lend(struct served *s, uint64_t name, uint32_t member, unsigned resource, uint64_t units)
{
	struct record *r = find(s, name);
	struct holder me;

	if (!is_present(s, member) || resource < RESOURCE_REGION_FIRST || resource >= RESOURCES_MAX ||
	    units > ACCOUNT_HELD_MAX)
		return -ESRCH;
	me = image_of(s, member);
	if (r && r->units == units && holder_of(r, &me))
		return 0;
	if (r && is_in_use(s, r))
		return -EEXIST;
	if (!r && !s->heirs->map)
		s->heirs->map = make_map(s);
	if (!r)
		r = s->heirs->map ? new_record(s->heirs->map) : NULL;
	if (!r)
		return -ENOSPC;
	begin_record(s, r, &me, &(struct record){ .name = name, .units = units, .resource = resource });
	return 0;
}

/* The last record of this number whose creator is gone: what is on its way is young. */
static struct record *find_orphan(const struct served *s, uint64_t number)
{
	struct map *m = s->heirs->map;
	struct record *found = NULL;

	for (uint32_t i = 0; m && i < m->used; i++) {
		struct record *r = &m->record[i];

		if (r->name > UINT32_MAX || r->name % HEIRS_NUMBERS != number ||
		    (r->payer && !r->account && !is_gone(s, &r->holder[r->payer - 1])))
			continue;
		if (!found || r->number > found->number)
			found = r;
	}
	return found;
}

int heirs_borrow(struct served *s, uint64_t *name, uint32_t member)
{
	struct record *r = *name < HEIRS_NUMBERS ? find_orphan(s, *name) : find(s, *name);
	struct holder me, *h;

	if (!r || !is_present(s, member))
		return -ENOENT;
	*name = r->name;
	me = image_of(s, member);
	h = holder_of(r, &me);
	if (h)
		h->count++;
	else
		h = add_holder(r, &me);
	if (!h) {
		member_set_flags(&s->seg, member, MEMBER_PARTIAL, 0);
		return -ENOSPC;
	}
	if (r->payer && is_gone(s, &r->holder[r->payer - 1]))
		drop(s, r, &r->holder[r->payer - 1], true);
	if (!r->payer)
		(void)charge_heir(s, r, (uint32_t)(h - r->holder));
	return 0;
}

void heirs_leave(struct served *s, uint64_t name, uint32_t member)
{
	struct map *m = s->heirs->map;
	struct holder me, *h;

	if (!m || !is_present(s, member))
		return;
	me = image_of(s, member);
	for (uint32_t i = 0; i < m->used; i++) {
		struct record *r = &m->record[i];

		if ((name && r->name != name) || !(h = holder_of(r, &me)))
			continue;
		if (name && h->count > 1)
			h->count--;
		else
			drop(s, r, h, false);
	}
}

/* It pays by itself until it has heard of this, and by us from here on: charged before it is counted,
 * so that who dies in between has it charged too long, and nothing goes uncharged. */
static void inherit_own(struct served *s, struct record *r, struct holder *h)
{
	uint32_t i = (uint32_t)(h - r->holder);

	if (r->payer == i + 1 && !r->account && !charge_heir(s, r, i))
		r->payer = 0;
	h->count--;
}

void heirs_give(struct served *s, uint64_t name, uint32_t member)
{
	struct record *r = name ? find(s, name) : NULL;
	struct holder me, *h;

	if (!r || !is_present(s, member))
		return;
	me = image_of(s, member);
	h = holder_of(r, &me);
	if (h && h->count > 1)
		inherit_own(s, r, h);
	else if (h)
		drop(s, r, h, false);
}

void heirs_lose(struct served *s, uint32_t slot)
{
	struct map *m = s->heirs ? s->heirs->map : NULL;

	for (uint32_t i = 0; m && i < m->used; i++)
		for (uint32_t k = 0; k < HEIRS_HOLDERS; k++) {
			struct holder *h = &m->record[i].holder[k];

			if (h->count && h->member == slot)
				drop(s, &m->record[i], h, true);
		}
}

void heirs_look(struct served *s)
{
	struct map *m = s->heirs ? s->heirs->map : NULL;

	for (uint32_t i = 0; m && i < m->used; i++)
		for (uint32_t k = 0; k < HEIRS_HOLDERS; k++) {
			struct holder *h = &m->record[i].holder[k];

			if (h->count && is_gone(s, h))
				drop(s, &m->record[i], h, true);
		}
}
