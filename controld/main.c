/* SPDX-License-Identifier: MIT */
/* memctld: arguments, going to the background, telling who waits that it is ready. */
#include "accounting/check.h"
#include "controld/daemon.h"
#include "controld/keeper.h"
#include "controld/log.h"
#include "controld/loop.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Another daemon serves the directory: whoever starts us only wants one to be there. */
#define EXIT_BUSY 3
#define DESCRIPTORS 131072

/* What --ready-fd and the waiting parent are told; nothing: it failed. */
enum { TOLD_READY = '\n', TOLD_BUSY = 'b' };

struct settings {
	char dir[PATH_MAX];
	double idle_exit;
	bool foreground;
	bool allow_members;
	int ready_fd;
};

enum { OPTION_DIR = 'd', OPTION_FOREGROUND = 'f', OPTION_IDLE = 0x100, OPTION_READY, OPTION_ALLOW };

static const struct argp_option options[] = {
	{ "dir", OPTION_DIR, "DIR", 0,
	  "Runtime directory (default: $MEMCTL_DIR, else /run/memctl for root, else "
	  "/dev/shm/memctl-UID)",
	  0 },
	{ "foreground", OPTION_FOREGROUND, NULL, 0, "Stay in the foreground and log to stderr", 0 },
	{ "idle-exit", OPTION_IDLE, "SECONDS", 0, "End after so long without members, groups and connections", 0 },
	{ "ready-fd", OPTION_READY, "N", 0,
	  "Do not fork; write a newline to descriptor N when ready ('b': another daemon serves "
	  "DIR)",
	  0 },
	{ "allow-members", OPTION_ALLOW, NULL, 0, "Let members of a group set the group's keys", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 },
};

const char *argp_program_version = "memctld " PACKAGE_VERSION;

static void set_dir(struct argp_state *state, struct settings *s, const char *dir)
{
	char here[PATH_MAX];

	if (dir[0] == '/')
		(void)snprintf(s->dir, sizeof(s->dir), "%s", dir);
	else if (!getcwd(here, sizeof(here)) ||
		 snprintf(s->dir, sizeof(s->dir), "%s/%s", here, dir) >= (int)sizeof(s->dir))
		argp_error(state, "cannot tell where %s is: give an absolute path", dir);
}

static void parse_idle(struct argp_state *state, struct settings *s, const char *text)
{
	char *end;

	s->idle_exit = strtod(text, &end);
	if (end == text || *end || !(s->idle_exit > 0) || s->idle_exit > 1e9)
		argp_error(state, "--idle-exit wants a number of seconds above 0: %s", text);
}

static void parse_ready(struct argp_state *state, struct settings *s, const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 0 || n > INT_MAX || fcntl((int)n, F_SETFD, FD_CLOEXEC))
		argp_error(state, "--ready-fd wants an open descriptor: %s", text);
	s->ready_fd = (int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct settings *s = state->input;

	switch (key) {
	case OPTION_DIR:
		set_dir(state, s, arg);
		break;
	case OPTION_FOREGROUND:
		s->foreground = true;
		break;
	case OPTION_IDLE:
		parse_idle(state, s, arg);
		break;
	case OPTION_READY:
		parse_ready(state, s, arg);
		break;
	case OPTION_ALLOW:
		s->allow_members = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "no such argument: %s", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* A daemon that is not sure of its own state stops; a fresh one rebuilds it from the segment. */
static void stop_on_failure(const char *what, const char *file, int line)
{
	log_line(LOG_CRIT, "check failed: %s at %s:%d: stopping", what, file, line);
	abort();
}

/* One pidfd a member, one eventfd a subscriber. Who may sets himself the limit that these come to. */
static void raise_descriptor_limit(void)
{
	static const struct rlimit wanted = { DESCRIPTORS, DESCRIPTORS };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) ||
	    (limit.rlim_max < DESCRIPTORS && setrlimit(RLIMIT_NOFILE, &wanted) == 0))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* The parent waits for the child's readiness and exits with what became of it. */
static int become_background(void)
{
	int pipe_fd[2];
	char ready = 0;
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		(void)close(pipe_fd[1]);
		if (read(pipe_fd[0], &ready, 1) != 1)
			_exit(EXIT_FAILURE);
		_exit(ready == TOLD_BUSY ? EXIT_BUSY : EXIT_SUCCESS);
	}
	(void)close(pipe_fd[0]);
	(void)setsid();
	return pipe_fd[1];
}

/* Whoever reads our caller's output must not wait for us. */
static void detach_output(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_journal();
	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		(void)close(null);
	(void)chdir("/");
}

static void tell(int fd, int told)
{
	char what = (char)told;

	if (fd < 0)
		return;
	(void)!write(fd, &what, 1); /* nobody may be there any more */
	(void)close(fd);
}

static void tell_ready(const struct settings *s, int parent)
{
	if (!s->foreground)
		detach_output();
	else
		log_find_journal();
	tell(s->ready_fd, TOLD_READY);
	tell(parent, TOLD_READY);
	(void)sd_notifyf(0, "READY=1\nSTATUS=Serving %s", s->dir);
}

/* After the sentence, which must be out before the parent ends. */
static void tell_failed(const struct settings *s, int parent, int err)
{
	if (err != -EBUSY)
		return;
	tell(s->ready_fd, TOLD_BUSY);
	tell(parent, TOLD_BUSY);
}

static int serve(const struct settings *s, int parent)
{
	struct daemon d = {
		.world = &world_real,
		.idle_exit_ns = (uint64_t)(s->idle_exit * 1e9),
		.allow_members = s->allow_members,
	};
	struct complaint why;
	int err = daemon_open(&d, s->dir, &why);

	if (err) {
		log_line(LOG_ERR, "%s", why.text);
		tell_failed(s, parent, err);
	} else {
		loop_rearm(&d);
		tell_ready(s, parent);
		err = loop_run(&d);
		(void)sd_notify(0, "STOPPING=1");
	}
	daemon_close(&d);
	return err;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Keeps the groups, limits and members of memctl in one runtime directory.",
	};
	struct settings s = { .ready_fd = -1 };
	int parent = -1;
	int err;

	if (argc == 2 && strcmp(argv[1], "--keep-connections") == 0) { /* from keeper.c, not for users */
		keeper_run(KEEPER_LISTENING);
		return EXIT_SUCCESS;
	}
	rundir_default(s.dir, sizeof(s.dir));
	(void)argp_parse(&argp, argc, argv, 0, NULL, &s);
	check_on_failure = stop_on_failure;
	(void)umask(077);
	raise_descriptor_limit();
	if (!s.foreground && s.ready_fd < 0) {
		parent = become_background();
		if (parent < 0) {
			log_line(LOG_ERR, "cannot go to the background: %s", strerror(-parent));
			return 1;
		}
	}
	err = serve(&s, parent);
	return err == -EBUSY ? EXIT_BUSY : err ? EXIT_FAILURE : EXIT_SUCCESS;
}
