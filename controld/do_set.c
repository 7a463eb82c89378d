/* SPDX-License-Identifier: MIT */
/* set: sets keys of a group, all or none. */
#include "controld/command.h"
#include "controld/demand.h"
#include "controld/notify.h"

int do_set(struct request *r, json_t *reply)
{
	const json_t *values = json_object_get(r->arguments, "values");
	struct key_changes changes;
	int err = key_check(r->served, r->group, values, &changes, &r->why);

	(void)reply;
	if (!err)
		err = demand_set(r, &changes);
	notify_limits_changed(r->served);
	return err;
}
