/* SPDX-License-Identifier: MIT */
/* A copy of the census. */
#include "memctl/census.h"

#include "memctl/client.h"
#include "memctl/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 100 /* somebody else has one taken just now */

static int make_room(struct census_copy *c, size_t size)
{
	void *room = size <= c->size ? c->census : realloc(c->census, size);

	if (!room)
		return -ENOMEM;
	c->census = room;
	c->size = size > c->size ? size : c->size;
	return 0;
}

static bool is_whole(const struct census *c)
{
	return c->magic == CENSUS_MAGIC && c->columns <= CENSUS_COLUMNS_MAX && c->rows <= GROUPS_MAX + 1 &&
	       c->row_size == sizeof(struct census_row) + c->columns * sizeof(uint64_t);
}

/* The head says how long it is, and a second look that it was not written meanwhile. -EAGAIN: it
 * was. */
static int copy(int fd, struct census_copy *c)
{
	int err = make_room(c, CENSUS_ROWS_AT);
	struct census *head;
	size_t size;
	uint32_t seq, again;

	if (err || pread(fd, c->census, sizeof(*head), 0) != sizeof(*head))
		return err ? err : -EPROTO;
	head = c->census;
	seq = mc_load_relaxed(&head->seq);
	if (seq & 1)
		return -EAGAIN;
	if (!is_whole(head))
		return -EPROTO;
	size = CENSUS_ROWS_AT + (size_t)head->rows * head->row_size;
	err = make_room(c, size);
	if (err || pread(fd, c->census, size, 0) != (ssize_t)size ||
	    pread(fd, &again, sizeof(again), offsetof(struct census, seq)) != sizeof(again))
		return err ? err : -EPROTO;
	head = c->census;
	if (again != seq || mc_load_relaxed(&head->seq) != seq)
		return -EAGAIN;
	c->rows = head->rows;
	c->columns = head->columns;
	c->row_size = head->row_size;
	return 0;
}

static int copy_file(const char *dir, struct census_copy *c)
{
	char path[256];
	int err = -EAGAIN;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" CENSUS_NAME, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(-errno, "cannot read %s: %m", path);
	for (int i = 0; i < TRIES && err == -EAGAIN; i++) {
		if (i)
			(void)usleep(1000);
		err = copy(fd, c);
	}
	(void)close(fd);
	return err ? error_set(err, "%s is not what this memctl reads: %s", path, strerror(-err)) : 0;
}

int census_read(struct memctl *m, bool thorough, struct census_copy *c)
{
	json_t *request = client_new_request("census", NULL);
	struct census_copy fresh = { 0 };
	int err;

	if (request && thorough)
		(void)json_object_set_new(request, "thorough", json_true());
	err = client_request(m, request, NULL);
	if (err)
		return err;
	fresh.census = c->census; /* its room is used again */
	fresh.size = c->size;
	err = copy_file(memctl_dir(m), &fresh);
	c->census = fresh.census;
	c->size = fresh.size;
	c->rows = err ? 0 : fresh.rows;
	c->columns = err ? 0 : fresh.columns;
	c->row_size = fresh.row_size;
	return err;
}

static int find(const struct census_copy *c, const char *key, const char *region, const char *field)
{
	for (uint32_t i = 0; i < c->columns; i++) {
		const struct census_column *column = &c->census->column[i];

		if (strcmp(column->key, key) == 0 && strcmp(column->region, region) == 0 &&
		    strcmp(column->field, field) == 0)
			return (int)i;
	}
	return -1;
}

int census_find(const struct census_copy *c, const char *key, const char *field)
{
	return find(c, key, "", field);
}

int census_find_region(const struct census_copy *c, const char *key, const char *region)
{
	return find(c, key, region, "");
}

void census_free(struct census_copy *c)
{
	free(c->census);
	*c = (struct census_copy){ 0 };
}
