/* SPDX-License-Identifier: MIT */
/* What the command says on stderr, and how it exits. */
#ifndef MEMCTL_SAY_H
#define MEMCTL_SAY_H

enum say_exit {
	SAY_OK = 0,
	SAY_FAILED = 1,	     /* what was asked for could not be done */
	SAY_USAGE = 2,	     /* options or arguments are wrong; nothing was done */
	SAY_NOT_RUNNING = 3, /* daemon status: none runs */
	SAY_RUN_FAILED = 125,
	SAY_RUN_NOT_EXECUTABLE = 126,
	SAY_RUN_NOT_FOUND = 127,
};

/* "memctl: COMMAND: sentence" on stderr; returns SAY_FAILED. */
__attribute__((format(printf, 2, 3))) int say_failed(const char *command, const char *format, ...);

/* The same for a failed libmemctl call: its sentence, and what to try where the sentence does not
 * say. */
int say_error(const char *command, int err);

/* The same for something that does not stop the command; returns nothing. */
__attribute__((format(printf, 2, 3))) void say_note(const char *command, const char *format, ...);

#endif
