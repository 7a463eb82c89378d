/* SPDX-License-Identifier: MIT */
/* Shared memory: once per object, to the first user's group; passed on; ended. */
#include "tests/unit/controld_fixture.h"

#include "accounting/settle.h"
#include "controld/residency.h"
#include "controld/shmem.h"

#include <sys/stat.h>

#define PAGE 4096
#define MEMORY_DEVICE 1
#define DISK_DEVICE 2
#define FIRST_ADDRESS 0x10000000u

/* One made-up mapping of up to 64 pages; pid 0: the row is free. */
struct fake_mapping {
	pid_t pid;
	ino_t inode;
	dev_t device;
	const char *path;
	uint64_t first, pages; /* of the object */
	uint64_t touched;      /* a bit for each of its pages */
};

static struct fake_mapping mapping[32];
static uint64_t size_of_object[8]; /* by inode; UINT64_MAX: nobody tells */
static unsigned readings, walks, questions, looks;
static uint64_t walk_cost; /* ns */

static struct world shared_world;

static uint64_t address_of(const struct fake_mapping *m)
{
	return FIRST_ADDRESS + (uint64_t)(m - mapping) * 64 * PAGE;
}

static struct fake_mapping *map(const struct fake_process *p, ino_t inode, uint64_t first, uint64_t pages)
{
	for (size_t i = 0; i < 32; i++)
		if (!mapping[i].pid) {
			mapping[i] = (struct fake_mapping){ .pid = p->pid,
							    .inode = inode,
							    .device = MEMORY_DEVICE,
							    .path = "/dev/zero (deleted)",
							    .first = first,
							    .pages = pages };
			return &mapping[i];
		}
	fail();
	return NULL;
}

static void unmap(struct fake_mapping *m)
{
	m->pid = 0;
}

static int shared_resident(pid_t pid, struct world_resident *ret)
{
	looks++;
	if (!fake_find(pid))
		return -ESRCH;
	*ret = (struct world_resident){ .anon = fake_find(pid)->usage.anon };
	for (size_t i = 0; i < 32; i++)
		if (mapping[i].pid == pid) {
			ret->size += mapping[i].pages;
			ret->shared += (uint64_t)__builtin_popcountll(mapping[i].touched);
		}
	return 0;
}

static int shared_mappings(pid_t pid, world_take_mapping *take, void *to)
{
	readings++;
	for (size_t i = 0; i < 32; i++) {
		const struct fake_mapping *f = &mapping[i];
		struct world_mapping m = { .start = address_of(f),
					   .end = address_of(f) + f->pages * PAGE,
					   .offset = f->first * PAGE,
					   .device = f->device,
					   .inode = f->inode,
					   .path = f->path };

		if (f->pid == pid)
			take(&m, to);
	}
	return 0;
}

static int shared_is_memory(pid_t pid, dev_t device, bool *ret)
{
	(void)pid;
	*ret = device == MEMORY_DEVICE || device == fixture.served->device;
	return 0;
}

static int shared_object(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages)
{
	(void)way;
	questions++;
	if (mapping[(m->start - FIRST_ADDRESS) / PAGE / 64].pid != pid)
		return -ENOENT;
	if (m->inode >= 8 || size_of_object[m->inode] == UINT64_MAX)
		return -ENODATA;
	*ret_pages = size_of_object[m->inode];
	return 0;
}

static int shared_touched(pid_t pid, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits)
{
	const struct fake_mapping *m = &mapping[(start - FIRST_ADDRESS) / PAGE / 64];

	walks++;
	fake_spent += walk_cost;
	if (m->pid != pid)
		return -ESRCH;
	for (uint64_t i = 0; i < pages; i++)
		if (m->touched & 1ull << i)
			bits[(first + i) / 64] |= 1ull << (first + i) % 64;
	return 0;
}

static int setup(void **state)
{
	int err = fixture_setup(state);

	memset(mapping, 0, sizeof(mapping));
	memset(size_of_object, 0, sizeof(size_of_object));
	readings = walks = questions = looks = 0;
	walk_cost = 0;
	shared_world = fake_world;
	shared_world.resident = shared_resident;
	shared_world.mappings = shared_mappings;
	shared_world.is_memory = shared_is_memory;
	shared_world.object = shared_object;
	shared_world.touched = shared_touched;
	fixture.world = &shared_world;
	if (!err) {
		fixture_drop(fixture_do("create", "\"group\":\"/a\""));
		fixture_drop(fixture_do("create", "\"group\":\"/b\""));
	}
	return err;
}

/* Joins as one that said that it shares. */
static uint32_t join(const struct fake_process *p, const char *group)
{
	uint32_t m = fixture_join(p, group);

	member_set_flags(&fixture.served->seg, m, MEMBER_SHARES, 0);
	return m;
}

/* Long enough for memory that is held without need to be taken back. */
static void settle(void)
{
	for (int i = 0; i < 12; i++)
		fixture_pass(100);
}

static void expect(long long a, long long b)
{
	settle();
	assert_int_equal(fixture_number("/a", "memory.current"), a * PAGE);
	assert_int_equal(fixture_row("/a", "memory.stat", "shmem"), a * PAGE);
	assert_int_equal(fixture_number("/b", "memory.current"), b * PAGE);
	assert_int_equal(fixture_row("/b", "memory.stat", "shmem"), b * PAGE);
	assert_int_equal(fixture_row("/", "memory.stat", "shmem"), (a + b) * PAGE);
}

static void an_object_counts_once_for_its_first_user(void **state)
{
	struct fake_process *p = fake_add(100, 7), *q = fake_add(101, 6);

	(void)state;
	(void)join(p, "/a");
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	expect(30, 0);
	(void)join(q, "/b"); /* it started earlier, but its mapping was seen later */
	(void)map(q, 1, 0, 40);
	(void)map(q, 1, 0, 40);
	expect(30, 0);
	size_of_object[1] = 35;
	expect(35, 0);
}

static void of_those_seen_together_the_oldest_pays(void **state)
{
	struct fake_process *p = fake_add(100, 7), *q = fake_add(101, 6);

	(void)state;
	(void)map(p, 1, 0, 40);
	(void)map(q, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(0, 30);
}

static void it_passes_to_who_is_left(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6), *r = fake_add(102, 7);
	struct fake_mapping *of_q;

	(void)state;
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	settle();
	of_q = map(q, 1, 0, 40);
	(void)join(q, "/b");
	settle();
	(void)map(r, 1, 0, 40);
	(void)join(r, "/a");
	expect(30, 0);
	fake_end(p);
	expect(0, 30);
	unmap(of_q);
	expect(30, 0);
	fake_end(r);
	expect(0, 0);
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_MEMORY, NULL));
}

static void both_are_charged_in_the_same_turn(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);

	(void)state;
	(void)map(p, 1, 0, 40);
	(void)map(q, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(30, 0);
	fake_end(p);
	fixture_turn();
	assert_int_equal(fixture_number("/a", "memory.current"), 0);
	assert_int_equal(fixture_number("/b", "memory.current"), 30 * PAGE);
}

static void exec_ends_a_mapping(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	uint32_t m;
	uint16_t g;

	(void)state;
	(void)map(p, 1, 0, 40);
	(void)map(q, 1, 0, 40);
	size_of_object[1] = 30;
	m = join(p, "/a");
	(void)join(q, "/b");
	expect(30, 0);
	assert_int_equal(group_find(&fixture.served->seg, "/a", &g), 0);
	assert_int_equal(settle_exec(&fixture.served->seg, m, g, "new"), 0);
	fixture_turn();
	assert_int_equal(fixture_number("/b", "memory.current"), 30 * PAGE);
	member_set_flags(&fixture.served->seg, m, MEMBER_SHARES, 0); /* the new image maps it too */
	expect(0, 30);
}

static ino_t inode_of_limits(void)
{
	char path[256];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/" SEGMENT_LIMITS_NAME, fixture.rundir.path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void only_memory_counts(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	struct fake_mapping *disk, *ours;

	(void)state;
	disk = map(p, 1, 0, 40);
	disk->device = DISK_DEVICE;
	ours = map(p, fixture.served->inode, 0, 40);
	ours->device = fixture.served->device;
	ours = map(p, inode_of_limits(), 0, 40);
	ours->device = fixture.served->device;
	size_of_object[1] = 30;
	(void)join(p, "/a");
	expect(0, 0);
	assert_int_equal(questions, 0);
}

static void a_segment_is_not_the_object_of_the_same_number(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);

	(void)state;
	(void)map(p, 1, 0, 40);
	map(q, 1, 0, 40)->path = "/SYSV00000000 (deleted)";
	size_of_object[1] = 30;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(30, 30);
}

static void only_who_said_so_is_looked_at(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	uint32_t m = fixture_join(p, "/a");

	(void)state;
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	expect(0, 0);
	assert_int_equal(readings, 0);
	mc_store_full(&member_of(&fixture.served->seg, m)->state, member_state_word(100, MEMBER_OBSERVED));
	expect(30, 0);
	assert_true(readings > 0);
}

static void all_users_ask_once(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		struct fake_process *p = fake_add(100 + i, 5);

		(void)map(p, 1, 0, 40);
		(void)join(p, "/a");
	}
	size_of_object[1] = 30;
	expect(30, 0);
	questions = 0;
	for (int i = 0; i < 10; i++)
		mapping[i].touched = 1;
	fixture_pass(1000);
	assert_int_equal(questions, 1);
}

static void an_idle_member_is_not_read_again(void **state)
{
	struct fake_process *p = fake_add(100, 5);

	(void)state;
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	settle();
	readings = 0;
	for (int i = 0; i < 10; i++)
		fixture_pass(1000);
	assert_int_equal(readings, 0);
	fixture_pass(10000);
	assert_int_equal(readings, 1);
}

static void nothing_is_charged_twice_where_charged_is_what_is_asked_for(void **state)
{
	struct fake_process *p = fake_add(100, 5);

	(void)state;
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	expect(30, 0);
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.charge\":\"commit\"}"));
	expect(0, 0);
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.charge\":\"resident\"}"));
	expect(30, 0);
}

static void who_begins_to_share_is_looked_at_in_the_next_turn(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	uint32_t m = fixture_join(p, "/a");

	(void)state;
	settle();
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	member_set_flags(&fixture.served->seg, m, MEMBER_SHARES, 0);
	fixture_turn();
	(void)map(q, 1, 0, 40);
	(void)join(q, "/b");
	expect(30, 0);
}

static void where_all_is_charged_when_asked_for_he_is_not(void **state)
{
	struct fake_process *p = fake_add(100, 5);

	(void)state;
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.charge\":\"commit\"}"));
	(void)join(p, "/a");
	settle();
	settle();
	looks = 0;
	for (int i = 0; i < 10; i++)
		fixture_turn();
	assert_true(looks <= 1);
}

/* The one whose turn it was not, too. */
static void who_pays_from_now_on_is_charged_in_the_same_turn(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	struct fake_mapping *of_p = map(p, 1, 0, 40);
	uint32_t payer, heir;

	(void)state;
	(void)map(q, 1, 0, 40);
	size_of_object[1] = 30;
	payer = join(p, "/a");
	heir = join(q, "/b");
	expect(30, 0);
	unmap(of_p);
	fake_now += 100000000;
	fixture.served->watch[heir].look.due_ns = fake_now + 1000000000;
	fixture.served->watch[payer].look.due_ns = fake_now;
	residency(fixture.served, fake_now);
	assert_int_equal(member_held(&fixture.served->seg, payer, RESOURCE_MEMORY), 0);
	assert_int_equal(member_held(&fixture.served->seg, heir, RESOURCE_MEMORY), 30);
}

static void a_member_is_asked_once_for_what_is_resident(void **state)
{
	struct fake_process *p = fake_add(100, 5);

	(void)state;
	(void)map(p, 1, 0, 40);
	size_of_object[1] = 30;
	(void)join(p, "/a");
	expect(30, 0);
	fake_now += 2000000000;
	looks = 0;
	residency(fixture.served, fake_now);
	assert_int_equal(looks, 1);
}

/* ---- where nobody tells the size ------------------------------------------------------------------------- */

static void page_tables_are_laid_upon_each_other(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);

	(void)state;
	size_of_object[1] = UINT64_MAX;
	map(p, 1, 0, 40)->touched = 0xff;
	map(q, 1, 4, 40)->touched = 0xff; /* pages 4 to 11 */
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(12, 0);
}

static void pages_outlive_who_touched_them(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);

	(void)state;
	size_of_object[1] = UINT64_MAX;
	map(p, 1, 0, 40)->touched = 0xf;
	map(q, 1, 0, 40)->touched = 0xff0;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(12, 0);
	fake_end(p);
	expect(0, 12);
}

static void pages_that_are_lost_are_gone(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	struct fake_mapping *of_p, *of_q;

	(void)state;
	size_of_object[1] = UINT64_MAX;
	of_p = map(p, 1, 0, 40);
	of_q = map(q, 1, 0, 40);
	of_p->touched = of_q->touched = 0xff;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(8, 0);
	of_p->touched = 0xf0; /* the other still has them */
	expect(8, 0);
	of_q->touched = 0xf0;
	expect(4, 0);
	of_p->pages = of_q->pages = 6; /* no page was lost: both look at fewer of them */
	of_p->touched = of_q->touched = 0x30;
	expect(4, 0);
}

static void who_touches_nothing_is_not_walked(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	struct fake_mapping *m = map(p, 1, 0, 40);

	(void)state;
	size_of_object[1] = UINT64_MAX;
	(void)join(p, "/a");
	settle();
	walks = 0;
	settle();
	assert_int_equal(walks, 0);
	m->touched = 1;
	expect(1, 0);
	assert_int_equal(walks, 1);
}

static void when_somebody_tells_he_is_believed(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	struct fake_mapping *m;

	(void)state;
	size_of_object[1] = UINT64_MAX;
	m = map(p, 1, 0, 40);
	m->touched = 0xff;
	(void)join(p, "/a");
	expect(8, 0);
	size_of_object[1] = 20;
	fixture_pass(10000);
	expect(20, 0);
	size_of_object[1] = 25;
	m->touched = 0xfff;
	walks = 0;
	expect(25, 0);
	assert_int_equal(walks, 0);
}

static void what_somebody_told_stays(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	struct fake_mapping *m;

	(void)state;
	m = map(p, 1, 0, 40);
	(void)map(q, 1, 0, 40);
	m->touched = 0xff;
	size_of_object[1] = 20;
	(void)join(p, "/a");
	(void)join(q, "/b");
	expect(20, 0);
	size_of_object[1] = UINT64_MAX;
	m->touched = 0x1ff; /* one of the 20, for all we know */
	expect(20, 0);
	m->touched = 0x1fff; /* more than that was seen */
	fake_end(p);
	expect(0, 20);
}

static void what_is_lost_is_one_of_those_that_were_told_of(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	struct fake_mapping *m;

	(void)state;
	m = map(p, 1, 0, 64);
	m->touched = 0xff;
	size_of_object[1] = 20;
	(void)join(p, "/a");
	expect(20, 0);
	size_of_object[1] = UINT64_MAX;
	m->touched = 0x1ff;
	expect(20, 0);
	m->touched = 0x1f0;
	expect(16, 0);
	m->touched = 0xffffff0;
	expect(24, 0);
	m->touched = 0;
	expect(0, 0);
}

/* `p` ends, and says that of what it has mapped there `pages` are resident. */
static void end_and_tell(struct fake_process *p, uint32_t member, const struct fake_mapping *there, uint64_t pages)
{
	struct told *told = &member_of(&fixture.served->seg, member)->told[1];

	mc_store_relaxed(&told->pages, pages);
	mc_store_release(&told->start, address_of(there));
	fake_end(p);
}

static void the_dying_tell(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6), *r = fake_add(102, 7);
	struct fake_mapping *of_q;
	uint32_t member;

	(void)state;
	size_of_object[1] = UINT64_MAX;
	map(p, 1, 0, 40)->touched = 0xff;
	(void)join(p, "/a");
	of_q = map(q, 1, 0, 40);
	member = join(q, "/b");
	expect(8, 0);
	end_and_tell(q, member, of_q, 30);
	expect(30, 0);
	of_q = map(r, 1, 0, 40);
	member = join(r, "/b"); /* in the same slot */
	assert_int_equal(mc_load_full(&member_of(&fixture.served->seg, member)->told[1].start), 0);
	settle();
	fake_end(r);
	expect(30, 0);
	fake_add(102, 8)->pid = 103;
	member = join(fake_find(103), "/b");
	of_q->pid = 103;
	settle();
	end_and_tell(fake_find(103), member, of_q, 41); /* it cannot be that many */
	expect(30, 0);
}

/* As a child that lives for a moment. */
static void who_was_never_looked_at_tells_by_what_relatives_have_there(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6), *r = fake_add(102, 7);
	const struct segment *seg = &fixture.served->seg;
	struct fake_mapping *of_p;
	uint32_t parent, child;

	(void)state;
	size_of_object[1] = UINT64_MAX;
	of_p = map(p, 1, 0, 40);
	parent = join(p, "/a");
	settle();
	child = join(r, "/b"); /* a stranger */
	fixture_turn();
	end_and_tell(r, child, of_p, 20);
	expect(0, 0);
	child = join(q, "/b");
	mc_store_relaxed(&member_of(seg, child)->family, mc_load_relaxed(&member_of(seg, parent)->family));
	end_and_tell(q, child, of_p, 30);
	expect(30, 0);
}

static void members_are_asked_to_tell_where_nobody_else_does(void **state)
{
	mc_word32 *tell_at = &fixture.served->seg.limits->header.tell_at;
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	struct fake_mapping *of_q;
	uint32_t member;

	(void)state;
	(void)map(p, 1, 0, 40);
	(void)map(p, 2, 0, 40);
	of_q = map(q, 2, 0, 40);
	(void)join(p, "/a");
	member = join(q, "/a");
	settle();
	assert_int_equal(mc_load_relaxed(tell_at), 0);
	size_of_object[2] = UINT64_MAX;
	settle();
	assert_true(mc_load_relaxed(tell_at) != 0);
	mc_store_relaxed(tell_at, 1);
	end_and_tell(q, member, of_q, 1);
	fixture_turn();
	assert_true(mc_load_relaxed(tell_at) >= fake_now / 1000000); /* not all who end now */
}

static void a_walk_is_made_sooner_for_who_waits(void **state)
{
	struct fake_process *p = fake_add(100, 5);
	struct fake_mapping *m;

	(void)state;
	walk_cost = 50000000;
	size_of_object[1] = UINT64_MAX;
	m = map(p, 1, 0, 40);
	m->touched = 1;
	(void)join(p, "/a");
	fixture_pass(30);
	fixture_pass(30);
	assert_int_equal(walks, 1);
	m->touched = 0xff;
	for (int i = 0; i < 3; i++)
		fixture_pass(1000);
	fixture_pass(50);
	assert_int_equal(walks, 1);
	assert_int_equal(fixture_row("/a", "memory.stat", "shmem"), 8 * PAGE);
	assert_int_equal(walks, 2);
	m->touched = 0xffff;
	fixture_pass(50);
	assert_int_equal(fixture_row("/a", "memory.stat", "shmem"), 8 * PAGE); /* for 0.2 s */
	fixture_pass(950);
	fixture_pass(50);
	assert_int_equal(walks, 2);
	assert_int_equal(fixture_row("/a", "memory.stat", "shmem"), 16 * PAGE);
	assert_int_equal(walks, 3);
}

static void look_at(const struct fake_process *p, uint32_t member, uint64_t later_ns)
{
	struct world_resident has;

	assert_int_equal(shared_resident(p->pid, &has), 0);
	shmem_look(fixture.served, member, &has, false, fake_now + later_ns);
}

static void who_pays_is_due_when_another_touches(void **state)
{
	struct fake_process *p = fake_add(100, 5), *q = fake_add(101, 6);
	struct look *of_p, *of_q;
	struct fake_mapping *m;
	uint32_t member;

	(void)state;
	size_of_object[1] = UINT64_MAX;
	size_of_object[2] = 1;
	(void)map(p, 1, 0, 40);
	(void)map(p, 2, 0, 40);
	m = map(q, 1, 0, 40);
	(void)map(q, 2, 0, 40);
	of_p = &fixture.served->watch[join(p, "/a")].look;
	member = join(q, "/b");
	of_q = &fixture.served->watch[member].look;
	expect(1, 0);
	assert_true(of_q->period_ns > 100000000);
	m->touched = 1;
	of_p->due_ns = fake_now + 100;
	look_at(q, member, 0);
	assert_int_equal(of_p->due_ns, 1);
	assert_int_equal(of_q->period_ns, 0);
	size_of_object[2] = 2;
	m->touched = 0;
	of_p->due_ns = fake_now + 100;
	look_at(q, member, 10000000);
	assert_int_equal(of_p->due_ns, 1);
	expect(2, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(an_object_counts_once_for_its_first_user),
		TEST(of_those_seen_together_the_oldest_pays),
		TEST(it_passes_to_who_is_left),
		TEST(both_are_charged_in_the_same_turn),
		TEST(exec_ends_a_mapping),
		TEST(only_memory_counts),
		TEST(a_segment_is_not_the_object_of_the_same_number),
		TEST(only_who_said_so_is_looked_at),
		TEST(all_users_ask_once),
		TEST(an_idle_member_is_not_read_again),
		TEST(nothing_is_charged_twice_where_charged_is_what_is_asked_for),
		TEST(who_begins_to_share_is_looked_at_in_the_next_turn),
		TEST(where_all_is_charged_when_asked_for_he_is_not),
		TEST(who_pays_from_now_on_is_charged_in_the_same_turn),
		TEST(a_member_is_asked_once_for_what_is_resident),
		TEST(page_tables_are_laid_upon_each_other),
		TEST(pages_outlive_who_touched_them),
		TEST(pages_that_are_lost_are_gone),
		TEST(who_touches_nothing_is_not_walked),
		TEST(when_somebody_tells_he_is_believed),
		TEST(what_somebody_told_stays),
		TEST(what_is_lost_is_one_of_those_that_were_told_of),
		TEST(the_dying_tell),
		TEST(who_was_never_looked_at_tells_by_what_relatives_have_there),
		TEST(members_are_asked_to_tell_where_nobody_else_does),
		TEST(a_walk_is_made_sooner_for_who_waits),
		TEST(who_pays_is_due_when_another_touches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
