/* SPDX-License-Identifier: MIT */
/* The commands of the protocol: one row each in commands.def, one function each in do_<command>.c.
 * What the table says - argument names and types, that the group exists, the caller's right - is
 * checked here. */
#ifndef CONTROLD_COMMAND_H
#define CONTROLD_COMMAND_H

#include "controld/complaint.h"
#include "controld/daemon.h"
#include "controld/proto.h"

#include <jansson.h>

/* Descriptors beside packets. */
struct passed {
	int fd;		/* the first that came, -1: none; who uses it puts -1 here */
	unsigned count; /* that came */
	bool is_cut;	/* some did not fit, or no descriptor was left */
	int answer;	/* goes with the reply and is closed then; -1 none */
};

/* Who asks, by SO_PEERCRED. */
struct caller {
	struct passed *passed; /* NULL: none can */
	pid_t pid;	       /* in the daemon's pid namespace; 0: not to be seen from here */
	uid_t uid;
	const void *holder; /* what keeps his transient groups; NULL: nothing */
	void (*answer)(const void *holder, char *text, size_t size); /* struct promise's; NULL: at once or never */
};

struct request {
	struct daemon *daemon;
	struct served *served;
	const struct caller *caller;
	json_t *arguments;
	uint16_t group; /* the argument of type `group`, else the root */
	struct complaint why;
};

/* What a command returns that keeps command_promise(r) for its answer. */
#define COMMAND_ANSWERS_LATER 1

/* Carries the command out and adds to `reply`. 0, or negative errno with r->why written, or COMMAND_ANSWERS_LATER. */
typedef int do_function(struct request *r, json_t *reply);

enum command_right {
	RIGHT_ANY,    /* whoever may connect */
	RIGHT_MANAGE, /* not a member of the group, or below it, unless --allow-members */
};

struct command {
	const char *name;
	enum command_right right;
	const char *arguments;	/* "name:type" words; '!' behind: must be there */
	do_function *carry_out; /* NULL: not in this version */
	const char *sentence;
};

/* All commands; *ret_count rows. */
const struct command *command_table(size_t *ret_count);

/* Finds the op's row, checks the arguments against it and carries it out. As do_function. */
int command_carry_out(struct request *r, const char *op, json_t *reply);

/* The argument or, when it is not there, the default. Types were checked. */
bool command_flag(const struct request *r, const char *name, bool otherwise);
/* True when the caller is a member itself, bound by the limits of its group: the daemon was not told to trust
 * members. */
bool command_is_bound(const struct request *r, uint16_t *ret_group);

/* The caller's, who waits for one answer at a time. */
static inline struct promise command_promise(const struct request *r)
{
	return (struct promise){ .holder = r->caller->holder, .answer = r->caller->answer };
}

uint64_t command_number(const struct request *r, const char *name, uint64_t otherwise);
const char *command_text(const struct request *r, const char *name, const char *otherwise);

/* Complaint for what group_find and group_check_path return. */
int command_complain_path(struct complaint *why, int err, const char *path);

#define COMMAND(name, right, arguments, sentence) do_function do_##name;
#define COMMAND_LATER(name, right, arguments, sentence)
#include "controld/commands.def"
#undef COMMAND
#undef COMMAND_LATER

#endif
