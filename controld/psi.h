/* SPDX-License-Identifier: MIT */
/* memory.pressure: which part of the time a group's threads stood still for want of memory.
 *
 * Source: psi_group_change, update_averages, calc_avgs, window_update, update_triggers and psi_poll_work
 * (kernel/sched/psi.c), calc_load and calc_load_n (kernel/sched/loadavg.c);
 * Documentation/accounting/psi.rst; ../shared/reference/kernel-semantics.md 1.3.
 *
 * Time is an argument, in ns of one clock that never goes back (an earlier time counts as no time passed). A
 * group that is one processor has the kernel's states: `some` while anybody is stalled, `full` while nobody
 * else runs. With more processors both are the parts that psi.c defines for them:
 * threads = min(stalled + productive, processors), some = min(stalled / threads, 1),
 * full = (threads - min(productive, threads)) / threads.
 *
 * Unlike in the kernel, where a timer samples every 2 s, results do not depend on how often one looks: while
 * something is stalled, or was and is not in the averages yet, periods are made up one by one. So nobody need
 * wake up for the averages: psi_update before reading is enough. Triggers do want to be looked at. */
#ifndef CONTROLD_PSI_H
#define CONTROLD_PSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PSI_PERIOD_NS 2000000000ull
#define PSI_WINDOW_MAX_NS 10000000000ull
#define PSI_LOOKS 10 /* at a trigger, during a window */
#define PSI_TEXT_MAX 160
#define PSI_NEVER UINT64_MAX

enum psi_state { PSI_SOME, PSI_FULL, PSI_STATES };
enum psi_span { PSI_10, PSI_60, PSI_300, PSI_SPANS };

/* A group's threads at a moment. */
struct psi_tasks {
	uint32_t stalled;
	uint32_t productive; /* running, or able to */
	uint32_t processors; /* 0 is 1 */
};

struct psi_line {
	uint64_t total_ns;
	uint64_t sampled_ns;	 /* of total, what is in the averages */
	uint64_t avg[PSI_SPANS]; /* percent, 11 bits behind the point */
};

struct psi {
	uint64_t now_ns;	/* totals are as of this */
	uint64_t last_ns;	/* averages were made up */
	uint64_t next_ns;	/* and will be next */
	struct psi_tasks tasks; /* since now_ns */
	struct psi_line line[PSI_STATES];
};

/* A file opened and armed: stalls of `threshold_ns` within `window_ns` fire it, once a window. */
struct psi_trigger {
	enum psi_state state;
	uint64_t threshold_ns, window_ns;
	uint64_t start_ns, start_total_ns; /* of the window */
	uint64_t before_ns;		   /* growth in the one before */
	uint64_t seen_ns;		   /* total at the last look */
	uint64_t until_ns;		   /* nothing is watched after this unless something stalls */
	uint64_t next_ns;		   /* the next look; PSI_NEVER: when something stalls */
	uint64_t quiet_until_ns;	   /* it has fired in this window */
	bool is_pending;		   /* it should have */
};

void psi_start(struct psi *p, uint64_t now_ns);

/* From now on it is these. */
void psi_change(struct psi *p, struct psi_tasks tasks, uint64_t now_ns);

/* Adds stalls that are over and were measured elsewhere; not those told by psi_change. More than time has
 * passed goes into the averages later. */
void psi_add(struct psi *p, uint64_t some_ns, uint64_t full_ns, uint64_t now_ns);

/* Brings totals and averages up to date. */
void psi_update(struct psi *p, uint64_t now_ns);

/* True while time adds to the total of `state`. */
static inline bool psi_is_stalled(const struct psi *p, enum psi_state state)
{
	return p->tasks.stalled &&
	       (state == PSI_SOME || p->tasks.productive < p->tasks.processors || !p->tasks.productive);
}

/* The text of memory.pressure, as of the last update. Returns its length; `size` at least PSI_TEXT_MAX. */
size_t psi_format(const struct psi *p, char *buf, size_t size);

/* Reads "some|full STALL WINDOW" (us). -EINVAL: the text; a window of 0 or over 10 s; a stall of 0 or longer
 * than the window; without `is_privileged`, a window that is not a multiple of 2 s. */
int psi_trigger_open(struct psi_trigger *t, const char *text, bool is_privileged, const struct psi *p);

/* Looks at the totals of `p` (up to date). True: it fires. To be called at psi_trigger.next_ns, and when
 * something begins to stall. */
bool psi_trigger_look(struct psi_trigger *t, const struct psi *p);

#endif
