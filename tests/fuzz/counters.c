/* SPDX-License-Identifier: MIT */
/* Counters that a program with a wild pointer has written to: the daemon looks, recounts and answers all the same. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/controld_fixture.h"

#define GROUPS 3u
#define MEMBERS 4u
#define ACCOUNTS 8u

static void populate(void)
{
	json_decref(fixture_do("create", "\"group\":\"/a\""));
	json_decref(fixture_do("create", "\"group\":\"/a/b\""));
	fixture_charge(fixture_join(fake_add(100, 7), "/a"), 1000);
	fixture_charge(fixture_join(fake_add(101, 7), "/a/b"), 1000);
	fixture_turn();
}

static void damage(const struct fuzz_damage *d)
{
	struct counters_map *c = fixture.served->seg.counters;
	uint32_t which = d->where / 4;

	switch (d->where % 4) {
	case 0:
		fuzz_damage_in(&c->header, sizeof(c->header), d);
		break;
	case 1:
		fuzz_damage_in(&c->pool[which % 2 * RESOURCE_SWAP][which / 2 % GROUPS], sizeof(c->pool[0][0]), d);
		break;
	case 2:
		fuzz_damage_in(&c->member[which % MEMBERS], sizeof(c->member[0]), d);
		break;
	default:
		fuzz_damage_in(&c->account[which % ACCOUNTS], sizeof(c->account[0]), d);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_damage d;

	(void)fixture_setup(NULL);
	populate();
	while (fuzz_next_damage(&data, &size, &d))
		damage(&d);
	fixture_pass(1000);
	json_decref(fixture_ask("get", "\"group\":\"/a\""));
	json_decref(fixture_ask("status", ""));
	json_decref(fixture_ask("members", "\"group\":\"/\""));
	json_decref(fixture_ask("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"1M\"}"));
	fixture_pass(1000);
	(void)fixture_teardown(NULL);
	return 0;
}
