/* SPDX-License-Identifier: MIT */
/* memory.pressure: which part of the time a group's threads stood still for want of memory. */
#include "controld/psi.h"

#include <errno.h>
#include <stdio.h>

#define BITS 11 /* behind the point of a fixed-point number, here and in the load averages */
#define ONE (1ull << BITS)
#define PERIODS_MAX 4096 /* made up one by one: nothing of what was before is left then */

/* What is left of an average after a period: 2048 / exp(2 s / span), rounded as psi.c has it. */
static const uint64_t keep[PSI_SPANS] = { 1677, 1981, 2034 };

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Upward it is rounded up: else a steady value would never be reached. */
static uint64_t decay(uint64_t avg, uint64_t kept, uint64_t sample)
{
	uint64_t sum = avg * kept + sample * (ONE - kept);

	return (sample >= avg ? sum + ONE - 1 : sum) / ONE;
}

/* kept to the power of n, each product rounded to the nearest. */
static uint64_t power(uint64_t kept, uint64_t n)
{
	uint64_t result = ONE;

	for (; n; n >>= 1) {
		if (n & 1)
			result = (result * kept + ONE / 2) >> BITS;
		kept = (kept * kept + ONE / 2) >> BITS;
	}
	return result;
}

/* `missed` periods without any stall, then one of `period_ns` with `stalled_ns` of it. */
static void average(struct psi_line *l, uint64_t missed, uint64_t stalled_ns, uint64_t period_ns)
{
	uint64_t percent = stalled_ns * 100 / period_ns * ONE;

	for (unsigned span = 0; span < PSI_SPANS; span++) {
		if (missed)
			l->avg[span] = decay(l->avg[span], power(keep[span], missed), 0);
		l->avg[span] = decay(l->avg[span], keep[span], percent);
	}
}

/* Makes up the averages at p->now_ns, at or after p->next_ns. */
static void sample(struct psi *p)
{
	uint64_t missed = (p->now_ns - p->next_ns) / PSI_PERIOD_NS;
	uint64_t period_ns = p->now_ns - p->last_ns - missed * PSI_PERIOD_NS;

	for (unsigned s = 0; s < PSI_STATES; s++) {
		struct psi_line *l = &p->line[s];
		uint64_t stalled_ns = least(l->total_ns - l->sampled_ns, period_ns);

		l->sampled_ns += stalled_ns;
		average(l, missed, stalled_ns, period_ns);
	}
	p->next_ns += (missed + 1) * PSI_PERIOD_NS;
	p->last_ns = p->now_ns;
}

static void pass(struct psi *p, uint64_t now_ns)
{
	uint64_t processors = p->tasks.processors ? p->tasks.processors : 1;
	uint64_t threads = least((uint64_t)p->tasks.stalled + p->tasks.productive, processors);
	uint64_t passed_ns = now_ns - p->now_ns;

	p->now_ns = now_ns;
	if (!p->tasks.stalled)
		return;
	p->line[PSI_SOME].total_ns += passed_ns * least(p->tasks.stalled, threads) / threads;
	p->line[PSI_FULL].total_ns += passed_ns * (threads - least(p->tasks.productive, threads)) / threads;
}

static bool is_settled(const struct psi *p)
{
	for (unsigned s = 0; s < PSI_STATES; s++)
		if (p->line[s].sampled_ns != p->line[s].total_ns)
			return false;
	return !p->tasks.stalled;
}

void psi_start(struct psi *p, uint64_t now_ns)
{
	*p = (struct psi){ .now_ns = now_ns, .last_ns = now_ns, .next_ns = now_ns + PSI_PERIOD_NS };
}

/* Of a very long time unobserved only the end is made up: what was before has left no trace. */
static void skip(struct psi *p, uint64_t now_ns)
{
	uint64_t due = now_ns < p->next_ns ? 0 : (now_ns - p->next_ns) / PSI_PERIOD_NS;

	if (due <= PERIODS_MAX || is_settled(p))
		return;
	pass(p, p->next_ns + (due - PERIODS_MAX - 1) * PSI_PERIOD_NS);
	for (unsigned s = 0; s < PSI_STATES; s++)
		p->line[s].sampled_ns = p->line[s].total_ns;
	p->last_ns = p->now_ns;
	p->next_ns = p->now_ns + PSI_PERIOD_NS;
}

void psi_update(struct psi *p, uint64_t now_ns)
{
	now_ns = now_ns > p->now_ns ? now_ns : p->now_ns;
	skip(p, now_ns);
	while (p->next_ns <= now_ns && !is_settled(p)) {
		pass(p, p->next_ns);
		sample(p);
	}
	pass(p, now_ns);
	if (p->next_ns <= now_ns)
		sample(p);
}

void psi_change(struct psi *p, struct psi_tasks tasks, uint64_t now_ns)
{
	psi_update(p, now_ns);
	p->tasks = tasks;
}

void psi_add(struct psi *p, uint64_t some_ns, uint64_t full_ns, uint64_t now_ns)
{
	psi_update(p, now_ns);
	p->line[PSI_SOME].total_ns += some_ns;
	p->line[PSI_FULL].total_ns += full_ns;
}

size_t psi_format(const struct psi *p, char *buf, size_t size)
{
	static const char *const name[] = { "some", "full" };
	size_t n = 0;

	for (unsigned s = 0; s < PSI_STATES; s++) {
		const struct psi_line *l = &p->line[s];
		unsigned long long part[PSI_SPANS];

		for (unsigned span = 0; span < PSI_SPANS; span++)
			part[span] = (l->avg[span] % ONE * 100) >> BITS;
		n += (size_t)snprintf(buf + n, size - n,
				      "%s avg10=%llu.%02llu avg60=%llu.%02llu avg300=%llu.%02llu total=%llu\n", name[s],
				      (unsigned long long)l->avg[PSI_10] >> BITS, part[PSI_10],
				      (unsigned long long)l->avg[PSI_60] >> BITS, part[PSI_60],
				      (unsigned long long)l->avg[PSI_300] >> BITS, part[PSI_300],
				      (unsigned long long)l->total_ns / 1000);
	}
	return n;
}

static void begin_window(struct psi_trigger *t, uint64_t now_ns, uint64_t total_ns, uint64_t before_ns)
{
	t->start_ns = now_ns;
	t->start_total_ns = total_ns;
	t->before_ns = before_ns;
}

int psi_trigger_open(struct psi_trigger *t, const char *text, bool is_privileged, const struct psi *p)
{
	unsigned stall_us, window_us;
	struct psi_trigger new = { .next_ns = PSI_NEVER };

	if (sscanf(text, "some %u %u", &stall_us, &window_us) == 2)
		new.state = PSI_SOME;
	else if (sscanf(text, "full %u %u", &stall_us, &window_us) == 2)
		new.state = PSI_FULL;
	else
		return -EINVAL;
	new.threshold_ns = stall_us * 1000ull;
	new.window_ns = window_us * 1000ull;
	if (!window_us || new.window_ns > PSI_WINDOW_MAX_NS || !stall_us || stall_us > window_us)
		return -EINVAL;
	if (!is_privileged && new.window_ns % PSI_PERIOD_NS)
		return -EINVAL;
	new.seen_ns = p->line[new.state].total_ns;
	begin_window(&new, p->now_ns, new.seen_ns, 0);
	*t = new;
	return 0;
}

/* What grew in the last window_ns: in this window, and as much of the one before as still lies in them, if it
 * grew evenly. */
static uint64_t growth(struct psi_trigger *t, uint64_t now_ns, uint64_t total_ns)
{
	uint64_t passed_ns = now_ns - t->start_ns;
	uint64_t grown_ns = total_ns - t->start_total_ns;

	if (passed_ns > t->window_ns)
		begin_window(t, now_ns, total_ns, grown_ns);
	else
		grown_ns += (uint64_t)((unsigned __int128)t->before_ns * (t->window_ns - passed_ns) / t->window_ns);
	return grown_ns;
}

/* What has stalled since the last look was not there before: the window begins with it. */
static void wake(struct psi_trigger *t, uint64_t now_ns)
{
	if (t->next_ns == PSI_NEVER) {
		begin_window(t, now_ns, t->seen_ns, 0);
		t->next_ns = now_ns;
	}
	t->until_ns = now_ns + t->window_ns;
}

static bool is_firing(struct psi_trigger *t, uint64_t now_ns, uint64_t total_ns)
{
	if (total_ns != t->seen_ns && growth(t, now_ns, total_ns) >= t->threshold_ns)
		t->is_pending = true;
	t->seen_ns = total_ns;
	if (!t->is_pending || now_ns < t->quiet_until_ns)
		return false;
	t->is_pending = false;
	t->quiet_until_ns = now_ns + t->window_ns;
	return true;
}

bool psi_trigger_look(struct psi_trigger *t, const struct psi *p)
{
	uint64_t total_ns = p->line[t->state].total_ns;
	bool fires;

	if (total_ns != t->seen_ns || psi_is_stalled(p, t->state))
		wake(t, p->now_ns);
	if (t->next_ns == PSI_NEVER || p->now_ns < t->next_ns)
		return false;
	if (p->now_ns > t->until_ns && !t->is_pending) {
		t->next_ns = PSI_NEVER;
		return false;
	}
	fires = is_firing(t, p->now_ns, total_ns);
	t->next_ns = p->now_ns + t->window_ns / PSI_LOOKS;
	return fires;
}
