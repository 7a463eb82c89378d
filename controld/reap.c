/* SPDX-License-Identifier: MIT */
/* Who is there, and who has died. */
#include "controld/reap.h"

#include "accounting/settle.h"
#include "controld/daemon.h"
#include "controld/heirs.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/residency.h"
#include "controld/shmem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void forget(struct served *s, uint32_t slot)
{
	struct watch *w = &s->watch[slot];

	residency_forget(s, slot);
	w->source = sd_event_source_disable_unref(w->source);
	w->pid = 0;
	w->start_time = 0;
	w->bare_since_ns = 0;
	w->execing_since_ns = 0;
	w->killed_ns = 0;
}

void reap_forget_all(struct served *s)
{
	for (uint32_t i = 0; s->seg.counters && s->watch && i < member_mark(&s->seg); i++)
		if (s->watch[i].pid)
			forget(s, i);
}

static unsigned settle(struct served *s, uint32_t slot)
{
	shmem_learn(s, slot);
	forget(s, slot);
	heirs_lose(s, slot);
	(void)settle_dead(&s->actor, slot);
	return 1;
}

static int on_death(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct watch *w = userdata;
	struct served *s = w->served;

	(void)fd;
	(void)revents;
	(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (!w->is_dead) {
		w->is_dead = true;
		w->next_dead = s->dead_first;
		s->dead_first = (uint32_t)(w - s->watch) + 1;
	}
	loop_request_turn(s->daemon);
	return 0;
}

/* Edge-triggered: when thousands die at once, each wait would look at all of them again. */
static int add_source(struct served *s, struct watch *w, int pidfd)
{
	int err = sd_event_add_io(s->daemon->event, &w->source, pidfd, EPOLLIN | EPOLLET, on_death, w);

	if (err < 0) {
		(void)close(pidfd);
		return err;
	}
	(void)sd_event_source_set_io_fd_own(w->source, true);
	return 0;
}

/* 0 when the process is the one of this start time (0: any), else -ESRCH. */
static int check_start(const struct served *s, uint32_t pid, uint64_t start_time)
{
	uint64_t ticks;
	int err = s->daemon->world->start_time((pid_t)pid, &ticks);

	if (err == -ESRCH)
		return err;
	return !err && start_time && ticks != start_time ? -ESRCH : 0;
}

/* -ESRCH: it has died. Without a descriptor it is watched by looking. */
static int watch(struct served *s, uint32_t slot, uint32_t pid, uint64_t start_time)
{
	struct watch *w = &s->watch[slot];
	int fd;

	if (w->pid == pid && w->start_time == start_time && w->source)
		return 0;
	forget(s, slot);
	fd = s->daemon->world->pidfd_open((pid_t)pid);
	if (fd == -ESRCH || check_start(s, pid, start_time)) {
		if (fd >= 0)
			(void)close(fd);
		return -ESRCH;
	}
	w->served = s;
	w->pid = pid;
	w->start_time = start_time;
	return fd < 0 ? fd : add_source(s, w, fd);
}

static bool is_grace_over(const struct watch *w, enum world_image image, uint64_t now_ns)
{
	uint64_t grace = image == IMAGE_LOADING ? EXEC_GRACE_LOADING_NS : EXEC_GRACE_NS;

	return w->bare_since_ns && now_ns - w->bare_since_ns >= grace;
}

/* What the old image held is settled as a new image would do it, then the state changes. A preload
 * library that comes so late after all finds OBSERVED and makes it LIVE again (settle_exec). */
static unsigned continue_observed(struct served *s, uint32_t slot, uint64_t word)
{
	struct member *m = member_of(&s->seg, slot);
	uint64_t live = member_state_word(member_pid(word), MEMBER_LIVE);
	char comm[16] = "";
	int err;

	(void)s->daemon->world->comm((pid_t)member_pid(word), comm);
	err = settle_exec(&s->seg, slot, mc_load_relaxed(&m->asked), comm);
	if (!err) {
		(void)mc_cas_full(&m->state, &live, member_state_word(member_pid(word), MEMBER_OBSERVED));
		return 0;
	}
	log_line(LOG_WARNING, "pid %u (%s) is not accounted any more: %s", member_pid(word), comm, strerror(-err));
	return settle(s, slot);
}

static unsigned look_execing(struct served *s, uint32_t slot, uint64_t word, uint64_t now_ns)
{
	struct watch *w = &s->watch[slot];
	enum world_image image = IMAGE_ATTACHED;
	int err = s->daemon->world->image((pid_t)member_pid(word), s->device, s->inode, &image);

	if (!w->execing_since_ns)
		w->execing_since_ns = now_ns;
	if (!err && image == IMAGE_ATTACHED)
		w->bare_since_ns = 0;
	else if (!err && is_grace_over(w, image, now_ns))
		return continue_observed(s, slot, word);
	else if (!err && !w->bare_since_ns)
		w->bare_since_ns = now_ns;
	served_want_turn(s, now_ns + (now_ns - w->execing_since_ns < EXEC_SLOW_NS ? EXEC_LOOK_NS : REAP_POLL_NS));
	return 0;
}

static unsigned look_present(struct served *s, uint32_t slot, uint64_t word, uint64_t now_ns)
{
	struct member *m = member_of(&s->seg, slot);
	struct watch *w = &s->watch[slot];
	unsigned settled = 0;

	if (watch(s, slot, member_pid(word), mc_load_relaxed(&m->start_time)) == -ESRCH)
		return settle(s, slot);
	if (!w->source)
		served_want_turn(s, now_ns + REAP_POLL_NS);
	if (mc_load_full(&m->flags) & MEMBER_EXECING)
		settled = look_execing(s, slot, word, now_ns);
	else
		w->bare_since_ns = w->execing_since_ns = 0;
	return settled;
}

/* Its start time is not there yet; when it is, the slot is watched anew. */
static unsigned look_claimed(struct served *s, uint32_t slot, uint64_t word, uint64_t now_ns)
{
	if (watch(s, slot, member_pid(word), 0) == -ESRCH)
		return settle(s, slot);
	served_want_turn(s, now_ns + REAP_POLL_NS);
	return 0;
}

static unsigned look(struct served *s, uint32_t slot, uint64_t now_ns)
{
	uint64_t word = mc_load_full(&member_of(&s->seg, slot)->state);

	switch (member_state(word)) {
	case MEMBER_LIVE:
	case MEMBER_OBSERVED:
		return look_present(s, slot, word, now_ns);
	case MEMBER_CLAIMED:
		return look_claimed(s, slot, word, now_ns);
	case MEMBER_DEAD:
		return settle(s, slot);
	case MEMBER_FREE:
	default:
		forget(s, slot);
		return 0;
	}
}

/* The slot may be another process's by now: only its own death counts. */
static unsigned settle_noticed(struct served *s)
{
	unsigned settled = 0;

	while (s->dead_first) {
		uint32_t slot = s->dead_first - 1;
		struct watch *w = &s->watch[slot];
		struct member *m = member_of(&s->seg, slot);
		uint64_t word = mc_load_full(&m->state);

		s->dead_first = w->next_dead;
		w->is_dead = false;
		if (!w->pid)
			continue;
		if (member_state(word) != MEMBER_FREE && member_pid(word) == w->pid &&
		    (!w->start_time || mc_load_relaxed(&m->start_time) == w->start_time))
			settled += settle(s, slot);
		else
			forget(s, slot);
	}
	return settled;
}

/* Who dies between claiming a slot and ringing is told of by nobody. It holds nothing, but would be listed until
 * somebody else comes; so whenever somebody has died, such slots are looked at too. */
static unsigned look_at_unannounced(struct served *s, uint64_t now_ns)
{
	unsigned settled = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (member_state(mc_load_full(&member_of(&s->seg, i)->state)) == MEMBER_CLAIMED)
			settled += look(s, i, now_ns);
	return settled;
}

static unsigned scan(struct served *s, uint64_t now_ns)
{
	unsigned settled = 0;

	s->must_scan = false;
	s->seen_changed = mc_load_full(&s->seg.counters->header.members_changed);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		settled += look(s, i, now_ns);
	return settled;
}

/* Scans all slots; what must be looked at again is scanned again at the next turn. */
static unsigned scan_all(struct served *s, uint64_t now_ns)
{
	unsigned settled = scan(s, now_ns);

	if (s->next_look_ns)
		s->must_scan = true;
	return settled;
}

unsigned reap(struct served *s, uint64_t now_ns)
{
	unsigned settled = settle_noticed(s);

	if (s->must_scan || mc_load_full(&s->seg.counters->header.members_changed) != s->seen_changed)
		settled += scan_all(s, now_ns);
	else if (settled)
		settled += look_at_unannounced(s, now_ns);
	return settled;
}

static bool has_died(const struct watch *w)
{
	struct pollfd p = { .events = POLLIN };

	p.fd = w->source ? sd_event_source_get_io_fd(w->source) : -1;
	return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

unsigned reap_now(struct served *s, uint16_t group, uint64_t now_ns)
{
	unsigned settled = settle_noticed(s) + scan_all(s, now_ns);

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group) &&
		    has_died(&s->watch[i]))
			settled += settle(s, i);
	return settled;
}

int reap_pidfd(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);
	uint32_t pid = member_pid(mc_load_full(&m->state));
	uint64_t start_time = mc_load_relaxed(&m->start_time);
	int fd = s->daemon->world->pidfd_open((pid_t)pid);

	if (fd < 0 || check_start(s, pid, start_time) == 0)
		return fd;
	(void)close(fd);
	return -ESRCH;
}
