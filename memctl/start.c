/* SPDX-License-Identifier: MIT */
/* Starting the daemon from whoever needs it.
 *
 * The caller may be any program with any descriptors, signal handlers and preloads, so the daemon
 * gets none of them: a session of its own, no descriptors but the one for its last words, no
 * LD_PRELOAD, no group. It goes to the background by itself; what we start ends when it is ready,
 * or has failed.
 */
#include "memctl/start.h"

#include "memctl/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_BUSY 3	   /* memctld(8): another one serves the directory */
#define LAST_WORDS_MS 1000 /* for the sentence of a daemon that failed */

static char *daemon_path(void)
{
	static char installed[] = PKGLIBEXECDIR "/memctld";
	char *path = secure_getenv("MEMCTL_DAEMON");

	return path && *path ? path : installed;
}

static bool is_for_daemon(const char *variable)
{
	static const char *const others[] = {
		"LD_PRELOAD=",	  "MEMCTL_GROUP=",		     /* would make it a member */
		"NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", /* a service's: it is not that service */
		"LISTEN_PID=",	  "LISTEN_FDS=",   "LISTEN_FDNAMES=",
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strncmp(variable, others[i], strlen(others[i])) == 0)
			return false;
	return true;
}

/* The environment without what is the caller's own. The caller frees the array alone. */
static char **daemon_environment(void)
{
	size_t n = 0, kept = 0;
	char **copy;

	while (environ && environ[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		if (is_for_daemon(environ[i]))
			copy[kept++] = environ[i];
	return copy;
}

static int set_files(posix_spawn_file_actions_t *files, int words)
{
	int err = posix_spawn_file_actions_adddup2(files, words, STDERR_FILENO);

	if (!err)
		err = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	if (!err)
		err = posix_spawn_file_actions_adddup2(files, STDIN_FILENO, STDOUT_FILENO);
	if (!err)
		err = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	return err;
}

static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int err;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	err = posix_spawnattr_setsigmask(attributes, &none);
	if (!err)
		err = posix_spawnattr_setsigdefault(attributes, &all);
	if (!err)
		err = posix_spawnattr_setflags(attributes,
					       POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return err;
}

static int spawn(char **args, int words, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	char **environment = daemon_environment();
	int err = environment ? 0 : ENOMEM;

	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawnattr_init(&attributes);
	if (!err)
		err = set_files(&files, words);
	if (!err)
		err = set_attributes(&attributes);
	if (!err)
		err = posix_spawn(ret, args[0], &files, &attributes, args, environment);
	(void)posix_spawn_file_actions_destroy(&files);
	(void)posix_spawnattr_destroy(&attributes);
	free(environment);
	return -err;
}

/* The first line the daemon said, without its own name in front. */
static const char *read_words(int fd, char *text, size_t size)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	size_t n = 0;
	const char *name;

	while (n < size - 1 && poll(&wait, 1, LAST_WORDS_MS) > 0) {
		ssize_t got = read(fd, text + n, size - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	name = strstr(text, "memctld: ");
	return name ? name + strlen("memctld: ") : text;
}

/* A host that has its children reaped by others never learns: then whoever connects finds out. */
static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_BUSY;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int judge(const char *dir, int status, int words)
{
	char text[512];
	const char *why;

	if (status == EXIT_SUCCESS)
		return 0;
	if (status == EXIT_BUSY)
		return error_set(-EBUSY, "another daemon serves %s", dir);
	why = read_words(words, text, sizeof(text));
	return error_set(-ENOTCONN, "the daemon did not start: %s", *why ? why : "it ended without a word");
}

int start_daemon(const char *dir, unsigned idle_seconds)
{
	char in[128], idle[32];
	char *args[] = { daemon_path(), in, idle_seconds == START_STAY ? NULL : idle, NULL };
	int words[2];
	pid_t pid;
	int err;

	(void)snprintf(in, sizeof(in), "--dir=%s", dir);
	(void)snprintf(idle, sizeof(idle), "--idle-exit=%u", idle_seconds);
	if (pipe2(words, O_CLOEXEC))
		return error_set(-errno, "cannot make a pipe: %m");
	err = spawn(args, words[1], &pid);
	(void)close(words[1]);
	if (err)
		err = error_set(-ENOTCONN, "cannot start the daemon %s: %s", args[0], strerror(-err));
	else
		err = judge(dir, wait_for(pid), words[0]);
	(void)close(words[0]);
	return err;
}
