/* SPDX-License-Identifier: MIT */
/* Calls that start a process or replace its image: the child joins, the old image is settled.
 *
 * exec replaces what is charged, but only once it has succeeded: the member is marked as being about to
 * exec, and the new image settles what the old one held when it starts (self.c). Should the new image
 * carry no preload, the daemon sees the mark and does it. vfork children run in their parent's memory:
 * nothing here writes to what the parent would read but the stack.
 */
#include "accounting/elf.h"
#include "preload/environment.h"
#include "preload/export.h"
#include "preload/helper.h"
#include "preload/real.h"
#include "preload/self.h"

#include <alloca.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

extern pid_t _Fork(void);
extern int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags);

REAL(_Fork)
REAL(execve)
REAL(execvpe)
REAL(fexecve)
REAL(execveat)
REAL(posix_spawn)
REAL(posix_spawnp)

#define PATH_BUF 512

static bool can_carry(enum elf_kind kind)
{
	return (kind == ELF_PRELOADABLE || kind == ELF_NOT_ELF) && environment_is_reachable();
}

/* Before an exec call. A vfork child is no member yet. It becomes an observed one here, while it still knows
 * its pid: an image that can carry us takes the slot over when it starts, another one stays observed, and
 * in between its group is not without members though its parent may end at once. */
static void begin_exec(void)
{
	if (self_is_own_process())
		self_exec_begin();
	else
		self_observe(0);
}

static int failed(int ret)
{
	int saved = errno;

	self_exec_failed();
	errno = saved;
	return ret;
}

/* The copy lives on this frame: it must be a macro's caller that makes the exec call. */
#define COPY_ENVIRONMENT(copy, envp, carries) \
	struct environment_copy copy; \
	copy.entries = environment_entries(envp); \
	copy.env = alloca(copy.entries * sizeof(char *)); \
	environment_fill(&copy, envp, carries)

static int exec_path(const char *path, char *const argv[], char *const envp[])
{
	bool carries = can_carry(elf_classify(path));

	COPY_ENVIRONMENT(copy, envp, carries);
	begin_exec();
	return failed(real_execve() ? real_execve()(path, argv, copy.env) : (errno = ENOSYS, -1));
}

static int exec_search(const char *file, char *const argv[], char *const envp[])
{
	char buf[PATH_BUF];
	const char *path = elf_search(file, getenv("PATH"), buf, sizeof(buf));
	bool carries = !path || can_carry(elf_classify(path));

	COPY_ENVIRONMENT(copy, envp, carries);
	begin_exec();
	return failed(real_execvpe() ? real_execvpe()(file, argv, copy.env) : (errno = ENOSYS, -1));
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec_path(path, argv, envp);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return exec_path(path, argv, environ);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return exec_search(file, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return exec_search(file, argv, envp);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	bool carries = can_carry(elf_classify_fd(fd));

	COPY_ENVIRONMENT(copy, envp, carries);
	begin_exec();
	return failed(real_fexecve() ? real_fexecve()(fd, argv, copy.env) : (errno = ENOSYS, -1));
}

/* Relative to a directory: the file is looked at by way of /proc, which a chroot may lack; then the
 * preload stays, which is right for most programs. */
EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	bool carries = path[0] != '/' || can_carry(elf_classify(path));

	COPY_ENVIRONMENT(copy, envp, carries);
	begin_exec();
	return failed(real_execveat() ? real_execveat()(dirfd, path, argv, copy.env, flags) : (errno = ENOSYS, -1));
}

/* ---- the forms with a list of arguments ----------------------------------------------------------------- */

/* The list is walked twice: to count, and to copy onto the stack of the call. */
#define COPY_ARGUMENTS(argv, first, args) \
	size_t argv##_n = 1; \
	va_start(args, first); \
	while (va_arg(args, char *)) \
		argv##_n++; \
	va_end(args); \
	char **argv = alloca((argv##_n + 1) * sizeof(char *)); \
	argv[0] = (char *)(uintptr_t)first; \
	va_start(args, first); \
	for (size_t i = 1; i <= argv##_n; i++) \
	argv[i] = va_arg(args, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
	va_list args;

	COPY_ARGUMENTS(argv, first, args);
	va_end(args);
	return exec_path(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list args;

	COPY_ARGUMENTS(argv, first, args);
	va_end(args);
	return exec_search(file, argv, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	va_list args;
	char *const *envp;

	COPY_ARGUMENTS(argv, first, args);
	envp = va_arg(args, char *const *);
	va_end(args);
	return exec_path(path, argv, envp);
}

/* ---- posix_spawn ------------------------------------------------------------------------------------------ */

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
			   char *const[], char *const[]);

/* A child that cannot carry us is registered by its parent, which alone knows its pid. */
static int spawn(spawn_function *real, bool carries, pid_t *ret_pid, const char *file,
		 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[],
		 char *const envp[])
{
	pid_t pid = 0;
	int err;

	COPY_ENVIRONMENT(copy, envp, carries);
	if (!real)
		return ENOSYS;
	err = real(&pid, file, actions, attributes, argv, copy.env);
	if (err)
		return err;
	if (!carries)
		self_observe((uint32_t)pid);
	if (ret_pid)
		*ret_pid = pid;
	return 0;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	return spawn(real_posix_spawn(), can_carry(elf_classify(path)), pid, path, actions, attributes, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	char buf[PATH_BUF];
	const char *path = elf_search(file, getenv("PATH"), buf, sizeof(buf));

	return spawn(real_posix_spawnp(), !path || can_carry(elf_classify(path)), pid, file, actions, attributes, argv,
		     envp);
}

/* ---- fork --------------------------------------------------------------------------------------------------- */

EXPORT pid_t _Fork(void)
{
	pid_t pid;

	if (!real__Fork()) {
		errno = ENOSYS;
		return -1;
	}
	helper_hold();
	pid = real__Fork()();
	if (pid == 0)
		self_after_fork();
	else
		helper_release();
	return pid;
}
