/* SPDX-License-Identifier: MIT */
/* The command's commands: their table, and the arguments they have in common. */
#include "memctl/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A program that has one command alone knows the others by name. */
#ifdef VIEW
#define CARRY_OUT(id) NULL
#else
#define CARRY_OUT(id) cmd_##id
#endif

const struct command commands[] = {
#define COMMAND(id, words, help) { .name = #id, .arguments = (words), .sentence = (help), .carry_out = CARRY_OUT(id) },
#define LATER(id) { .name = #id },
#include "memctl/commands.def"
#undef COMMAND
#undef LATER
	{ .name = NULL },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* What the parsers of one command share. */
struct parsing {
	const struct command_usage *usage;
	struct command_words *words;
	void *own;
};

static void take_words(struct argp_state *state, const struct command_usage *u, struct command_words *w)
{
	w->word = state->argv + state->next;
	w->count = state->argc - state->next;
	state->next = state->argc;
	if (u->most >= 0 && w->count > u->most)
		argp_error(state, "too many arguments: '%s'", w->word[u->most]);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct parsing *p = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = p->usage->prints ? (void *)&p->words->output : p->own;
		if (p->usage->prints)
			state->child_inputs[1] = p->own;
		return 0;
	case ARGP_KEY_ARGS:
		take_words(state, p->usage, p->words);
		return 0;
	case ARGP_KEY_END:
		if (p->words->count < p->usage->least)
			argp_error(state, "%s", p->usage->missing);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void describe(const struct command_usage *u, char *buf, size_t size)
{
	const struct command *c = command_find(u->name);

	(void)snprintf(buf, size, "%c%s.%s%s", toupper((unsigned char)c->sentence[0]), c->sentence + 1,
		       u->more ? "\v" : "", u->more ? u->more : "");
}

/* argp takes its manners from the environment alone, and COMMAND is not to inherit them. */
static void parse_with_manners(const struct argp *argp, int argc, char **argv, bool in_order, struct parsing *p)
{
	static const char variable[] = "ARGP_HELP_FMT";
	bool ours = !getenv(variable);

	if (ours)
		(void)setenv(variable, "no-dup-args-note,rmargin=99", 1);
	(void)argp_parse(argp, argc, argv, in_order ? ARGP_IN_ORDER : 0, NULL, p);
	if (ours)
		(void)unsetenv(variable);
}

void command_parse(const struct command_usage *u, int argc, char **argv, void *own, struct command_words *ret)
{
	const struct argp own_argp = { .options = u->options, .parser = u->option };
	struct argp_child children[3] = { { .argp = &output_argp }, { .argp = &own_argp } };
	struct parsing p = { .usage = u, .words = ret, .own = own };
	char doc[2048], name[64];
	struct argp argp = {
		.parser = parse,
		.args_doc = command_find(u->name)->arguments,
		.doc = doc,
		.children = children,
	};

	if (!u->prints) {
		children[0] = children[1];
		children[1] = (struct argp_child){ 0 };
	}
	describe(u, doc, sizeof(doc));
	(void)snprintf(name, sizeof(name), "memctl %s", u->name);
	argv[0] = name; /* what argp's messages begin with */
	memset(ret, 0, sizeof(*ret));
	ret->word = argv + argc;
	parse_with_manners(&argp, argc, argv, u->in_order, &p);
}

struct memctl *command_open(const char *name)
{
	struct memctl *m = NULL;
	int err = memctl_open(NULL, 0, &m);

	if (err)
		(void)say_error(name, err);
	return m;
}
