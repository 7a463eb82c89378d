/* SPDX-License-Identifier: MIT */
/* Taking the census (accounting/census.h): every key that is a number or a word, of every group. */
#ifndef CONTROLD_CENSUS_H
#define CONTROLD_CENSUS_H

#include "accounting/census.h"
#include "controld/complaint.h"
#include "controld/served.h"

#include <stdbool.h>

/* Fills the file. Without `thorough`, what must be read from /proc for each member is left out:
 * memory.stat's file and swap are CENSUS_UNKNOWN, and what is locked or stack is told as anon.
 * Negative errno with a sentence. */
int census_take(struct served *s, bool thorough, uint64_t now_ns, struct complaint *why);

void census_close(struct served *s);

#endif
