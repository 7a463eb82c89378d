/* SPDX-License-Identifier: MIT */
/* Subscriptions: who is told of what, by an eventfd.
 *
 * A thread of its own, the notifier, waits for marks (accounting/mark.h) and looks at the groups that are marked; the
 * loop does the rest: pressure stalls, removals, and what commands want. One lock, held without waiting for anybody
 * outside: an eventfd is written without blocking. The thread begins with the first subscription.
 *
 *   crossed    thresholds: stocks below are drained, so that usage is exact; what was crossed fires; the arming words
 *              are moved; usage is read again. A crossing up and down again before the look has merged to none.
 *   counted    memory.events and out-of-memory episodes: at once, and then not again before NOTIFY_QUIET_NS; the last
 *              change is told at their end.
 *   strained   a window of reclaim is full: its level goes to the listeners there and above. */
#ifndef CONTROLD_NOTIFY_H
#define CONTROLD_NOTIFY_H

#include "controld/page.h"
#include "controld/served.h"
#include "controld/subscribe.h"

#include <jansson.h>

#define NOTIFY_QUIET_NS 10000000ull /* between two tellings of memory.events of one group */
#define NOTIFY_STRAIN_NS 1000000ull /* between two levels of pressure of one group */
#define NOTIFY_OOM_NS 1000000000ull /* refusals that follow each other so closely are one episode */
#define NOTIFY_ID_MAX INT32_MAX

/* Where the eventfd comes from. */
struct notify_means {
	int eventfd;	/* -1: none; else it is the notifier's from then on, also on failure */
	uint32_t share; /* 0, or the id of a subscription of the same owner: no eventfd then */
};

/* Adds a subscription; it lasts until its owner goes. Returns its id. `ret_fd` (may be NULL): the eventfd, to be
 * duplicated before anything else happens. Negative with a sentence: -EINVAL -ENODEV -ENOENT -EMFILE -ENOMEM. */
int notify_subscribe(struct served *s, uint16_t group, const char *event, const struct notify_means *means,
		     const void *owner, int *ret_fd, struct complaint *why);

/* The same without a client. `eventfd` is the notifier's from then on, also on failure. */
int notify_add(struct served *s, uint16_t group, const char *event, int eventfd, const void *owner,
	       struct complaint *why);

/* After it nothing is added any more. -ENOENT: this owner has no such subscription. */
int notify_remove(struct served *s, uint32_t id, const void *owner);

/* All of this owner's. */
void notify_release(struct served *s, const void *owner);

/* The owner's subscriptions from this id on, as rows of the protocol. -ENOMEM. */
int notify_list(struct served *s, const void *owner, uint64_t from, struct page *page);

/* One of them; NULL: there is none, or no memory. */
json_t *notify_row(struct served *s, const void *owner, uint32_t id);

/* The group has been unlinked: all who have subscribed there are told, for the last time. */
void notify_group_gone(struct served *s, uint16_t group);

/* A group is out of memory, or is not any more; where the policy is to kill. Otherwise the notifier sees it itself. */
void notify_oom(struct served *s, uint16_t group, bool has_begun);

/* The history has something new to tell of the group that is, or was, at `path`: who subscribed to "history" there or
 * above is told. */
void notify_told(struct served *s, const char *path);

/* Limits or policies were changed. */
void notify_limits_changed(struct served *s);

/* The stage: pressure stalls, and marks that their markers left half made. */
void notify(struct served *s, uint64_t now_ns);

struct notify_figures {
	uint64_t subscriptions, notified, eventfds, lost;
};
void notify_count(const struct served *s, struct notify_figures *ret);

/* Ends the thread and all subscriptions. */
void notify_close(struct served *s);

#endif
