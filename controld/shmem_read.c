/* SPDX-License-Identifier: MIT */
/* What a member maps of shared objects, read from its mappings. */
#include "controld/shmem_object.h"

#include "accounting/member.h"

#define MS 1000000ull
#define GROWING_NS (1000 * MS) /* mappings of who grows are read so often */
#define REREAD_NS (15000 * MS) /* and of everybody: mappings may change and keep their sum */
#define DEVICE_NS (10000 * MS) /* a device number may be given to another file system */

struct reading {
	struct served *s;
	uint32_t member;
	uint64_t now_ns;
};

static bool ask_device(struct served *s, pid_t pid, dev_t device, struct device *d, uint64_t now_ns)
{
	d->device = device;
	d->until_ns = now_ns + DEVICE_NS;
	if (shmem_world(s)->is_memory(pid, device, &d->is_memory))
		d->is_memory = false;
	return d->is_memory;
}

static bool is_memory(struct served *s, pid_t pid, dev_t device, uint64_t now_ns)
{
	struct shmem *sh = s->shmem;
	struct device *d = sh->device;

	while (d < sh->device + sh->devices && d->device != device)
		d++;
	if (d == sh->device + DEVICES_MAX)
		d = &sh->device[device % DEVICES_MAX];
	else if (d == sh->device + sh->devices)
		sh->devices++;
	else if (now_ns < d->until_ns)
		return d->is_memory;
	return ask_device(s, pid, device, d, now_ns);
}

static bool is_our_own(const struct served *s, const struct world_mapping *m)
{
	return m->device == s->device && (m->inode == s->inode || m->inode == s->shmem->limits);
}

static void take(const struct world_mapping *m, void *to)
{
	struct reading *r = to;
	struct object *o;
	struct use *u;

	if (!is_memory(r->s, shmem_pid(r->s, r->member), m->device, r->now_ns) || is_our_own(r->s, m))
		return;
	o = shmem_get_object(r->s, m);
	if (!o) {
		shmem_say_short(r->s);
		return;
	}
	u = o->current ? o->current : shmem_add_use(r->s, r->member, o, r->now_ns);
	if (u && shmem_add_range(u, m) == 0)
		u->is_seen = true;
	else
		shmem_say_short(r->s);
	if (!o->first)
		shmem_end_object(r->s, o);
	else
		o->current = u;
}

static void begin_reading(struct sharer *sharer)
{
	for (struct use *u = sharer->uses; u; u = u->next) {
		u->object->current = u;
		u->is_seen = false;
		u->ranges = 0;
	}
}

static void end_reading(struct served *s, struct sharer *sharer)
{
	struct use **at = &sharer->uses;

	while (*at) {
		struct use *u = *at;

		u->object->current = NULL;
		if (u->is_seen) {
			at = &u->next;
			continue;
		}
		*at = u->next;
		shmem_drop_use(s, u);
	}
}

void shmem_read(struct served *s, uint32_t member, const struct world_resident *has, uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];
	struct reading reading = { .s = s, .member = member, .now_ns = now_ns };
	uint64_t began_ns = shmem_world(s)->spent_ns();

	if (!sharer->is_known)
		s->shmem->readers++;
	sharer->is_known = true;
	begin_reading(sharer);
	(void)shmem_world(s)->mappings(shmem_pid(s, member), take, &reading);
	end_reading(s, sharer);
	sharer->size = has->size;
	sharer->shared = has->shared;
	sharer->family = mc_load_relaxed(&member_of(&s->seg, member)->family);
	sharer->read_ns = now_ns;
	sharer->read_cost_ns = shmem_world(s)->spent_ns() - began_ns;
}

bool shmem_must_read(const struct served *s, const struct sharer *sharer, const struct world_resident *has,
		     uint64_t now_ns)
{
	if (!sharer->is_known)
		return true;
	if (!shmem_is_rested(s, sharer->read_ns, sharer->read_cost_ns, s->shmem->readers, now_ns))
		return false;
	return has->size != sharer->size || now_ns - sharer->read_ns >= REREAD_NS ||
	       (has->shared != sharer->shared && now_ns - sharer->read_ns >= GROWING_NS);
}
