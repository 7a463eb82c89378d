/* SPDX-License-Identifier: MIT */
/* Who holds memory: stacks with what they asked for, of one group, ready to be shown in any format. */
#ifndef MEMCTL_PROFILE_H
#define MEMCTL_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One function on a stack. */
struct profile_frame {
	char *function;
	char *file; /* "" where it is not known */
	int line;
	char *module;
};

enum profile_value {
	PROFILE_LIVE_BYTES,
	PROFILE_LIVE_COUNT,
	PROFILE_BYTES,
	PROFILE_COUNT,
	PROFILE_PEAK_BYTES,
	PROFILE_PEAK_COUNT,
	PROFILE_SAMPLES,
	PROFILE_LIVE_SAMPLES,
	PROFILE_LIVE_VARIANCE, /* of the bytes, in bytes^2 */
	PROFILE_VARIANCE,
	PROFILE_PEAK_VARIANCE,
	PROFILE_VALUES,
};

/* Estimates; differences of two profiles may be below 0. */
struct profile_stack {
	uint32_t *frame; /* numbers of frames, from the innermost outwards */
	unsigned frames;
	unsigned kind; /* enum stacks_kind */
	double value[PROFILE_VALUES];
	double before; /* of a difference: what the shown value was */
};

/* What is shown. */
enum profile_by { PROFILE_BY_LIVE, PROFILE_BY_ALLOCATED, PROFILE_BY_PEAK, PROFILE_BY_AUTO };

struct profile {
	struct profile_frame *frame;
	size_t frames, frame_room;
	uint32_t *frame_index; /* hash table of numbers + 1 */
	size_t index_room;
	struct profile_stack *stack;
	size_t stacks, stack_room;
	uint32_t *stack_index;
	size_t stack_index_room;
	char *group;
	double rate, finest;		       /* bytes between two samples on average: at most, at least */
	unsigned processes, running, unheaped; /* unheaped: they have their own malloc */
	double lost, untold;
	bool is_difference;
};

extern const char *const profile_value_names[PROFILE_VALUES]; /* as in JSON */
extern const char *const profile_kind_names[];

struct profile *profile_new(const char *group);
void profile_free(struct profile *p);

/* Numbers of equal frames are equal. */
uint32_t profile_frame(struct profile *p, const char *function, const char *file, int line, const char *module);

/* Adds to the stack with these frames. */
void profile_add(struct profile *p, unsigned kind, const uint32_t *frame, unsigned frames,
		 const double value[PROFILE_VALUES]);

/* The bytes and the count shown. AUTO: live while a process runs, then the peak. */
enum profile_by profile_resolve(const struct profile *p, enum profile_by by);
double profile_bytes(const struct profile_stack *s, enum profile_by by);
double profile_count(const struct profile_stack *s, enum profile_by by);
double profile_total(const struct profile *p, enum profile_by by);

/* Largest first (of differences: the largest change). */
void profile_sort(struct profile *p, enum profile_by by);

/* b minus a. */
struct profile *profile_subtract(const struct profile *a, const struct profile *b, enum profile_by by);

/* The group that a process is in now, which a picture says only from its next sample on; NULL: not known. */
typedef const char *(*profile_where_fn)(uint32_t pid, void *arg);

/* The pictures of the group's processes and of all below it, in the runtime directory. NULL with a sentence on stderr:
 * there are none. since_ns: CLOCK_MONOTONIC; older ones are left out. */
struct profile_wish {
	const char *dir, *group;
	uint64_t since_ns;
	profile_where_fn where;
	void *arg;
};
struct profile *profile_read(const char *command, const struct profile_wish *wish);

/* What profile_write_json wrote. NULL with a sentence. */
struct profile *profile_read_json(const char *command, const char *path);

struct profile_look {
	enum profile_by by; /* not AUTO */
	unsigned top;	    /* stacks in text; 0: all */
	bool human;	    /* sizes for people */
	bool colour;
	unsigned width;
};

void profile_write_text(const struct profile *p, const struct profile_look *look, FILE *to);
void profile_write_folded(const struct profile *p, const struct profile_look *look, FILE *to);
void profile_write_json(const struct profile *p, const struct profile_look *look, FILE *to);
void profile_write_pprof(const struct profile *p, const struct profile_look *look, FILE *to);
void profile_write_svg(const struct profile *p, const struct profile_look *look, FILE *to);

typedef void (*profile_write_fn)(const struct profile *p, const struct profile_look *look, FILE *to);

/* By a format's name, or by what a file's name ends with (json, svg, pb, pb.gz, folded; else text). NULL: no such
 * format. */
profile_write_fn profile_format(const char *name);
profile_write_fn profile_format_of_file(const char *path);

/* "1.5 MiB", as output_size has it, with a sign for differences. */
#define PROFILE_SIZE_BUF 32
char *profile_size(double bytes, const struct profile *p, char buf[PROFILE_SIZE_BUF]);

#endif
