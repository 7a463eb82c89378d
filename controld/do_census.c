/* SPDX-License-Identifier: MIT */
/* census: all numbers of all groups at once, in the file "census" of the runtime directory. */
#include "controld/census.h"
#include "controld/command.h"
#include "controld/reap.h"

int do_census(struct request *r, json_t *reply)
{
	uint64_t now_ns = r->daemon->world->now_ns();
	int err;

	(void)reap_now(r->served, GROUP_ROOT, now_ns);
	err = census_take(r->served, command_flag(r, "thorough", false), now_ns, &r->why);
	if (err)
		return err;
	(void)json_object_set_new(reply, "file", json_string(CENSUS_NAME));
	return 0;
}
