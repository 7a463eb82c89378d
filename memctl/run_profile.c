/* SPDX-License-Identifier: MIT */
/* memctl run --profile: the call sites of what was run. */
#include "memctl/run.h"

#include "accounting/units.h"
#include "memctl/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RATE_MAX (1u << 30)

/* The library wants plain bytes. */
static bool set_rate(const char *text)
{
	uint64_t bytes = 0;
	char number[24] = "1"; /* the default */

	if (text && (!*text || units_parse(text, NULL, 1, &bytes) || bytes == 0 || bytes > RATE_MAX))
		return false;
	if (text)
		(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)bytes);
	return setenv("MEMCTL_PROFILE", number, 1) == 0;
}

int run_profile_start(struct run_profile *p)
{
	struct timespec now;

	if (!p->asked)
		return 0;
	if (!set_rate(p->rate)) {
		(void)say_failed("run", "--profile-rate wants a size up to 1G, such as 64K, not '%s'", p->rate);
		return SAY_RUN_FAILED;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	p->since_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return 0;
}

/* Not in the group, nor with the libraries that COMMAND had. Standard output is COMMAND's alone. */
__attribute__((noreturn)) static void show(const struct run_profile *p, const char *group, const char *option,
					   const char *value)
{
	char since[48];
	const char *const argv[] = { "memctl", "profile", since, group, option, value, NULL };

	(void)snprintf(since, sizeof(since), "--since=%llu", (unsigned long long)p->since_ns);
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("MEMCTL_GROUP");
	(void)unsetenv("MEMCTL_PROFILE");
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	(void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(SAY_FAILED);
}

static void show_in_child(const struct run_profile *p, const char *group, const char *option, const char *value)
{
	pid_t pid = fork();

	if (pid == 0)
		show(p, group, option, value);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

void run_profile_write(const struct run_profile *p, const char *group, bool was_short)
{
	if (!p->asked)
		return;
	show_in_child(p, group, p->file ? "-o" : NULL, p->file);
	if (!p->file || !was_short)
		return;
	(void)fprintf(stderr, "memctl: %s: the largest call sites:\n", group);
	show_in_child(p, group, "--top", "10");
}
