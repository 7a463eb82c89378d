/* SPDX-License-Identifier: MIT */
/* The runtime directory. */
#include "controld/rundir.h"

#include "accounting/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void rundir_default(char *ret_path, size_t size)
{
	const char *named = getenv("MEMCTL_DIR");

	if (named && *named)
		(void)snprintf(ret_path, size, "%s", named);
	else if (geteuid() == 0)
		(void)snprintf(ret_path, size, "/run/memctl");
	else
		(void)snprintf(ret_path, size, "/dev/shm/memctl-%u", (unsigned)geteuid());
}

static int make(const char *path, struct complaint *why)
{
	if (mkdir(path, 0700) == 0)
		return chmod(path, 0700) ? complain(why, -errno, "cannot make %s private: %m", path) : 0;
	if (errno == EEXIST)
		return 0;
	return complain(why, -errno, "cannot make the directory %s: %m; name another with --dir", path);
}

static int open_checked(const char *path, struct complaint *why)
{
	int fd = segment_open_dir(path);

	if (fd >= 0)
		return fd;
	switch (fd) {
	case -EPERM:
		return complain(why, fd, "%s belongs to somebody else: name another with --dir", path);
	case -EACCES:
		return complain(why, fd, "%s is open to others: chmod 700 it, or name another with --dir", path);
	case -ENOTDIR:
	case -ELOOP:
		return complain(why, fd, "%s is not a directory, or a link: name another with --dir", path);
	default:
		return complain(why, fd, "cannot open the directory %s: %s", path, strerror(-fd));
	}
}

static int read_pid(int dirfd)
{
	char text[16] = "";
	int fd = openat(dirfd, RUNDIR_PID, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	(void)close(fd);
	return atoi(text);
}

/* The one who had the lock may have removed the file on its way out: then lock the next one. */
static int lock(int dirfd)
{
	struct stat opened, named;

	for (;;) {
		int fd = openat(dirfd, RUNDIR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			int err = errno == EWOULDBLOCK ? -EBUSY : -errno;

			(void)close(fd);
			return err;
		}
		if (fstat(fd, &opened) == 0 && fstatat(dirfd, RUNDIR_LOCK, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    opened.st_ino == named.st_ino)
			return fd;
		(void)close(fd);
	}
}

static int lock_or_say(int dirfd, const char *path, struct complaint *why)
{
	int fd = lock(dirfd);

	if (fd == -EBUSY)
		return complain(why, fd, "a daemon already serves %s (pid %d)", path, read_pid(dirfd));
	if (fd < 0)
		return complain(why, fd, "cannot lock %s/%s: %s", path, RUNDIR_LOCK, strerror(-fd));
	return fd;
}

int rundir_open(const char *path, struct rundir *ret, struct complaint *why)
{
	struct rundir r = { .lock = -1 };
	struct stat st;
	int dirfd, err;

	if (strlen(path) >= sizeof(r.path) || path[0] != '/')
		return complain(why, -ENAMETOOLONG, "the directory must be an absolute path of less than %zu bytes: %s",
				sizeof(r.path), path);
	strcpy(r.path, path);
	err = make(path, why);
	if (err)
		return err;
	dirfd = open_checked(path, why);
	if (dirfd < 0)
		return dirfd;
	(void)fstat(dirfd, &st);
	r.device = st.st_dev;
	r.inode = st.st_ino;
	r.lock = lock_or_say(dirfd, path, why);
	(void)close(dirfd);
	if (r.lock < 0)
		return r.lock;
	*ret = r;
	return 0;
}

static void name_in(const struct rundir *r, const char *name, char *ret_path, size_t size)
{
	(void)snprintf(ret_path, size, "%s/%s", r->path, name);
}

int rundir_write_pid(const struct rundir *r, struct complaint *why)
{
	char path[160], text[16];
	int fd;
	ssize_t n;

	name_in(r, RUNDIR_PID, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return complain(why, -errno, "cannot write %s: %m", path);
	n = write(fd, text, (size_t)snprintf(text, sizeof(text), "%d\n", (int)getpid()));
	(void)close(fd);
	return n > 0 ? 0 : complain(why, -ENOSPC, "cannot write %s: the file system is full", path);
}

bool rundir_has(const struct rundir *r, const char *name)
{
	char path[160];
	struct stat st;

	name_in(r, name, path, sizeof(path));
	return lstat(path, &st) == 0;
}

bool rundir_is_there(const struct rundir *r)
{
	char path[160];
	struct stat dir, locked, named;

	name_in(r, RUNDIR_LOCK, path, sizeof(path));
	return lstat(r->path, &dir) == 0 && dir.st_dev == r->device && dir.st_ino == r->inode &&
	       fstat(r->lock, &locked) == 0 && lstat(path, &named) == 0 && locked.st_ino == named.st_ino;
}

void rundir_remove(const struct rundir *r, const char *name)
{
	char path[160];

	name_in(r, name, path, sizeof(path));
	(void)unlink(path);
}

void rundir_close(struct rundir *r)
{
	if (r->lock >= 0)
		(void)close(r->lock);
	r->lock = -1;
}
