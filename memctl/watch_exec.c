/* SPDX-License-Identifier: MIT */
/* memctl watch --exec: runs a command for an event. */
#include "memctl/watch.h"

#include "memctl/say.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLES 5

/* The environment with our variables behind it; those that an outer watch has set are left out. Not setenv: libmemctl's
 * thread may read the environment while it starts a daemon. The caller frees the array and its first VARIABLES. */
static char **environment(const struct watch_line *line)
{
	size_t n = 0, kept = VARIABLES;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + VARIABLES + 1, sizeof(*copy));
	if (!copy || asprintf(&copy[0], "MEMCTL_WATCH_TIME=%s", line->time) < 0 ||
	    asprintf(&copy[1], "MEMCTL_WATCH_GROUP=%s", line->group) < 0 ||
	    asprintf(&copy[2], "MEMCTL_WATCH_EVENT=%s", line->event) < 0 ||
	    asprintf(&copy[3], "MEMCTL_WATCH_FIRED=%llu", (unsigned long long)line->fired) < 0 ||
	    asprintf(&copy[4], "MEMCTL_WATCH_CURRENT=%llu", (unsigned long long)line->current) < 0)
		return NULL; /* the command ends as soon as it has said so */
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "MEMCTL_WATCH_", 13) != 0)
			copy[kept++] = environ[i];
	return copy;
}

static void free_environment(char **copy)
{
	for (size_t i = 0; i < VARIABLES; i++)
		free(copy[i]);
	free(copy);
}

static void judge(const char *command, int status)
{
	if (WIFSIGNALED(status))
		say_note("watch", "'%s' was ended by signal %d", command, WTERMSIG(status));
	else if (WEXITSTATUS(status))
		say_note("watch", "'%s' ended with status %d", command, WEXITSTATUS(status));
}

void watch_exec(const char *command, const struct watch_line *line)
{
	char shell[] = "/bin/sh", option[] = "-c";
	char *argv[] = { shell, option, (char *)(uintptr_t)command, NULL };
	char **envp = environment(line);
	int status, err;
	pid_t pid;

	err = envp ? posix_spawn(&pid, shell, NULL, NULL, argv, envp) : ENOMEM;
	if (envp)
		free_environment(envp);
	if (err) {
		say_note("watch", "cannot run '%s': %s", command, strerror(err));
		return;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return;
	judge(command, status);
}
