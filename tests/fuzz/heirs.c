/* SPDX-License-Identifier: MIT */
/* Who inherits what memory of a device, as an older daemon has left it, damaged: the next one goes on. */
#include "tests/fuzz/damaged_file.h"
#include "tests/unit/controld_fixture.h"

static void lend_and_borrow(void)
{
	char more[128];

	json_decref(fixture_do("region", "\"name\":\"cuda/GPU-1/vram\",\"capacity\":1073741824"));
	json_decref(fixture_do("create", "\"group\":\"/a\""));
	for (pid_t pid = 100; pid < 102; pid++)
		(void)fixture_join(fake_add(pid, 7), "/a");
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(more, sizeof(more),
			       "\"what\":\"lend\",\"member\":0,\"name\":%llu,\"region\":%u,\"units\":16",
			       (1ull << 33) + i, RESOURCE_REGION_FIRST);
		json_decref(fixture_ask("heirs", more));
		(void)snprintf(more, sizeof(more), "\"what\":\"borrow\",\"member\":1,\"name\":%llu", (1ull << 33) + i);
		json_decref(fixture_ask("heirs", more));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)fixture_setup(NULL);
	lend_and_borrow();
	heirs_close(fixture.served);
	damage_file(fixture.rundir.path, HEIRS_NAME, data, size);
	if (heirs_open(fixture.served))
		abort();
	fake_end(fake_find(100));
	fixture_pass(1000);
	json_decref(fixture_ask("heirs", "\"what\":\"leave\",\"member\":1,\"name\":0"));
	fixture_pass(1000);
	(void)fixture_teardown(NULL);
	return 0;
}
