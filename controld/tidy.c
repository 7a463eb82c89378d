/* SPDX-License-Identifier: MIT */
/* Groups that go. */
#include "controld/tidy.h"

#include "accounting/tree.h"
#include "controld/daemon.h"
#include "controld/notify.h"

#include <errno.h>

int tidy_add(struct served *s, uint16_t group, const void *holder)
{
	struct group *g = &s->seg.limits->group[group];

	if (served_grow((void **)&s->transient, s->transient_count, &s->transient_room, sizeof(*s->transient)))
		return -ENOMEM;
	g->transient = 1;
	s->transient[s->transient_count++] = (struct transient){
		.group = group,
		.generation = g->generation,
		.holder = holder,
	};
	return 0;
}

bool tidy_release(struct served *s, const void *holder)
{
	bool held = false;

	for (uint32_t i = 0; i < s->transient_count; i++)
		if (s->transient[i].holder == holder) {
			s->transient[i].holder = NULL;
			held = true;
		}
	return held;
}

void tidy_adopt(struct served *s)
{
	uint32_t used = mc_load_relaxed(&s->seg.limits->header.groups_used);

	for (uint32_t i = 1; i < used; i++) {
		uint32_t state = mc_load_relaxed(&s->seg.limits->group[i].state);

		if (state == GROUP_LIVE && s->seg.limits->group[i].transient)
			(void)tidy_add(s, (uint16_t)i, NULL);
		if (state == GROUP_GONE)
			s->is_lingering = true;
	}
}

/* The other half of join's bargain [O4]: close, then look for members. */
static int remove_one(struct served *s, uint16_t group)
{
	int err = tree_close(&s->seg, group);

	if (err)
		return err;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (mc_load_full(&member_of(&s->seg, i)->group) == group && member_is_present(&s->seg, i)) {
			tree_reopen(&s->seg, group);
			return -EBUSY;
		}
	tree_unlink(&s->seg, group);
	notify_group_gone(s, group);
	s->is_lingering = true;
	return 0;
}

/* The deepest first child: it has none itself, and stands first in its parent's list. */
static uint16_t first_leaf(const struct segment *seg, uint16_t group)
{
	uint16_t child;

	while ((child = group_next_child(seg, group, 0)) != 0)
		group = child;
	return group;
}

static bool find_member_below(const struct served *s, uint16_t group, uint16_t *ret_group)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		uint16_t of = mc_load_full(&member_of(&s->seg, i)->group);

		if (member_is_present(&s->seg, i) && group_is_within(&s->seg, of, group)) {
			*ret_group = of;
			return true;
		}
	}
	return false;
}

int tidy_remove(struct served *s, uint16_t group, bool recursive, unsigned *ret_removed, uint16_t *ret_in_way)
{
	uint16_t leaf;

	*ret_removed = 0;
	*ret_in_way = group;
	if (group == GROUP_ROOT)
		return -EPERM;
	if (!recursive && group_next_child(&s->seg, group, 0))
		return -EBUSY;
	if (find_member_below(s, group, ret_in_way))
		return -EBUSY;
	do {
		int err;

		leaf = first_leaf(&s->seg, group);
		err = remove_one(s, leaf);
		*ret_in_way = leaf;
		if (err)
			return err;
		++*ret_removed;
	} while (leaf != group);
	return 0;
}

static bool is_the_same(const struct served *s, const struct transient *t)
{
	const struct group *g = &s->seg.limits->group[t->group];

	return g->generation == t->generation && group_state(&s->seg, t->group) == GROUP_LIVE;
}

/* True when the entry is done with. The snapshot only says whether trying is worth while. */
static bool remove_transient(struct served *s, const struct transient *t, const struct snapshot *snap)
{
	unsigned removed;
	uint16_t in_way;

	if (!is_the_same(s, t))
		return true;
	if (t->holder || t->group >= snap->groups || snap->pool[t->group].members)
		return false;
	return tidy_remove(s, t->group, true, &removed, &in_way) == 0;
}

void tidy(struct served *s, const struct snapshot *snap)
{
	for (uint32_t i = s->transient_count; i-- > 0;)
		if (remove_transient(s, &s->transient[i], snap))
			s->transient[i] = s->transient[--s->transient_count];
	if (s->is_lingering && tree_sweep(&s->seg) == 0)
		s->is_lingering = false;
}
