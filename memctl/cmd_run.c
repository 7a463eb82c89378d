/* SPDX-License-Identifier: MIT */
/* memctl run: runs a program in a group. */
#include "memctl/command.h"
#include "memctl/run.h"

#include "accounting/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_MAX 64

enum {
	KEY_MIN = 0x300,
	KEY_LOW,
	KEY_HIGH,
	KEY_MAX,
	KEY_SOFT,
	KEY_SWAP_MAX,
	KEY_DEVICE_MAX,
	KEY_SET,
	KEY_OOM,
	KEY_NEED,
	KEY_KEEP,
	KEY_REPORT,
	KEY_JSON,
	KEY_PROFILE,
	KEY_PROFILE_RATE,
};

static const struct argp_option options[] = {
	{ "group", 'g', "GROUP", 0, "Run in this group; made if missing, else used as it is", 1 },
	{ "max", KEY_MAX, "SIZE", 0, "memory.max: charges above it are refused", 2 },
	{ "high", KEY_HIGH, "SIZE", 0, "memory.high", 2 },
	{ "low", KEY_LOW, "SIZE", 0, "memory.low", 2 },
	{ "min", KEY_MIN, "SIZE", 0, "memory.min", 2 },
	{ "soft", KEY_SOFT, "SIZE", 0, "memory.soft", 2 },
	{ "swap-max", KEY_SWAP_MAX, "SIZE", 0, "memory.swap.max of the group", 2 },
	{ "device-max", KEY_DEVICE_MAX, "[REGION=]SIZE", 0, "dmem.max of one device, or of all", 2 },
	{ "set", KEY_SET, "KEY=VALUE", 0, "Any other key; may be repeated", 2 },
	{ "oom", KEY_OOM, "POLICY", 0, "memory.oom.policy: fail, kill or wait", 2 },
	{ "need", KEY_NEED, "SIZE", 0,
	  "Wait until so much is free in the group and all above it, and keep it for COMMAND", 3 },
	{ "keep", KEY_KEEP, NULL, 0, "Keep the group that was made", 3 },
	{ "report", KEY_REPORT, "FILE", OPTION_ARG_OPTIONAL, "Print a report at the end (to stderr)", 4 },
	{ "json", KEY_JSON, NULL, 0, "The report as JSON", 4 },
	{ "profile", KEY_PROFILE, "FILE", OPTION_ARG_OPTIONAL,
	  "Record which code asks for memory; at the end print it (to stderr), or write FILE (.svg, .json, .pb.gz, "
	  ".folded, "
	  "else text)",
	  4 },
	{ "profile-rate", KEY_PROFILE_RATE, "SIZE", 0, "One sample every SIZE bytes on average (512K)", 4 },
	{ 0 },
};

/* What was asked for. */
struct wish {
	const char *group; /* NULL: a transient one */
	char *setting[SETTINGS_MAX + 1];
	size_t settings;
	uint64_t need; /* bytes; 0: none */
	bool keep;
	struct run_report *report;
	struct run_profile profile;
};

static void add_setting(struct wish *w, const char *key, const char *value, const struct argp_state *state)
{
	char *text;

	if (w->settings == SETTINGS_MAX)
		argp_error(state, "more than %d settings", SETTINGS_MAX);
	else if (asprintf(&text, "%s%s%s", key, *key ? "=" : "", value) < 0)
		argp_error(state, "no memory left");
	else
		w->setting[w->settings++] = text;
}

static void set_need(struct wish *w, const char *text, const struct argp_state *state)
{
	uint64_t pages = 0;

	if (!*text || units_parse(text, NULL, MC_PAGE_SIZE, &pages) || pages == PAGES_MAX)
		argp_error(state, "--need wants a size such as 512M, not '%s'", text);
	w->need = pages * MC_PAGE_SIZE;
}

static bool is_limit(int key, const char **ret_name)
{
	static const char *const names[] = {
		[KEY_MIN - KEY_MIN] = "memory.min",   [KEY_LOW - KEY_MIN] = "memory.low",
		[KEY_HIGH - KEY_MIN] = "memory.high", [KEY_MAX - KEY_MIN] = "memory.max",
		[KEY_SOFT - KEY_MIN] = "memory.soft", [KEY_SWAP_MAX - KEY_MIN] = "memory.swap.max",
	};

	if (key < KEY_MIN || key > KEY_SWAP_MAX)
		return false;
	*ret_name = names[key - KEY_MIN];
	return true;
}

/* REGION=SIZE is "REGION SIZE" of the key; a name of a region has no '='. */
static void add_device_max(struct wish *w, const char *text, const struct argp_state *state)
{
	const char *sign = strchr(text, '=');
	char *value;

	if (asprintf(&value, "%.*s %s", sign ? (int)(sign - text) : 3, sign ? text : "all", sign ? sign + 1 : text) <
	    0) {
		argp_error(state, "no memory left");
		return;
	}
	add_setting(w, "dmem.max", value, state);
	free(value);
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;
	const char *limit;

	if (is_limit(key, &limit)) {
		add_setting(w, limit, arg, state);
		return 0;
	}
	switch (key) {
	case 'g':
		w->group = arg;
		return 0;
	case KEY_DEVICE_MAX:
		add_device_max(w, arg, state);
		return 0;
	case KEY_SET:
		add_setting(w, "", arg, state);
		return 0;
	case KEY_OOM:
		add_setting(w, "memory.oom.policy", arg, state);
		return 0;
	case KEY_NEED:
		set_need(w, arg, state);
		return 0;
	case KEY_KEEP:
		w->keep = true;
		return 0;
	case KEY_REPORT:
		w->report->asked = true;
		w->report->file = arg;
		return 0;
	case KEY_JSON:
		w->report->asked = w->report->json = true;
		return 0;
	case KEY_PROFILE:
		w->profile.asked = true;
		w->profile.file = arg;
		return 0;
	case KEY_PROFILE_RATE:
		w->profile.asked = true;
		w->profile.rate = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "run",
	.options = options,
	.option = option,
	.in_order = true,
	.least = 1,
	.most = -1,
	.missing = "COMMAND is missing",
	.more = "Without -g the group is /run-PID, and goes with the last process in it. Exits "
		"with COMMAND's status, 128+n after signal n, 125 when memctl itself failed, 126 "
		"when COMMAND cannot be executed, 127 when it is not found. Standard output is "
		"COMMAND's alone.",
};

static int fail(int err)
{
	(void)say_error("run", err);
	return SAY_RUN_FAILED;
}

/* The group goes now if nothing is left that could be in it; else the daemon removes it with its last
 * member. */
static void leave(struct memctl *m, const struct run_group *g)
{
	if (g->transient && !run_orphans_are_left())
		(void)memctl_remove(m, g->path, MEMCTL_RECURSIVE);
	memctl_close(m);
}

static int run_in(struct memctl *m, struct run_target *t, const struct run_group *g, struct run_report *r,
		  struct run_keep *keep, struct run_profile *profile)
{
	struct run_child child;
	int status;

	t->on_device = run_device_is_wanted(m, g->path);
	status = run_target_set_environment(t, memctl_dir(m), g->path);
	if (!status)
		status = run_profile_start(profile);
	if (!status) {
		run_report_read(m, g->path, &r->before);
		status = run_child_start(t, memctl_dir(m), g->path, &child);
	}
	if (status)
		return status;
	run_child_wait(&child, keep);
	run_report_read(m, g->path, &r->after);
	r->target = t;
	r->group = g;
	r->child = &child;
	run_child_settle(&child, m, g->path);
	run_orphans_settle(m);
	run_report_print(m, r);
	run_profile_write(profile, g->path, run_report_was_short(r) && (!r->json || r->file)); /* JSON stays alone */
	return child.status;
}

static int run_for(struct memctl *m, struct wish *w, struct run_target *t)
{
	struct run_keep keep = { 0 };
	struct run_group group;
	int err = run_group_make(m, w->group, w->keep, (const char *const *)w->setting, &group);
	int status;

	if (err) {
		memctl_close(m);
		return fail(err);
	}
	err = w->need ? run_keep_wait(m, &group, w->need, &keep) : 0;
	status = err ? fail(err) : run_in(m, t, &group, w->report, &keep, &w->profile);
	run_keep_close(&keep);
	leave(m, &group);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_report report = { 0 };
	struct wish w = { .report = &report };
	struct command_words words;
	struct run_target target;
	struct memctl *m;
	int status;

	argp_err_exit_status = SAY_RUN_FAILED;
	command_parse(&usage, argc, argv, &w, &words);
	status = run_target_find(words.word, &target);
	if (!status && !run_report_can_be_written(&report)) {
		(void)say_failed("run", "cannot write the report to %s: %m", report.file);
		status = SAY_RUN_FAILED;
	}
	if (!status) {
		m = command_open("run");
		status = m ? run_for(m, &w, &target) : SAY_RUN_FAILED;
	}
	for (size_t i = 0; i < w.settings; i++)
		free(w.setting[i]);
	return status;
}
