/* SPDX-License-Identifier: MIT */
/* create: makes a group and sets its keys. */
#include "controld/command.h"
#include "controld/key.h"
#include "controld/tidy.h"

#include "accounting/tree.h"

#include <errno.h>
#include <string.h>

static int say(struct request *r, int err, const char *path)
{
	const char *last = strrchr(path, '/');
	int parent = last > path ? (int)(last - path) : 1;

	switch (err) {
	case -ENOENT:
		return complain(&r->why, err, "no such group: %.*s: create it before %.200s", parent, path, path);
	case -EEXIST:
		return complain(&r->why, err, "the group %.300s exists already", path);
	case -ENOSPC:
		return complain(&r->why, err, "there are %u groups already, that is all: remove some", GROUPS_MAX);
	case -ENOMEM:
		return complain(&r->why, err, "no room for the group: the file system of %s is full",
				r->served->seg.dir);
	default:
		return command_complain_path(&r->why, err, path);
	}
}

static int fill(struct request *r, uint16_t group, const struct key_changes *changes)
{
	unsigned removed;
	uint16_t in_way;
	int err = key_apply(r->served, group, changes, &r->why);

	if (!err && command_flag(r, "transient", false) && tidy_add(r->served, group, r->caller->holder))
		err = complain(&r->why, -ENOMEM, "the daemon is out of memory");
	if (err)
		(void)tidy_remove(r->served, group, false, &removed, &in_way);
	return err;
}

int do_create(struct request *r, json_t *reply)
{
	const char *path = command_text(r, "group", "");
	const json_t *values = json_object_get(r->arguments, "values");
	struct key_changes changes = { .count = 0 };
	uint16_t group;
	int err = values ? key_check(r->served, GROUP_NIL, values, &changes, &r->why) : 0;

	(void)reply;
	if (err)
		return err;
	err = tree_create(&r->served->seg, path, &group);
	return err ? say(r, err, path) : fill(r, group, &changes);
}
