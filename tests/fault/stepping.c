/* SPDX-License-Identifier: MIT */
/* One process's way through an operation, with trials at every instruction. */
#include "tests/fault/stepping.h"

#include "tests/fault/image.h"
#include "tests/lib/tap.h"

#include "accounting/check.h"

#include <stdio.h>
#include <string.h>

#define COMPLAINTS 5
#define FURTHER 200 /* instructions at most between two stops */

static const struct trial {
	const char *name;
	bool others;
	bool recount;
	bool twice;
	bool goes_on;
} trials[] = {
	{ "killed", false, false, false, false },
	{ "stopped, others, killed", true, false, false, false },
	{ "stopped, recount, killed", true, true, false, false },
	{ "stopped, recount, again, killed", true, true, true, false },
	{ "stopped, others, goes on", true, false, false, true },
	{ "stopped, recount, goes on", true, true, false, true },
	{ "stopped, recount, again, goes on", true, true, true, true },
};
#define TRIALS (sizeof(trials) / sizeof(trials[0]))

/* All that a trial may change. */
struct before {
	struct image image;
	struct bystanders others;
	char shared[STEPPING_SHARED];
};

static void save(const struct stepping *s, struct before *before)
{
	image_save(&before->image, &s->ground->seg);
	before->others = *s->others;
	if (s->shared)
		memcpy(before->shared, s->shared, s->shared_size);
}

static void put_back(const struct stepping *s, const struct before *before)
{
	image_restore(&before->image, &s->ground->seg);
	*s->others = before->others;
	if (s->shared)
		memcpy(s->shared, before->shared, s->shared_size);
}

static const char *work(const struct stepping *s, bool recount)
{
	if (!bystanders_go_on(s->others, s->ground, recount, s->name))
		return "the others do not get on";
	if (s->meanwhile)
		s->meanwhile();
	return NULL;
}

/* Some instructions on, then the others again. */
static const char *stop_again(const struct stepping *s, const struct tracee *copy)
{
	static uint64_t dice = 7;
	uint64_t n = 1 + ground_random(&dice) % FURTHER;

	for (uint64_t i = 0; i < n; i++) {
		enum tracer_at at = tracer_step(copy, NULL);

		if (at == TRACER_ENDED)
			return "the stopped one has ended by itself";
		if (at == TRACER_MARK)
			break;
	}
	return work(s, false);
}

static const char *go_on(const struct stepping *s, const struct tracee *copy)
{
	const char *wrong;

	if (tracer_run(copy) != TRACER_MARK)
		return "the stopped one did not come to its end";
	wrong = s->at_end();
	if (!wrong && !ground_consistent(s->ground))
		wrong = "not consistent after the stopped one's end";
	return wrong;
}

/* A dead daemon is followed by another; pools must be right then, whoever else has not died. */
static const char *settle(struct stepping *s, bool daemon_died)
{
	const char *wrong = NULL;

	if (daemon_died) {
		(void)settle_daemon(&s->ground->seg);
		if (!ground_consistent(s->ground))
			wrong = "not consistent after the new daemon's start";
	}
	bystanders_settle(s->others, s->ground);
	if (!bystanders_alone(s->others, s->ground, &s->drift) && !wrong)
		wrong = "not exact when all but the others have gone";
	return wrong;
}

static const char *try_with(struct stepping *s, const struct trial *t, const struct tracee *copy)
{
	unsigned failed = check_failures();
	const char *wrong = t->others ? work(s, t->recount) : NULL;
	const char *also;

	if (!wrong && t->twice)
		wrong = stop_again(s, copy);
	if (!wrong && t->goes_on)
		wrong = go_on(s, copy);
	tracer_kill(copy);
	also = settle(s, s->is_daemon && !t->goes_on);
	if (!also && check_failures() != failed)
		also = "a check failed";
	return wrong ? wrong : also;
}

static void try_one(struct stepping *s, const struct trial *t, const struct tracee *victim, const struct before *before,
		    uintptr_t ip)
{
	struct tracee copy = tracer_copy(victim);
	const char *wrong = try_with(s, t, &copy);

	put_back(s, before);
	s->trials++;
	if (wrong && s->wrong++ < COMPLAINTS)
		tap_note("%s, instruction %llu (at tracer_mark%+lld), %s: %s (last end: wait status %#x)", s->name,
			 (unsigned long long)s->instructions, (long long)(ip - victim->mark), t->name, wrong,
			 (unsigned)tracer_end_status());
}

/* Every stride-th of all trials at all instructions: the kinds take turns. */
static void try_here(struct stepping *s, const struct tracee *victim, uintptr_t ip, uint64_t stride)
{
	static struct before before;
	bool saved = false;

	for (uint64_t i = 0; i < TRIALS; i++) {
		if ((s->instructions * TRIALS + i) % stride ||
		    (s->kills_only && (trials[i].goes_on || trials[i].twice)))
			continue;
		if (!saved)
			save(s, &before);
		saved = true;
		try_one(s, &trials[i], victim, &before, ip);
	}
}

/* No multiple of the number of trials: each kind has its turn. */
static uint64_t stride_of(const struct stepping *s)
{
	uint64_t stride;

	if (s->trials_max == 0)
		return 1;
	stride = s->instructions * TRIALS / s->trials_max + 1;
	return stride % TRIALS ? stride : stride + 1;
}

/* `stride` 0: no trials. */
static enum tracer_at step_through(struct stepping *s, const struct tracee *victim, uint64_t stride)
{
	enum tracer_at at = TRACER_STEPPED;
	uintptr_t ip = victim->mark;

	s->instructions = s->stepped = s->trials = s->drift = s->wrong = 0;
	while (at == TRACER_STEPPED) {
		if (!s->counts || s->counts(ip)) {
			if (stride)
				try_here(s, victim, ip, stride);
			s->instructions++;
		}
		at = tracer_step(victim, &ip);
		s->stepped++;
	}
	return at;
}

enum tracer_at stepping_count(struct stepping *s, const struct tracee *t)
{
	return step_through(s, t, 0);
}

enum tracer_at stepping_try(struct stepping *s, const struct tracee *t)
{
	return step_through(s, t, stride_of(s));
}

const char *stepping_report(const struct stepping *s)
{
	static char text[120];

	snprintf(text, sizeof(text), "%llu instructions, %llu trials, drift %llu", (unsigned long long)s->instructions,
		 (unsigned long long)s->trials, (unsigned long long)s->drift);
	return text;
}
