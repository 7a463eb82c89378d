/* SPDX-License-Identifier: MIT */
/* memctl daemon: starts, stops or shows the daemon of the runtime directory. */
#include "memctl/command.h"
#include "memctl/connect.h"
#include "memctl/error.h"
#include "memctl/start.h"
#include "memctl/values.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define STOP_MS 10000 /* it writes nothing and waits for nobody, so this is plenty */

static const struct table_column columns[] = {
	{ "key", TABLE_TEXT, "what it says" },
	{ "value", TABLE_TEXT, "what it is worth" },
};

static const struct command_usage usage = {
	.name = "daemon",
	.prints = true,
	.least = 1,
	.most = 1,
	.missing = "start, stop or status is missing",
	.more = "A daemon started here stays; one that memctl started by itself ends when nobody "
		"needs it. Limits hold while none runs. status exits with 3 when none runs.",
};

static int start(const char *dir)
{
	int fd = connect_socket(dir);
	int err;

	if (fd >= 0) {
		say_note("daemon", "one runs already in %s (pid %d)", dir, (int)connect_peer(fd));
		(void)close(fd);
		return SAY_OK;
	}
	err = fd == -ENOTCONN ? start_daemon(dir, START_STAY) : fd;
	return err && err != -EBUSY ? say_error("daemon", err) : SAY_OK;
}

/* Ends the process and waits until it has gone. */
static int end_process(pid_t pid)
{
	struct pollfd wait = { .fd = pid > 0 ? pidfd_open(pid, 0) : -1, .events = POLLIN };
	int err = 0;

	if (wait.fd < 0)
		return error_set(-ESRCH, "the daemon's process cannot be seen from here");
	if (pidfd_send_signal(wait.fd, SIGTERM, NULL, 0))
		err = error_set(-errno, "cannot end the daemon (pid %d): %m", (int)pid);
	else if (poll(&wait, 1, STOP_MS) != 1)
		err = error_set(-ETIMEDOUT, "the daemon (pid %d) does not end; is it stopped?", (int)pid);
	(void)close(wait.fd);
	return err;
}

static int stop(const char *dir)
{
	int fd = connect_socket(dir);
	int err;

	if (fd == -ENOTCONN) {
		say_note("daemon", "none runs in %s", dir);
		return SAY_OK;
	}
	if (fd < 0)
		return say_error("daemon", fd);
	err = end_process(connect_peer(fd));
	(void)close(fd);
	return err ? say_error("daemon", err) : SAY_OK;
}

static int print(const struct values *v, const struct output *o)
{
	struct table *t;
	int bad;

	if (o->format == OUTPUT_JSON || o->format == OUTPUT_JSONL) {
		values_print_json(v, o->format == OUTPUT_JSONL);
		return 0;
	}
	if (o->format == OUTPUT_OPENMETRICS) {
		values_print_metrics(v, NULL);
		return 0;
	}
	t = table_new("daemon", columns, 2);
	for (size_t i = 0; i < v->n; i++) {
		table_text(t, v->row[i].value.key);
		values_cell(t, &v->row[i]);
	}
	table_set_plain(t);
	bad = table_print(t, "daemon", o);
	table_free(t);
	return bad;
}

static int status(const char *dir, const struct output *o)
{
	struct values v = { 0 };
	struct memctl *m;
	int err = memctl_open(dir, MEMCTL_NO_START, &m);

	if (err == -ENOTCONN) {
		(void)say_error("daemon", err);
		return SAY_NOT_RUNNING;
	}
	if (err)
		return say_error("daemon", err);
	err = memctl_status(m, values_keep, &v);
	memctl_close(m);
	err = err ? say_error("daemon", err) : print(&v, o);
	values_free(&v);
	return err ? err : output_finish("daemon");
}

int cmd_daemon(int argc, char **argv)
{
	char dir[CONNECT_DIR_MAX];
	struct command_words w;
	int err;

	command_parse(&usage, argc, argv, NULL, &w);
	err = connect_find_dir(NULL, dir);
	if (err)
		return say_error("daemon", err);
	if (strcmp(w.word[0], "start") == 0)
		return start(dir);
	if (strcmp(w.word[0], "stop") == 0)
		return stop(dir);
	if (strcmp(w.word[0], "status") == 0)
		return status(dir, &w.output);
	(void)say_failed("daemon", "'%s' is not start, stop or status", w.word[0]);
	return SAY_USAGE;
}
