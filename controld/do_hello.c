/* SPDX-License-Identifier: MIT */
/* hello: says who answers. */
#include "controld/command.h"
#include "controld/proto.h"

#include <errno.h>
#include <unistd.h>

int do_hello(struct request *r, json_t *reply)
{
	json_t *more =
		json_pack("{s:i, s:s, s:i}", "v", PROTO_VERSION, "version", PACKAGE_VERSION, "pid", (int)getpid());

	(void)r;
	if (json_object_update_new(reply, more))
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	return 0;
}
