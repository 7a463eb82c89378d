/* SPDX-License-Identifier: MIT */
/* What a group's keys say beyond memory.oom.policy. */
#include "controld/oom_rules.h"

#include <string.h>

/* A group slot that is used again has another generation: what its last group had set is not read. */
static uint32_t mark_of(const struct served *s, uint16_t group)
{
	return s->seg.limits->group[group].generation + 1;
}

/* Populated first: to read a hole of a full tmpfs is a SIGBUS, too. */
void oom_rules_get(const struct served *s, uint16_t group, struct oom_rules *ret)
{
	struct group_oom *o = &s->seg.limits->oom[group];

	memset(ret, 0, sizeof(*ret));
	if (segment_populate(&s->seg, o, sizeof(*o)) || mc_load_acquire(&o->generation) != mark_of(s, group))
		return;
	ret->term_ms = mc_load_relaxed(&o->term_ms);
	ret->deadlock = (enum oom_deadlock)mc_load_relaxed(&o->deadlock);
	memcpy(ret->hook, o->hook, sizeof(ret->hook));
	ret->hook[sizeof(ret->hook) - 1] = 0;
}

int oom_rules_set(struct served *s, uint16_t group, const struct oom_rules *rules)
{
	struct group_oom *o = &s->seg.limits->oom[group];
	int err = segment_populate(&s->seg, o, sizeof(*o));

	if (err)
		return err;
	memcpy(o->hook, rules->hook, sizeof(o->hook));
	mc_store_relaxed(&o->term_ms, rules->term_ms);
	mc_store_relaxed(&o->deadlock, rules->deadlock);
	mc_store_release(&o->generation, mark_of(s, group));
	return 0;
}
