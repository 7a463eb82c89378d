/* SPDX-License-Identifier: MIT */
/* A line at a terminal while something takes long: "memctl: reclaim: 1.2 s, /demo holds 64.0 MiB".
 */
#ifndef MEMCTL_PROGRESS_H
#define MEMCTL_PROGRESS_H

/* Begins; the line appears after a third of a second, on stderr, when that is a terminal. One at a
 * time. */
void progress_start(const char *command, const char *group);

/* Ends, and takes the line away. */
void progress_stop(void);

#endif
