/* SPDX-License-Identifier: MIT */
/* Eventfds of subscribers. */
#include "controld/beacon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What the kernel says of a descriptor: flags, and of an eventfd its count and (since 5.2) its id. */
static int read_info(int fd, char *text, size_t size)
{
	char path[40];
	ssize_t n;
	int info;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = read(info, text, size - 1);
	text[n > 0 ? n : 0] = 0;
	(void)close(info);
	return 0;
}

static bool read_number(const char *text, const char *name, int base, uint64_t *ret)
{
	const char *at = strstr(text, name);

	if (!at)
		return false;
	*ret = strtoull(at + strlen(name), NULL, base);
	return true;
}

static int look_at(int fd, uint64_t *ret_id, bool *ret_may_block)
{
	char text[512];
	uint64_t flags = 0, count;
	int err = read_info(fd, text, sizeof(text));

	if (err)
		return err;
	if (!read_number(text, "eventfd-count:", 16, &count))
		return -EINVAL;
	(void)read_number(text, "flags:", 8, &flags);
	*ret_may_block = !(flags & O_NONBLOCK);
	*ret_id = 0;
	if (read_number(text, "eventfd-id:", 10, ret_id))
		++*ret_id; /* they begin with 0 */
	return 0;
}

static struct beacon *find(const struct beacons *all, uint64_t id)
{
	struct beacon *b = id ? all->chain[id % BEACON_CHAINS] : NULL;

	while (b && b->id != id)
		b = b->next;
	return b;
}

static int keep(struct beacons *all, int fd, uint64_t id, bool may_block, struct beacon **ret)
{
	struct beacon *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->fd = fd;
	b->id = id;
	b->may_block = may_block;
	b->users = 1;
	b->next = all->chain[id % BEACON_CHAINS];
	all->chain[id % BEACON_CHAINS] = b;
	all->count++;
	*ret = b;
	return 0;
}

int beacon_take(struct beacons *all, int fd, struct beacon **ret)
{
	uint64_t id = 0;
	bool may_block = true;
	int err = look_at(fd, &id, &may_block);
	struct beacon *known = err ? NULL : find(all, id);

	if (known) {
		beacon_share(known);
		*ret = known;
		(void)close(fd);
		return 0;
	}
	if (!err)
		err = keep(all, fd, id, may_block, ret);
	if (err)
		(void)close(fd);
	return err;
}

int beacon_make(struct beacons *all, struct beacon **ret)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : beacon_take(all, fd, ret);
}

void beacon_leave(struct beacons *all, struct beacon *b)
{
	struct beacon **at = &all->chain[b->id % BEACON_CHAINS];

	if (--b->users)
		return;
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	all->count--;
	(void)close(b->fd);
	free(b);
}

void beacon_light(struct beacons *all, struct beacon *b)
{
	b->pending++;
	if (b->is_lit)
		return;
	b->is_lit = true;
	b->next_lit = all->lit;
	all->lit = b;
}

/* The descriptor's flags are its owner's, too: they are not ours to change. */
static bool would_block(const struct beacon *b)
{
	struct pollfd p = { .fd = b->fd, .events = POLLOUT };

	return b->may_block && poll(&p, 1, 0) != 1;
}

void beacon_flush(struct beacons *all)
{
	while (all->lit) {
		struct beacon *b = all->lit;

		if (would_block(b) || write(b->fd, &b->pending, sizeof(b->pending)) < 0)
			all->lost += b->pending;
		all->lit = b->next_lit;
		b->pending = 0;
		b->is_lit = false;
	}
}
