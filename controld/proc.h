/* SPDX-License-Identifier: MIT */
/* Files of a process in /proc.
 *
 * -ESRCH: there is no such process any more. Other errors are the kernel's, -EACCES above all: another user's. */
#ifndef CONTROLD_PROC_H
#define CONTROLD_PROC_H

#include <dirent.h>
#include <stdio.h>
#include <sys/types.h>

/* /proc/PID/NAME, to be closed by the caller. NULL: proc_error says why. */
FILE *proc_open(pid_t pid, const char *name);
DIR *proc_open_dir(pid_t pid, const char *name);

/* The same as a descriptor, or a negative error. */
int proc_open_fd(pid_t pid, const char *name);

/* Why the call before failed: negative, from errno. */
int proc_error(void);

#endif
