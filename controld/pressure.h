/* SPDX-License-Identifier: MIT */
/* memory.pressure_level: how hard it is to get memory back, and who is told.
 *
 * Source: vmpressure, vmpressure_prio, vmpressure_calc_level, vmpressure_event and
 * vmpressure_register_event (mm/vmpressure.c); ../shared/reference/kernel-semantics.md 5.
 *
 * Each reclaim books what it examined and what came of it on its root: the group whose limit was met, or the
 * root for the machine. When a window of 512 units has been examined there, one level comes of the sums and
 * goes to the listeners of that group and of those above. Reclaim for memory.reclaim and memory.soft is not
 * booked. */
#ifndef CONTROLD_PRESSURE_H
#define CONTROLD_PRESSURE_H

#include "controld/survey.h"

#define PRESSURE_WINDOW 512u
#define PRESSURE_MEDIUM_PERCENT 60u
#define PRESSURE_CRITICAL_PERCENT 95u
#define PRESSURE_PRIORITY_CRITICAL 3u /* reclaim that must go down to this is in dire straits */
#define PRESSURE_TEXT_MAX 19	      /* characters of a registration that are looked at */

enum pressure_level { PRESSURE_LOW, PRESSURE_MEDIUM, PRESSURE_CRITICAL };

enum pressure_mode {
	PRESSURE_DEFAULT,   /* unless somebody further down was told */
	PRESSURE_HIERARCHY, /* always */
	PRESSURE_LOCAL,	    /* only when booked on this very group */
};

/* A group's, all zero at first. */
struct pressure_sum {
	uint64_t scanned, reclaimed;
};

struct pressure_listener {
	uint16_t group;
	uint8_t level; /* the least that it wants to know; enum pressure_level */
	uint8_t mode;  /* enum pressure_mode */
};

/* 0 to 100: the part of `scanned` that was not reclaimed. 0 when scanned is. */
unsigned pressure_percent(uint64_t scanned, uint64_t reclaimed);
enum pressure_level pressure_level(uint64_t scanned, uint64_t reclaimed);

/* Books a pass. True when the window is full: pressure_take is due. A pass that examined nothing is not booked. */
bool pressure_book(struct pressure_sum *sum, uint64_t scanned, uint64_t reclaimed);

/* Books that a reclaim begins a round of this priority (12 gentle, 0 everything). */
bool pressure_book_priority(struct pressure_sum *sum, unsigned priority);

/* Empties the sums and says what level they were. False: they were empty. */
bool pressure_take(struct pressure_sum *sum, enum pressure_level *ret_level);

/* Whether one listener is told, where the level was booked on a group below its own (`is_above`) or on its own. */
static inline bool pressure_is_told(enum pressure_level level, enum pressure_level least, enum pressure_mode mode,
				    bool is_above, bool somebody_below_was_told)
{
	return level >= least && !(mode == PRESSURE_LOCAL && is_above) &&
	       !(mode == PRESSURE_DEFAULT && somebody_below_was_told);
}

/* Sets told[i] for each listener that a level booked on `group` goes to, and clears the others. */
void pressure_tell(const struct survey *s, uint16_t group, enum pressure_level level,
		   const struct pressure_listener *listeners, uint32_t count, bool *told);

/* Reads "low", "medium,local" and the like. -EINVAL. */
int pressure_parse(const char *text, enum pressure_level *ret_level, enum pressure_mode *ret_mode);

#endif
