/* SPDX-License-Identifier: MIT */
/* A preloaded program that does one thing, killed and stopped before every single instruction of a
 * library. */
#include "tests/fault/scenes.h"

#include "tests/fault/daemon.h"
#include "tests/fault/stepping.h"
#include "tests/lib/tap.h"

#include "accounting/keep.h"
#include "accounting/region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEATHS_IN_CHECK 4 /* of one scene under memctld */
#define DEATHS_OF_ALL 30
#define GROUP "/t/d"
#define SCENES_MAX 32
#define KEPT_PAGES 1000u

static const struct scenery *all;

/* ---- in the preloaded program ---- */

static int play(const char *name)
{
	if (strcmp(name, SCENE_NOTHING) == 0)
		tracer_mark();
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->scene[i].name, name) != 0)
			continue;
		all->scene[i].prepare();
		tracer_mark();
		all->scene[i].play();
		if (!all->scene[i].ends)
			tracer_mark();
		return 0;
	}
	return 2;
}

/* ---- the tracer ---- */

static struct ground g;
static struct bystanders others;
static uint16_t top, beside;
static uintptr_t library[2][2]; /* where their code lies */
static uint64_t held_at_end;	/* by one who was not disturbed */
static bool held_varies;

static bool is_in_library(uintptr_t ip)
{
	return (ip >= library[0][0] && ip < library[0][1]) || (ip >= library[1][0] && ip < library[1][1]);
}

static void find_library(const struct tracee *t, const char *name, uintptr_t *ret)
{
	unsigned long from, to;
	char line[512], x;
	FILE *f;

	ret[0] = ret[1] = 0;
	snprintf(line, sizeof(line), "/proc/%d/maps", (int)t->pid);
	f = fopen(line, "r");
	while (f && name && fgets(line, sizeof(line), f))
		if (strstr(line, name) && sscanf(line, "%lx-%lx %*c%*c%c", &from, &to, &x) == 3 && x == 'x') {
			ret[0] = from;
			ret[1] = to;
		}
	if (f)
		fclose(f);
	if (name && ret[1] == 0)
		ground_bail("%s is not mapped", name);
}

static bool is_other(uint32_t member)
{
	return member == others.party[0].member || member == others.party[1].member;
}

static uint64_t held_by_victim(void)
{
	uint64_t held = 0;

	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_is_present(&g.seg, m) && !is_other(m))
			held += member_held(&g.seg, m, g.resource);
	return held;
}

static const char *at_end(void)
{
	return held_varies || held_by_victim() == held_at_end ? NULL : "the stopped one does not hold what it should";
}

static enum charge_mode mode;

static void set_up(void)
{
	struct stat st;
	uint16_t leaf;

	if (stat("/proc/self/ns/pid", &st))
		ground_bail("/proc/self/ns/pid: %s", strerror(errno));
	ground_up(&g);
	g.seg.limits->header.daemon_pid_ns = (uint32_t)st.st_ino;
	if (all->region && region_register(&g.seg, all->region, "", 1ull << 40, &g.resource))
		ground_bail("no region %s", all->region);
	top = ground_group(&g, "/t", 1000000);
	leaf = ground_group(&g, GROUP, 1000000);
	beside = ground_group(&g, "/t/beside", 1000000);
	g.seg.limits->group[leaf].charge_mode = g.seg.limits->group[beside].charge_mode = (uint8_t)mode;
	bystanders_join(&others, &g, leaf, top);
	setenv("MEMCTL_DIR", g.dir, 1);
}

/* As the daemon does it: the process follows at its next call. */
static void move_victim(void)
{
	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_is_present(&g.seg, m) && !is_other(m))
			mc_store_full(&member_of(&g.seg, m)->group, beside);
}

static void keep_all_the_room(void)
{
	struct keep keep;
	uint16_t refused;

	if (keep_open(&g.seg, top, &keep) || keep_take(&keep, KEPT_PAGES, &refused))
		ground_bail("no room can be kept");
	ground_set_max(&g, top, ground_usage(&g, top) + 30);
}

static bool start(const struct scene *scene, struct tracee *ret)
{
	char *argv[] = { (char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t)scene->name, NULL };

	if (!tracer_exec(ret, argv))
		return false;
	find_library(ret, all->library, library[0]);
	find_library(ret, scene->ends ? all->also : NULL, library[1]);
	return true;
}

static bool go_through(const struct scene *scene, struct stepping *s,
		       enum tracer_at (*step)(struct stepping *, const struct tracee *))
{
	struct tracee victim, child = { 0 };
	enum tracer_at at = TRACER_ENDED;

	set_up();
	if (start(scene, &victim)) {
		if (scene->is_tight)
			ground_set_max(&g, top, ground_usage(&g, top) + 30);
		if (scene->way == SCENE_MOVED)
			move_victim();
		if (scene->way == SCENE_KEPT)
			keep_all_the_room();
		if (scene->way != SCENE_INTO_CHILD || tracer_follow_fork(&victim, &child)) {
			tracer_keep_wiped(child.pid ? &child : &victim);
			at = step(s, child.pid ? &child : &victim);
			held_at_end = held_by_victim();
		}
	}
	tracer_kill(&child);
	if (at != TRACER_ENDED)
		tracer_kill(&victim);
	ground_down(&g);
	return scene->ends ? at == TRACER_ENDED : at == TRACER_MARK;
}

static struct stepping all_seen;
static uint64_t length[SCENES_MAX]; /* in instructions that count */

static void try_scene(const struct scene *scene, bool every)
{
	struct stepping s = {
		.name = scene->sentence,
		.ground = &g,
		.others = &others,
		.kills_only = scene->way == SCENE_KILLS_ONLY,
		.trials_max = every ? 0 : all->trials,
		.counts = is_in_library,
		.at_end = at_end,
		.instructions = scene->instructions,
	};
	bool ok = scene->instructions || go_through(scene, &s, stepping_count);

	held_varies = scene->is_tight || (scene->way == SCENE_LOOKING && mode == CHARGE_RESIDENT);
	ok = ok && go_through(scene, &s, stepping_try);
	length[scene - all->scene] = s.instructions + 1;
	all_seen.instructions += s.instructions;
	all_seen.trials += s.trials;
	all_seen.drift += s.drift;
	tap_ok(ok && s.wrong == 0, "%s%s: %s", scene->sentence,
	       all->region	       ? ""
	       : mode == CHARGE_COMMIT ? ", charge=commit"
				       : ", charge=resident",
	       stepping_report(&s));
}

/* Steps over `n` instructions that count, and all between them. */
static void step_far(const struct tracee *t, uint64_t n)
{
	uintptr_t ip;

	while (n > 0 && tracer_step(t, &ip) == TRACER_STEPPED)
		n -= is_in_library(ip);
}

/* True when memctld has settled it, and nothing is left. */
static bool die_as_member(const struct scene *scene, const struct daemon *d, uint64_t n)
{
	struct tracee victim, child = { 0 };

	if (!start(scene, &victim))
		return false;
	if (scene->way == SCENE_INTO_CHILD && !tracer_follow_fork(&victim, &child))
		return false;
	step_far(child.pid ? &child : &victim, n);
	tracer_kill(&child);
	tracer_kill(&victim);
	return daemon_has_settled(d) && daemon_is_exact(d);
}

/* An exec and an orderly end are the preload library's own business. */
static void try_under_memctld(bool every, const char *only)
{
	static uint64_t dice = 11;
	unsigned deaths = 0, wrong = 0;
	struct daemon d;

	daemon_up(&d);
	daemon_create("/t", NULL);
	daemon_create(GROUP, NULL);
	for (size_t i = 0; i < all->n; i++)
		for (int n = 0; n < (every ? DEATHS_OF_ALL : DEATHS_IN_CHECK); n++) {
			const struct scene *scene = &all->scene[i];

			if (scene->instructions || scene->ends || scene->is_tight || !strstr(scene->name, only))
				continue;
			deaths++;
			wrong += !die_as_member(scene, &d, ground_random(&dice) % length[i]);
		}
	tap_ok(daemon_down(&d) && wrong == 0, "%u deaths at random instructions, settled by memctld: %u not exact",
	       deaths, wrong);
}

static void try_scenes(bool every, const char *only)
{
	for (size_t i = 0; i < all->n; i++)
		for (int m = 0; m < (all->region ? 1 : 2); m++) {
			mode = m ? CHARGE_COMMIT : CHARGE_RESIDENT;
			if (strstr(all->scene[i].name, only) && (m == 0 || all->scene[i].way != SCENE_KILLS_ONLY))
				try_scene(&all->scene[i], every);
		}
	tap_note("all: %s", stepping_report(&all_seen));
}

int scenes_main(int argc, char *argv[], const struct scenery *s, void (*prepare)(void))
{
	bool every = argc > 1 && strcmp(argv[1], "all") == 0;
	const char *why;

	all = s;
	if (argc == 2 && !every)
		return play(argv[1]);
	if (s->n > SCENES_MAX)
		ground_bail("more scenes than there is room for");
	if (!tracer_works(&why)) {
		tap_skip(why, "every instruction");
		return tap_end();
	}
	setenv("MEMCTL_GROUP", GROUP, 1);
	prepare();
	(void)personality(ADDR_NO_RANDOMIZE); /* an exec'd image has everything where the old one had it */
	try_scenes(every, argc > 2 ? argv[2] : "");
	try_under_memctld(every, argc > 2 ? argv[2] : "");
	return tap_end();
}
