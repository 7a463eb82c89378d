/* SPDX-License-Identifier: MIT */
/* What a program file, or a running process, says about how far it can be accounted. */
#ifndef MEMCTL_DOCTOR_H
#define MEMCTL_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum doctor_grade {
	DOCTOR_FINE,	 /* good to know */
	DOCTOR_PARTLY,	 /* something may be missed */
	DOCTOR_OBSERVED, /* sampled, not refused anything */
	DOCTOR_NOT,	 /* cannot be run, or cannot be told */
};

struct doctor_finding {
	enum doctor_grade grade;
	const char *name; /* a word for programs: "static" */
	char found[400];  /* a sentence: what it is and what is missed */
	char advice[300]; /* what to do; "" nothing */
};

#define DOCTOR_FINDINGS_MAX 24

struct doctor {
	char path[PATH_MAX];	 /* what was looked at in the end: of a script, the interpreter */
	enum doctor_grade grade; /* the worst */
	struct doctor_finding finding[DOCTOR_FINDINGS_MAX];
	unsigned findings;
};

/* Looks at the program that COMMAND would run. Nothing of it is run: its libraries are asked from
 * its own dynamic linker, as ldd does. */
void doctor_examine(const char *command, struct doctor *d);

/* Adds what a running process shows beyond its file: which libraries it has loaded since. */
void doctor_examine_process(pid_t pid, struct doctor *d);

__attribute__((format(printf, 5, 6))) void doctor_add(struct doctor *d, enum doctor_grade grade, const char *name,
						      const char *advice, const char *format, ...);

#endif
