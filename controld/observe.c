/* SPDX-License-Identifier: MIT */
/* Members that could not be preloaded. */
#include "controld/observe.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/log.h"

void observe_begin(struct served *s, uint32_t member)
{
	if (served_grow((void **)&s->observed, s->observed_count, &s->observed_room,
			sizeof(*s->observed))) {
		log_line(LOG_ERR, "no memory to observe one more process, trying again");
		s->must_scan = true;
		return;
	}
	s->watch[member].is_observed = true;
	s->observed[s->observed_count++] = member;
	s->observed_at_ns = 0;
}

void observe_stop(struct served *s, uint32_t member)
{
	s->watch[member].is_observed = false;
	for (uint32_t i = 0; i < s->observed_count; i++)
		if (s->observed[i] == member) {
			s->observed[i] = s->observed[--s->observed_count];
			return;
		}
}

/* The daemon is the only one who charges this account, so what it holds can be read and then
 * changed. */
static void charge_to(struct served *s, uint32_t account, uint64_t pages)
{
	uint64_t held = account_held(mc_load_full(&account_of(&s->seg, account)->word));

	if (pages > held)
		charge_force(&s->actor, account, pages - held, OVER_OBSERVED);
	else if (pages < held)
		charge_uncharge(&s->actor, account, held - pages);
	mc_store_relaxed(&account_of(&s->seg, account)->class[CLASS_OBSERVED], pages);
}

/* What cannot be read stays as it was: the pidfd tells when the process has gone. */
static void sample(struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);
	uint32_t pid = member_pid(mc_load_full(&m->state));
	struct world_usage usage;
	int slot;

	if (s->daemon->world->usage((pid_t)pid, &usage))
		return;
	slot = member_account(&s->seg, member, RESOURCE_MEMORY, mc_load_full(&m->group));
	if (slot >= 0)
		charge_to(s, member_account_at(&s->seg, member, (unsigned)slot), usage.anon);
}

static bool is_observed(const struct served *s, uint32_t member)
{
	return member_state(mc_load_full(&member_of(&s->seg, member)->state)) == MEMBER_OBSERVED;
}

void observe(struct served *s, uint64_t now_ns)
{
	if (s->observed_count == 0)
		return;
	if (now_ns - s->observed_at_ns >= OBSERVE_PERIOD_NS) {
		s->observed_at_ns = now_ns;
		for (uint32_t i = s->observed_count; i-- > 0;) {
			uint32_t member = s->observed[i];

			if (is_observed(s, member))
				sample(s, member);
			else
				observe_stop(s, member);
		}
	}
	served_want_turn(s, s->observed_at_ns + OBSERVE_PERIOD_NS);
}
