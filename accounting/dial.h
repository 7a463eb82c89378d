/* SPDX-License-Identifier: MIT */
/* Connecting to the daemon from inside a member, past the program's own socket calls. */
#ifndef ACCOUNTING_DIAL_H
#define ACCOUNTING_DIAL_H

/* A connection to the daemon of runtime directory `dir`, whose sends and receives give up after 2 s; the caller closes it
 * with sys_close. Negative errno. Does not touch errno, does not allocate; any thread, also in a signal handler. */
int dial_daemon(const char *dir);

#endif
