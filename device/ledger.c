/* SPDX-License-Identifier: MIT */
/* What this process holds on devices: open addressing in shards, each with a lock of its own. */
#include "device/ledger.h"

#include "accounting/sys.h"
#include "device/sites.h"

#include <sched.h>

#define SHARDS 64u
#define SLOTS_FIRST 64u
#define KINDS 32u

struct shard {
	_Alignas(64) mc_word32 lock;
	uint32_t used;
	uint32_t slots;		    /* a power of two; 0: nothing yet */
	struct ledger_entry *entry; /* key 0: free */
};

struct ledger {
	struct shard shard[SHARDS];
	mc_word count[KINDS];
};

/* Wiped in a child; the tables that the shards point to are not there at all. */
static struct ledger *ledger;

static struct ledger *get(void)
{
	static mc_word32 making;

	if (__builtin_expect(ledger != NULL, 1))
		return ledger;
	while (mc_exchange_full(&making, 1))
		mc_spin_hint();
	if (!ledger)
		ledger = device_pages(sizeof(struct ledger), PAGES_WIPED);
	mc_store_full(&making, 0);
	return ledger;
}

static uint64_t mix(enum ledger_kind kind, uint64_t key)
{
	uint64_t x = (key ^ (uint64_t)kind << 56) * 0x9e3779b97f4a7c15ull;

	return x ^ x >> 32;
}

/* As glibc's own mutexes know it; older ones do not say, and threads that it has not made call no
 * driver. */
extern char __libc_single_threaded __attribute__((weak));

static bool is_alone(void)
{
	return &__libc_single_threaded && __libc_single_threaded;
}

/* An exchange is a tenth of a pair's price, and there is nobody to keep out. */
static struct shard *lock(struct ledger *l, uint64_t hash)
{
	struct shard *s = &l->shard[hash % SHARDS];

	if (is_alone() && !mc_load_relaxed(&s->lock)) {
		mc_store_relaxed(&s->lock, 1);
		return s;
	}
	for (unsigned tries = 0; mc_exchange_full(&s->lock, 1); tries++) {
		mc_spin_hint();
		if (tries > 100)
			(void)sched_yield();
	}
	return s;
}

static void unlock(struct shard *s)
{
	mc_store_release(&s->lock, 0);
}

static uint32_t home(const struct shard *s, uint64_t hash)
{
	return (uint32_t)(hash / SHARDS) & (s->slots - 1);
}

/* Where it is, or where it would go; `slots` where there is no room at all. */
static uint32_t probe(const struct shard *s, enum ledger_kind kind, uint64_t key, uint64_t hash)
{
	uint32_t i;

	if (s->slots == 0)
		return 0;
	for (i = home(s, hash); s->entry[i].key; i = (i + 1) & (s->slots - 1))
		if (s->entry[i].key == key && s->entry[i].kind == kind)
			break;
	return i;
}

static bool is_there(const struct shard *s, uint32_t i)
{
	return s->slots && s->entry[i].key;
}

static void move_all(const struct shard *from, struct shard *to)
{
	for (uint32_t i = 0; i < from->slots; i++) {
		const struct ledger_entry *e = &from->entry[i];

		if (e->key)
			to->entry[probe(to, e->kind, e->key, mix(e->kind, e->key))] = *e;
	}
}

static bool grow(struct shard *s)
{
	struct shard larger = { .slots = s->slots ? 2 * s->slots : SLOTS_FIRST };

	larger.entry = device_pages(larger.slots * sizeof(*larger.entry), PAGES_ABSENT);
	if (!larger.entry)
		return false;
	move_all(s, &larger);
	if (s->entry)
		(void)sys_munmap(s->entry, s->slots * sizeof(*s->entry));
	s->slots = larger.slots;
	s->entry = larger.entry;
	return true;
}

/* What stood behind it moves up, so that no search ends too early. */
static void remove_at(struct shard *s, uint32_t i)
{
	uint32_t mask = s->slots - 1;

	for (uint32_t j = (i + 1) & mask; s->entry[j].key; j = (j + 1) & mask) {
		uint32_t want = home(s, mix(s->entry[j].kind, s->entry[j].key));

		if (((j - want) & mask) >= ((j - i) & mask)) {
			s->entry[i] = s->entry[j];
			i = j;
		}
	}
	s->entry[i].key = 0;
	s->used--;
}

/* Pointers, of which there are most, are counted by their shards: an atomic addition is a tenth of
 * a pair's price. */
static void count(struct ledger *l, enum ledger_kind kind, uint64_t by)
{
	if (kind != LEDGER_POINTER)
		mc_add_relaxed(&l->count[kind % KINDS], by);
}

bool ledger_put(const struct ledger_entry *e)
{
	uint64_t hash = mix(e->kind, e->key);
	struct device_paid old = { 0 };
	struct ledger *l = get();
	struct shard *s;
	uint32_t i;
	bool ok;

	if (!l) {
		device_charge_return(&e->paid);
		return false;
	}
	s = lock(l, hash);
	ok = s->used < s->slots / 2 || grow(s); /* sparse: a long chain costs more than memory */
	if (ok) {
		i = probe(s, e->kind, e->key, hash);
		if (is_there(s, i)) {
			old = s->entry[i].paid;
		} else {
			s->used++;
			count(l, e->kind, 1);
		}
		s->entry[i] = *e;
	}
	unlock(s);
	if (__builtin_expect(!ok || old.units, 0))
		device_charge_return(ok ? &old : &e->paid);
	if (ok)
		device_sites_put(e);
	return ok;
}

bool ledger_change(enum ledger_kind kind, uint64_t key, ledger_change_fn *change, void *arg, struct ledger_entry *ret)
{
	uint64_t hash = mix(kind, key);
	struct ledger *l = ledger;
	struct shard *s;
	bool found, take = false;
	uint32_t i;

	if (!l || key == 0)
		return false;
	s = lock(l, hash);
	i = probe(s, kind, key, hash);
	found = is_there(s, i);
	if (found) {
		take = change(&s->entry[i], arg);

		if (ret)
			*ret = s->entry[i];
		if (take) {
			remove_at(s, i);
			count(l, kind, (uint64_t)-1);
		}
	}
	unlock(s);
	if (take)
		device_sites_take(kind, key);
	return found;
}

static bool take_it(struct ledger_entry *e, void *arg)
{
	(void)e, (void)arg;
	return true;
}

bool ledger_take(enum ledger_kind kind, uint64_t key, struct ledger_entry *ret)
{
	return ledger_change(kind, key, take_it, NULL, ret);
}

static bool leave_it(struct ledger_entry *e, void *arg)
{
	(void)e, (void)arg;
	return false;
}

bool ledger_find(enum ledger_kind kind, uint64_t key, struct ledger_entry *ret)
{
	return ledger_change(kind, key, leave_it, NULL, ret);
}

static bool set_of(struct ledger_entry *e, void *of)
{
	e->of = *(uint64_t *)of;
	return false;
}

bool ledger_set_of(enum ledger_kind kind, uint64_t key, uint64_t of)
{
	return ledger_change(kind, key, set_of, &of, NULL);
}

static bool set_size(struct ledger_entry *e, void *size)
{
	e->size = *(uint64_t *)size;
	return false;
}

bool ledger_set_size(enum ledger_kind kind, uint64_t key, uint64_t size, struct ledger_entry *ret)
{
	return ledger_change(kind, key, set_size, &size, ret);
}

size_t ledger_keys(enum ledger_kind kind, uint64_t *ret, size_t room)
{
	struct ledger *l = ledger;
	size_t n = 0;

	for (uint64_t shard = 0; l && shard < SHARDS; shard++) {
		struct shard *s = lock(l, shard);

		for (uint32_t i = 0; i < s->slots; i++) {
			if (!s->entry[i].key || s->entry[i].kind != kind)
				continue;
			if (n < room)
				ret[n] = s->entry[i].key;
			n++;
		}
		unlock(s);
	}
	return n;
}

uint64_t ledger_count(enum ledger_kind kind)
{
	uint64_t n = 0;

	if (!ledger || kind != LEDGER_POINTER)
		return ledger ? mc_load_relaxed(&ledger->count[kind % KINDS]) : 0;
	for (unsigned i = 0; i < SHARDS; i++)
		n += *(volatile uint32_t *)&ledger->shard[i].used;
	return n;
}
