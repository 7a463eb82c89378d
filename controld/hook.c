/* SPDX-License-Identifier: MIT */
/* A command that the daemon runs. */
#include "controld/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLES_MAX 4096

struct hook {
	pid_t pid; /* 0: it has ended */
	uint64_t end_ns;
	int status;
};

static bool is_inherited(const char *variable)
{
	return strncmp(variable, "LD_PRELOAD=", 11) != 0 && strncmp(variable, "MEMCTL_", 7) != 0;
}

/* To be freed; the strings are not copied. */
static const char **gather(const char *const *facts)
{
	const char **all = calloc(VARIABLES_MAX + 1, sizeof(*all));
	size_t n = 0;

	for (; all && *facts && n < VARIABLES_MAX; facts++)
		all[n++] = *facts;
	for (char **at = environ; all && at && *at && n < VARIABLES_MAX; at++)
		if (is_inherited(*at))
			all[n++] = *at;
	return all;
}

/* The daemon blocks signals for its loop, and ignores some: the command shall not. */
static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, all;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setsigmask(attributes, &none);
	(void)posix_spawnattr_setsigdefault(attributes, &all);
	(void)posix_spawnattr_setpgroup(attributes, 0);
	return posix_spawnattr_setflags(attributes,
					POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int spawn(const char *command, const char *const *environment, pid_t *ret)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int err;

	if (posix_spawn_file_actions_init(&files))
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes)) {
		(void)posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	(void)posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&files, 1, 2);
	(void)set_signals(&attributes);
	err = posix_spawn(ret, "/bin/sh", &files, &attributes, argv, (char *const *)(uintptr_t)environment);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&files);
	return -err;
}

int hook_start(const char *command, const char *const *facts, uint64_t now_ns, struct hook **ret)
{
	const char **environment = gather(facts);
	struct hook *h = calloc(1, sizeof(*h));
	int err = environment && h ? spawn(command, environment, &h->pid) : -ENOMEM;

	free(environment);
	if (err) {
		free(h);
		return err;
	}
	h->end_ns = now_ns + HOOK_LIMIT_NS;
	*ret = h;
	return 0;
}

static void end(struct hook *h)
{
	(void)kill(-h->pid, SIGKILL);
	while (waitpid(h->pid, &h->status, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
	h->status = -1;
}

bool hook_is_over(struct hook *h, uint64_t now_ns)
{
	pid_t got = h->pid ? waitpid(h->pid, &h->status, WNOHANG) : 0;

	if (got)
		h->pid = 0;
	if (h->pid && now_ns >= h->end_ns)
		end(h);
	return h->pid == 0;
}

int hook_status(const struct hook *h)
{
	return h->status;
}

void hook_free(struct hook *h)
{
	if (h && h->pid)
		end(h);
	free(h);
}
