/* SPDX-License-Identifier: MIT */
/* Room that a process keeps free for what it will start. */
#include "accounting/keep.h"

#include "accounting/bell.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"

#include <errno.h>
#include <string.h>

#define ANCESTORS_MAX 64
#define AHEAD_PAGES 256u /* given back at least: each time costs a refusal */
#define AHEAD_PART 8u	 /* or this part of what is kept */

/* ---- descent ----------------------------------------------------------------------------------------------- */

static char *put_number(char *p, uint32_t v)
{
	char digits[10];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	while (n)
		*p++ = digits[--n];
	return p;
}

/* Field 4 of /proc/PID/stat; 0: not known. The name in field 2 may hold anything: counted from the last ')'. */
static uint32_t parent_of(uint32_t pid)
{
	char path[32] = "/proc/", text[1024];
	const char *p, *end;
	uint32_t parent = 0;
	long n;
	int fd;

	strcpy(put_number(path + 6, pid), "/stat");
	fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	n = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	end = p = text + (n > 0 ? n : 0);
	while (p > text && p[-1] != ')')
		p--;
	for (p += 3; p < end && *p >= '0' && *p <= '9'; p++) /* " S 123" */
		parent = parent * 10 + (uint32_t)(*p - '0');
	return parent;
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

int keep_take(struct keep *k, uint64_t pages, uint16_t *ret_refused)
{
	uint16_t full = who_lacks_room(k, pages);

	if (full == GROUP_NIL)
		return charge_try_as(&k->actor, k->account, pages, CHARGE_FIRST, ret_refused);
	*ret_refused = full;
	return -ENOMEM;
}

uint64_t keep_held(const struct keep *k)
{
	return account_held(mc_load_full(&account_of(k->actor.seg, k->account)->word));
}

/* Takes up to `pages` off what another's account keeps; how many. */
static uint64_t take_off(const struct actor *by, uint32_t account, uint64_t pages)
{
	struct account *a = account_of(by->seg, account);

	for (;;) {
		uint64_t meta = mc_load_full(&a->meta);
		uint64_t held = account_held(mc_load_full(&a->word));
		uint64_t n = pages < held ? pages : held;
		int err = n ? charge_adjust(by, account, meta, held, held - n, OVER_START) : 0;

		if (err != -EAGAIN)
			return err ? 0 : n;
	}
}

void keep_shrink(struct keep *k, uint64_t pages)
{
	uint64_t held = keep_held(k);

	if (held <= pages)
		return;
	(void)take_off(&k->actor, k->account, held - pages);
	reclaim_wake(k->actor.seg);
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

struct ancestors {
	uint32_t pid[ANCESTORS_MAX];
	unsigned n; /* 0: not looked for yet */
};

static void gather(struct ancestors *a)
{
	uint32_t at = (uint32_t)sys_getpid();

	do {
		at = parent_of(at);
		a->pid[a->n++] = at;
	} while (at > 1 && a->n < ANCESTORS_MAX);
}

static bool is_ancestor(struct ancestors *a, uint32_t pid)
{
	if (a->n == 0)
		gather(a);
	for (unsigned i = 0; i < a->n; i++)
		if (a->pid[i] == pid)
			return true;
	return false;
}

/* The account of a slot that keeps something; MEMBER_NIL. */
static uint32_t kept_in(const struct segment *seg, uint32_t slot)
{
	struct member *m = member_of(seg, slot);
	uint32_t account;

	if (member_state(mc_load_full(&m->state)) != MEMBER_CLAIMED || !(mc_load_full(&m->flags) & MEMBER_KEEPS))
		return MEMBER_NIL;
	account = mc_load_acquire(&m->account[0]);
	if (!account || !account_held(mc_load_full(&account_of(seg, account - 1)->word)))
		return MEMBER_NIL;
	return account - 1;
}

bool keep_release_for(const struct actor *by, uint64_t pages)
{
	struct ancestors above = { .n = 0 };
	uint32_t mark = member_mark(by->seg);
	uint64_t released = 0;

	for (uint32_t i = 0; i < mark && released < pages; i++) {
		uint32_t account = kept_in(by->seg, i);
		uint64_t held, ahead;

		if (account == MEMBER_NIL || !is_ancestor(&above, member_pid(mc_load_full(&member_of(by->seg, i)->state))))
			continue;
		held = account_held(mc_load_full(&account_of(by->seg, account)->word));
		ahead = held / AHEAD_PART > AHEAD_PAGES ? held / AHEAD_PART : AHEAD_PAGES;
		released += take_off(by, account, pages - released > ahead ? pages - released : ahead);
	}
	return released != 0;
}
