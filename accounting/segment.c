/* SPDX-License-Identifier: MIT */
/* The shared segment: creation, mapping and the checks before anybody trusts it. */
#include "accounting/segment.h"

#include "accounting/sys.h"

#include <string.h>

/* Offsets of everything two builds could disagree on, folded into one number. */
uint32_t segment_layout_hash(void)
{
	static const size_t parts[] = {
		sizeof(struct group),
		sizeof(struct limits),
		sizeof(struct pool),
		sizeof(struct account),
		sizeof(struct member),
		sizeof(struct limits_map),
		sizeof(struct counters_map),
		offsetof(struct limits_map, group),
		offsetof(struct limits_map, limits),
		offsetof(struct counters_map, member_of_pid),
		offsetof(struct counters_map, account),
		offsetof(struct counters_map, marks),
		offsetof(struct limits, arm),
		offsetof(struct pool, effort),
		offsetof(struct counters_map, pool),
		offsetof(struct counters_header, bell),
		offsetof(struct pool, event_local),
		offsetof(struct account, class),
		offsetof(struct member, account),
		CLASSES,
		EVENTS,
		OVERS,
		LAYOUT_VERSION,
	};
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		hash = (hash ^ (uint32_t)parts[i]) * 16777619u;
	return hash;
}

static size_t limits_size(unsigned resources)
{
	return offsetof(struct limits_map, limits) + resources * sizeof(((struct limits_map *)0)->limits[0]);
}

static size_t counters_size(unsigned resources)
{
	return offsetof(struct counters_map, pool) + resources * sizeof(((struct counters_map *)0)->pool[0]);
}

static int map_file(int dirfd, const char *name, size_t size, bool writable, void **ret)
{
	struct stat st;
	long at;
	int fd = sys_openat(dirfd, name, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	at = sys_call3(SYS_fstat, fd, &st, 0);
	if (at == 0 && (size_t)st.st_size < size)
		at = st.st_size == 0 ? -EAGAIN : -EBADMSG;
	if (at == 0)
		at = sys_mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	sys_close(fd);
	if (sys_is_error(at))
		return (int)at;
	*ret = (void *)at; /* NOLINT: the kernel's answer is an address */
	return 0;
}

static int map_both(int dirfd, enum segment_role role, struct segment *seg)
{
	unsigned resources = role == SEGMENT_MEMBER ? RESOURCE_REGION_FIRST : RESOURCES_MAX;
	int err;

	memset(seg, 0, sizeof(*seg));
	seg->resources = resources;
	seg->limits_size = limits_size(resources);
	seg->counters_size = counters_size(resources);
	err = map_file(dirfd, SEGMENT_LIMITS_NAME, seg->limits_size, role == SEGMENT_DAEMON, (void **)&seg->limits);
	if (err)
		return err;
	err = map_file(dirfd, SEGMENT_COUNTERS_NAME, seg->counters_size, role != SEGMENT_READER,
		       (void **)&seg->counters);
	if (err == -ENOENT) /* the second file is not there yet */
		err = -EAGAIN;
	if (err)
		segment_detach(seg);
	return err;
}

static int check_headers(const struct segment *seg)
{
	const struct limits_header *l = &seg->limits->header;
	const struct counters_header *c = &seg->counters->header;

	if (l->magic == 0 || c->magic == 0)
		return -EAGAIN;
	if (l->magic != LIMITS_MAGIC || c->magic != COUNTERS_MAGIC)
		return -EBADMSG;
	if (l->version != LAYOUT_VERSION || c->version != LAYOUT_VERSION)
		return -EPROTO;
	if (l->layout_hash != segment_layout_hash() || c->layout_hash != segment_layout_hash())
		return -EPROTO;
	if (mc_load_acquire(&l->ready) == 0 || mc_load_acquire(&c->ready) == 0)
		return -EAGAIN;
	return segment_consistent(seg) ? 0 : -EBADMSG;
}

int segment_open_dir(const char *path)
{
	struct stat st;
	int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	long err;

	if (fd < 0)
		return fd;
	err = sys_call3(SYS_fstat, fd, &st, 0);
	if (!err && st.st_uid != (uid_t)sys_call3(SYS_geteuid, 0, 0, 0))
		err = -EPERM;
	if (!err && (st.st_mode & 077))
		err = -EACCES;
	if (!err)
		return fd;
	sys_close(fd);
	return (int)err;
}

static int attach_in(int dirfd, const char *dir, enum segment_role role, struct segment *seg)
{
	int err = map_both(dirfd, role, seg);

	if (err)
		return err;
	if (strlen(dir) < sizeof(seg->dir))
		strcpy(seg->dir, dir);
	err = check_headers(seg);
	if (err)
		segment_detach(seg);
	return err;
}

int segment_attach(const char *dir, enum segment_role role, struct segment *ret)
{
	struct segment seg;
	int dirfd = segment_open_dir(dir);
	int err = dirfd;

	if (dirfd < 0)
		return err;
	err = attach_in(dirfd, dir, role, &seg);
	sys_close(dirfd);
	if (!err)
		*ret = seg;
	return err;
}
void segment_detach(struct segment *seg)
{
	if (seg->limits)
		(void)sys_munmap(seg->limits, seg->limits_size);
	if (seg->counters)
		(void)sys_munmap(seg->counters, seg->counters_size);
	memset(seg, 0, sizeof(*seg));
}

bool segment_consistent(const struct segment *seg)
{
	const struct limits_header *l = &seg->limits->header;
	const struct counters_header *c = &seg->counters->header;

	return l->magic == LIMITS_MAGIC && c->magic == COUNTERS_MAGIC && l->instance == c->instance &&
	       mc_load_relaxed(&l->ready) == SEGMENT_READY && mc_load_relaxed(&c->ready) == SEGMENT_READY &&
	       mc_load_relaxed(&l->groups_used) <= GROUPS_MAX && mc_load_relaxed(&c->accounts_used) <= ACCOUNTS_MAX &&
	       mc_load_relaxed(&c->members_used) <= MEMBERS_MAX;
}

static int make_file(int dirfd, const char *name, size_t size)
{
	int fd = sys_openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	int err;

	if (fd < 0)
		return fd;
	err = (int)sys_call3(SYS_ftruncate, fd, size, 0);
	if (!err) /* the header page: everything behind it is populated by whoever claims a slot */
		err = (int)sys_call6(SYS_fallocate, fd, 0, 0, 4096, 0, 0);
	sys_close(fd);
	if (err)
		(void)sys_call3(SYS_unlinkat, dirfd, name, 0);
	return err;
}

static void fill_root(struct segment *seg)
{
	struct group *root = &seg->limits->group[GROUP_ROOT];

	mc_store_relaxed(&root->parent, GROUP_NIL);
	root->charge_mode = CHARGE_RESIDENT;
	root->swappiness = 60;
	for (unsigned r = 0; r < RESOURCES_MAX; r++) {
		mc_store_relaxed(&seg->limits->limits[r][GROUP_ROOT].max, PAGES_MAX);
		mc_store_relaxed(&seg->limits->limits[r][GROUP_ROOT].high, PAGES_MAX);
		mc_store_relaxed(&seg->limits->limits[r][GROUP_ROOT].soft, PAGES_MAX);
		mc_store_relaxed(&seg->counters->header.epoch[r], EPOCH_FIRST(r));
		mc_store_relaxed(&seg->counters->pool[r][GROUP_ROOT].word, EPOCH_FIRST(r) << POOL_USAGE_BITS);
	}
	mc_store_relaxed(&root->state, GROUP_LIVE);
}

static void fill_resources(struct segment *seg)
{
	unsigned i = 0;

#define RESOURCE(id, resource_name, bytes, sentence) \
	strcpy(seg->limits->header.region[i].name, resource_name); \
	seg->limits->header.region[i].unit = (bytes); \
	mc_store_relaxed(&seg->limits->header.region[i].used, 1); \
	i++;
#include "accounting/resources.def"
#undef RESOURCE
}

static void fill_headers(struct segment *seg, uint64_t instance)
{
	struct limits_header *l = &seg->limits->header;
	struct counters_header *c = &seg->counters->header;

	l->version = c->version = LAYOUT_VERSION;
	l->layout_hash = c->layout_hash = segment_layout_hash();
	l->instance = c->instance = instance;
	mc_store_relaxed(&l->groups_used, 1);
	fill_resources(seg);
	fill_root(seg);
	c->magic = COUNTERS_MAGIC;
	l->magic = LIMITS_MAGIC;
	mc_store_release(&c->ready, SEGMENT_READY);
	mc_store_release(&l->ready, SEGMENT_READY);
}

/* The root, and the tables that are looked up at random: even a read of a hole takes a page of tmpfs. */
static int populate_fixed(const struct segment *seg)
{
	int err = segment_populate(seg, &seg->limits->group[GROUP_ROOT], sizeof(struct group));

	if (!err)
		err = segment_populate(seg, seg->limits->hash, sizeof(seg->limits->hash));
	if (!err)
		err = segment_populate(seg, seg->counters->member_of_pid, sizeof(seg->counters->member_of_pid));
	if (!err)
		err = segment_populate(seg, seg->counters->marks, sizeof(seg->counters->marks));

	for (unsigned r = 0; r < RESOURCES_MAX && !err; r++) {
		err = segment_populate(seg, &seg->limits->limits[r][GROUP_ROOT], sizeof(struct limits));
		if (!err)
			err = segment_populate(seg, &seg->counters->pool[r][GROUP_ROOT], sizeof(struct pool));
	}
	return err;
}

static int make_both(int dirfd)
{
	int err = make_file(dirfd, SEGMENT_LIMITS_NAME, limits_size(RESOURCES_MAX));

	if (err)
		return err;
	err = make_file(dirfd, SEGMENT_COUNTERS_NAME, counters_size(RESOURCES_MAX));
	if (err)
		(void)sys_call3(SYS_unlinkat, dirfd, SEGMENT_LIMITS_NAME, 0);
	return err;
}

static int map_new(int dirfd, const char *dir, struct segment *seg)
{
	int err = map_both(dirfd, SEGMENT_DAEMON, seg);

	if (err)
		return err;
	if (strlen(dir) < sizeof(seg->dir))
		strcpy(seg->dir, dir);
	err = populate_fixed(seg);
	if (err)
		segment_detach(seg);
	return err;
}

int segment_create(const char *dir, struct segment *ret)
{
	struct segment seg;
	uint64_t instance = 0;
	int dirfd = segment_open_dir(dir);
	int err;

	if (dirfd < 0)
		return dirfd;
	err = make_both(dirfd);
	if (err)
		goto out;
	err = map_new(dirfd, dir, &seg);
	if (err) {
		(void)sys_call3(SYS_unlinkat, dirfd, SEGMENT_COUNTERS_NAME, 0);
		(void)sys_call3(SYS_unlinkat, dirfd, SEGMENT_LIMITS_NAME, 0);
		goto out;
	}
	(void)sys_call3(SYS_getrandom, &instance, sizeof(instance), 0);
	fill_headers(&seg, instance);
	*ret = seg;
out:
	sys_close(dirfd);
	return err;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* kernel 5.14 */
#endif

/* Before 5.14: fallocate on the file, which must be opened for it. */
static int populate_by_fallocate(const struct segment *seg, uintptr_t from, uintptr_t to)
{
	bool counters = from >= (uintptr_t)seg->counters && from < (uintptr_t)seg->counters + seg->counters_size;
	uintptr_t base = counters ? (uintptr_t)seg->counters : (uintptr_t)seg->limits;
	int dirfd = segment_open_dir(seg->dir);
	int fd, err;

	if (dirfd < 0)
		return dirfd;
	fd = sys_openat(dirfd, counters ? SEGMENT_COUNTERS_NAME : SEGMENT_LIMITS_NAME, O_RDWR | O_NOFOLLOW, 0);
	sys_close(dirfd);
	if (fd < 0)
		return fd;
	err = (int)sys_call6(SYS_fallocate, fd, 0, (long)(from - base), (long)(to - from), 0, 0);
	sys_close(fd);
	return err;
}

int segment_populate(const struct segment *seg, const void *p, size_t size)
{
	uintptr_t from = (uintptr_t)p & ~(uintptr_t)4095;
	uintptr_t to = ((uintptr_t)p + size + 4095) & ~(uintptr_t)4095;
	int err = sys_madvise((void *)from, to - from, MADV_POPULATE_WRITE);

	if (err == -EINVAL)
		err = populate_by_fallocate(seg, from, to);
	return err == -EFAULT || err == -ENOMEM ? -ENOSPC : err;
}
