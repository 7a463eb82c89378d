/* SPDX-License-Identifier: MIT */
/* What processes have mapped. */
#include "controld/mapped.h"

#include "accounting/layout.h"
#include "controld/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PATH_ROOM 4200 /* a path in /proc/PID/root */
#define BLOCKS_PER_PAGE (MC_PAGE_SIZE / 512)

/* ---- mappings -------------------------------------------------------------------------------------------- */

/* Hexadecimal; behind it and the character that ends it. */
static const char *hex(const char *p, uint64_t *ret)
{
	uint64_t v = 0;

	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			v = v << 4 | (uint64_t)(*p - 'a' + 10);
		else
			break;
	}
	*ret = v;
	return *p ? p + 1 : p;
}

/* START-END PERM OFFSET MAJOR:MINOR INODE PATH; false where there is no file behind it. */
static bool read_mapping(char *line, struct world_mapping *m)
{
	const char *p = hex(hex(line, &m->start), &m->end);
	uint64_t major_number, minor_number;
	char *path;

	if (strlen(p) < 5)
		return false;
	p = hex(hex(hex(p + 5, &m->offset), &major_number), &minor_number);
	m->inode = strtoull(p, &path, 10);
	if (m->inode == 0)
		return false;
	m->device = makedev((unsigned)major_number, (unsigned)minor_number);
	path += strspn(path, " ");
	path[strcspn(path, "\n")] = 0;
	m->path = path;
	return true;
}

int mapped_list(pid_t pid, world_take_mapping *take, void *to)
{
	FILE *f = proc_open(pid, "maps");
	struct world_mapping m;
	char *line = NULL;
	size_t room = 0;

	if (!f)
		return proc_error();
	while (getline(&line, &room, f) > 0)
		if (read_mapping(line, &m))
			take(&m, to);
	free(line);
	(void)fclose(f);
	return 0;
}

/* ---- devices --------------------------------------------------------------------------------------------- */

/* Asked once: the device of the kernel's own mount, seen by a mapping of ours, and whether we may
 * ask for what is behind mappings. */
struct internal {
	uint64_t at;
	dev_t device;
	bool may_follow;
};

static void take_own(const struct world_mapping *m, void *to)
{
	struct internal *internal = to;
	char path[96];
	struct stat st;

	if (m->start != internal->at)
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx", (unsigned long long)m->start,
		       (unsigned long long)m->end);
	internal->device = m->device;
	internal->may_follow = stat(path, &st) == 0 && st.st_ino == m->inode;
}

static const struct internal *internal_mount(void)
{
	static struct internal internal;
	void *p;

	if (internal.device)
		return &internal;
	p = mmap(NULL, MC_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return &internal;
	internal.at = (uintptr_t)p;
	(void)mapped_list(getpid(), take_own, &internal);
	(void)munmap(p, MC_PAGE_SIZE);
	return &internal;
}

/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE OPTIONS */
static bool is_memory_mount(const char *line, dev_t device)
{
	unsigned major_number, minor_number;
	const char *type = strstr(line, " - ");

	if (!type || sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) != 2 ||
	    makedev(major_number, minor_number) != device)
		return false;
	return strncmp(type + 3, "tmpfs ", 6) == 0 || strncmp(type + 3, "devtmpfs ", 9) == 0;
}

/* As this process sees the mounts: it may be in a namespace of its own. */
static int find_memory_mount(pid_t pid, dev_t device, bool *ret)
{
	FILE *f = proc_open(pid, "mountinfo");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	if (!f)
		return proc_error();
	while (!found && getline(&line, &room, f) > 0)
		found = is_memory_mount(line, device);
	free(line);
	(void)fclose(f);
	*ret = found;
	return 0;
}

int mapped_is_memory(pid_t pid, dev_t device, bool *ret)
{
	*ret = major(device) == 0 && device == internal_mount()->device;
	return *ret || major(device) != 0 ? 0 : find_memory_mount(pid, device, ret);
}

/* ---- how much of an object is resident ------------------------------------------------------------------- */

/* -ENOENT: another file, or none. */
static int blocks_of(const char *path, const struct world_mapping *m, uint64_t *ret_pages)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (st.st_ino != m->inode || st.st_dev != m->device)
		return -ENOENT;
	*ret_pages = (uint64_t)st.st_blocks / BLOCKS_PER_PAGE;
	return 0;
}

static int ask_map_files(const struct world_mapping *m, pid_t pid, uint64_t *ret_pages)
{
	char path[96];
	int err;

	if (!internal_mount()->may_follow)
		return -ENODATA;
	(void)snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)pid, (unsigned long long)m->start,
		       (unsigned long long)m->end);
	err = blocks_of(path, m, ret_pages);
	return err == -EPERM || err == -EACCES ? -ENODATA : err;
}

static bool is_in_our_ipc_ns(pid_t pid)
{
	struct stat ours, its;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/ipc", (int)pid);
	return stat("/proc/self/ns/ipc", &ours) == 0 && stat(path, &its) == 0 && ours.st_ino == its.st_ino;
}

/* key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap; rss in bytes.
 */
static bool is_segment(const char *line, ino_t inode, uint64_t *ret_pages)
{
	unsigned long long id, rss;

	if (sscanf(line, "%*d %llu %*o %*u %*d %*d %*u %*u %*u %*u %*u %*u %*u %*u %llu", &id, &rss) != 2 ||
	    id != inode)
		return false;
	*ret_pages = rss / MC_PAGE_SIZE;
	return true;
}

static int ask_sysv(const struct world_mapping *m, pid_t pid, uint64_t *ret_pages)
{
	bool found = false;
	char line[512];
	FILE *f;

	if (!world_is_sysv(m) || !is_in_our_ipc_ns(pid))
		return -ENODATA;
	f = fopen("/proc/sysvipc/shm", "re");
	if (!f)
		return -ENODATA;
	while (!found && fgets(line, sizeof(line), f))
		found = is_segment(line, m->inode, ret_pages);
	(void)fclose(f);
	return found ? 0 : -ENODATA;
}

static bool has_no_file(const struct world_mapping *m)
{
	return m->path[0] != '/' || world_is_sysv(m) || strcmp(m->path, "/dev/zero (deleted)") == 0;
}

/* Where the process is in another mount namespace, the path begins at its root; where it has
 * changed its root, at ours. */
static int ask_path(const struct world_mapping *m, pid_t pid, uint64_t *ret_pages)
{
	char path[PATH_ROOM];

	if (has_no_file(m))
		return -ENODATA;
	(void)snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, m->path);
	if (blocks_of(path, m, ret_pages) == 0 || blocks_of(m->path, m, ret_pages) == 0)
		return 0;
	return -ENODATA;
}

static int ask_one_descriptor(const struct world_mapping *m, pid_t pid, int fd, uint64_t *ret_pages)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	return blocks_of(path, m, ret_pages);
}

static int ask_descriptor(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages)
{
	const struct dirent *entry;
	int err = -ENODATA;
	char path[64];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = has_no_file(m) ? NULL : opendir(path);
	while (dir && err && (entry = readdir(dir))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (entry->d_name[0] == '.' || ask_one_descriptor(m, pid, fd, ret_pages))
			continue;
		way->pid = pid;
		way->fd = fd;
		err = 0;
	}
	if (dir)
		(void)closedir(dir);
	return err;
}

static int ask(enum world_way_kind kind, const struct world_mapping *m, pid_t pid, struct world_way *way,
	       uint64_t *ret_pages)
{
	switch (kind) {
	case WAY_MAP_FILES:
		return ask_map_files(m, pid, ret_pages);
	case WAY_SYSV:
		return ask_sysv(m, pid, ret_pages);
	case WAY_PATH:
		return ask_path(m, pid, ret_pages);
	case WAY_DESCRIPTOR:
		return ask_descriptor(m, pid, way, ret_pages);
	case WAY_UNKNOWN:
	case WAY_NONE:
	default:
		return -ENODATA;
	}
}

static bool is_as_before(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages)
{
	if (way->kind == WAY_DESCRIPTOR)
		return ask_one_descriptor(m, way->pid, way->fd, ret_pages) == 0;
	return ask(way->kind, m, pid, way, ret_pages) == 0;
}

int mapped_object(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages)
{
	if (is_as_before(m, pid, way, ret_pages))
		return 0;
	for (enum world_way_kind kind = WAY_MAP_FILES; kind != WAY_NONE; kind++) {
		int err = ask(kind, m, pid, way, ret_pages);

		if (!err)
			way->kind = kind;
		if (err != -ENODATA)
			return err;
	}
	way->kind = WAY_NONE;
	return -ENODATA;
}

/* ---- page tables ----------------------------------------------------------------------------------------- */

#define ENTRIES 512 /* of 8 bytes each, read at once */
#define PRESENT (1ull << 63)
#define OF_FILE (1ull << 61) /* not a private copy */

static void set(uint64_t *bits, uint64_t n)
{
	bits[n / 64] |= 1ull << n % 64;
}

static void set_range(uint64_t *bits, uint64_t n, uint64_t end)
{
	for (; n < end && n % 64; n++)
		set(bits, n);
	for (; n + 64 <= end; n += 64)
		bits[n / 64] = UINT64_MAX;
	for (; n < end; n++)
		set(bits, n);
}

static int read_entries(int fd, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits)
{
	uint64_t entry[ENTRIES];
	uint64_t done = 0;

	while (done < pages) {
		size_t part = pages - done < ENTRIES ? (size_t)(pages - done) : ENTRIES;
		ssize_t n = pread(fd, entry, part * 8, (off_t)((start / MC_PAGE_SIZE + done) * 8));

		if (n < 8)
			return n < 0 ? -errno : -ESRCH;
		for (size_t i = 0; i < (size_t)n / 8; i++)
			if ((entry[i] & PRESENT) && (entry[i] & OF_FILE))
				set(bits, first + done + i);
		done += (size_t)n / 8;
	}
	return 0;
}

/* PAGEMAP_SCAN came with Linux 6.7: older headers lack it, and older kernels. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_REGIONS 128

static int scan(int fd, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits)
{
	struct scan_region region[SCAN_REGIONS];
	struct scan scan = {
		.size = sizeof(scan),
		.start = start,
		.end = start + pages * MC_PAGE_SIZE,
		.vec = (uintptr_t)region,
		.vec_len = SCAN_REGIONS,
		.category_mask = SCAN_FILE | SCAN_PRESENT,
		.return_mask = SCAN_PRESENT,
	};

	while (scan.start < scan.end) {
		int n = ioctl(fd, SCAN, &scan);

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			set_range(bits, first + (region[i].start - start) / MC_PAGE_SIZE,
				  first + (region[i].end - start) / MC_PAGE_SIZE);
		if (scan.walk_end <= scan.start)
			return -EPROTO;
		scan.start = scan.walk_end;
	}
	return 0;
}

int mapped_touched(pid_t pid, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits)
{
	int fd, err;

	fd = proc_open_fd(pid, "pagemap");
	if (fd < 0)
		return fd;
	err = scan(fd, start, pages, first, bits);
	if (err)
		err = read_entries(fd, start, pages, first, bits);
	(void)close(fd);
	return err;
}
