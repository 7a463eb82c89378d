/* SPDX-License-Identifier: MIT */
/* One sentence for a person: what failed, why, what to try. Carried up to the rim beside the
 * errno. */
#ifndef CONTROLD_COMPLAINT_H
#define CONTROLD_COMPLAINT_H

struct complaint {
	char text[512]; /* plain ASCII without control characters, whatever was put in */
};

/* Writes the sentence; returns err, so that a function can end with `return complain(...)`. */
__attribute__((format(printf, 3, 4))) int complain(struct complaint *c, int err, const char *format, ...);

#endif
