/* SPDX-License-Identifier: MIT */
/* memctl doctor: says whether a program can be accounted in full, and what to do if not. */
#include "memctl/command.h"
#include "memctl/doctor.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_IN_FULL 4 /* exit status */

enum { KEY_JSON = 0x300 };

static const struct argp_option options[] = {
	{ "json", KEY_JSON, NULL, 0, "One JSON object", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *is_json = state->input;

	(void)arg;
	if (key != KEY_JSON)
		return ARGP_ERR_UNKNOWN;
	*is_json = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "doctor",
	.options = options,
	.option = option,
	.in_order = true,
	.least = 1,
	.most = -1,
	.missing = "COMMAND is missing: a program, or the number of a running process",
	.more = "Nothing is run. Exits with 0 when all memory can be accounted and refused, and "
		"with 4 when not.",
};

static const char *const grades[] = { "full", "partly", "observed", "not" };
static const char *const verdicts[] = {
	"its memory is accounted in full, and it is refused what is above a limit",
	"most of its memory is accounted as it is taken; some is only found by looking",
	"it can only be observed: its memory is counted, but limits do not hold it back",
	"it cannot be told",
};

static pid_t pid_of(const char *word)
{
	char *end;
	long pid = strtol(word, &end, 10);

	return isdigit((unsigned char)*word) && !*end && pid > 0 && pid < 1 << 30 ? (pid_t)pid : 0;
}

/* Words between columns 2 and 78, below a sign. */
static void print_wrapped(const char *sign, const char *text)
{
	size_t at = 4;

	(void)printf("  %s", sign);
	while (*text) {
		size_t n = strcspn(text, " ");

		if (at + n + 1 > 78) {
			(void)printf("\n    ");
			at = 4;
		}
		(void)printf("%s%.*s", at > 4 ? " " : "", (int)n, text);
		at += n + (at > 4);
		text += n + strspn(text + n, " ");
	}
	(void)putchar('\n');
}

static void print_text(const struct doctor *d, const char *command)
{
	static const char *const signs[] = { "  ", "? ", "! ", "! " };

	(void)printf("%s%s%s%s: %s\n", command, strcmp(command, d->path) == 0 ? "" : " (",
		     strcmp(command, d->path) == 0 ? "" : d->path, strcmp(command, d->path) == 0 ? "" : ")",
		     verdicts[d->grade]);
	for (unsigned i = 0; i < d->findings; i++) {
		print_wrapped(signs[d->finding[i].grade], d->finding[i].found);
		if (*d->finding[i].advice)
			print_wrapped("> ", d->finding[i].advice);
	}
}

static void print_json(const struct doctor *d, const char *command)
{
	json_t *findings = json_array();
	json_t *whole;

	for (unsigned i = 0; i < d->findings; i++)
		(void)json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s}", "name", d->finding[i].name,
								"grade", grades[d->finding[i].grade], "found",
								d->finding[i].found, "advice", d->finding[i].advice));
	whole = json_pack("{s:s, s:s, s:s, s:o}", "command", command, "path", d->path, "accounted", grades[d->grade],
			  "findings", findings);
	(void)json_dumpf(whole, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(whole);
}

int cmd_doctor(int argc, char **argv)
{
	static struct doctor d;
	struct command_words w;
	bool is_json = false;
	pid_t pid;

	command_parse(&usage, argc, argv, &is_json, &w);
	pid = pid_of(w.word[0]);
	if (pid)
		doctor_examine_process(pid, &d);
	else
		doctor_examine(w.word[0], &d);
	if (d.grade == DOCTOR_NOT)
		return say_failed("doctor", "%s", d.finding[d.findings - 1].found);
	(is_json ? print_json : print_text)(&d, w.word[0]);
	return d.grade == DOCTOR_FINE ? output_finish("doctor") : output_finish("doctor") ? SAY_FAILED : NOT_IN_FULL;
}
