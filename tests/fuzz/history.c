/* SPDX-License-Identifier: MIT */
/* The history that an older daemon has left, damaged: what is still there is told, and new things are added. */
#include "tests/fuzz/damaged_file.h"
#include "tests/unit/controld_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)fixture_setup(NULL);
	json_decref(fixture_do("create", "\"group\":\"/a\""));
	json_decref(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"64M\"}"));
	fixture_pass(2000);
	history_close(fixture.served);
	damage_file(fixture.rundir.path, HISTORY_NAME, data, size);
	if (history_open(fixture.served))
		abort();
	json_decref(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"32M\"}"));
	fixture_pass(2000);
	json_decref(fixture_ask("history", "\"group\":\"/a\""));
	json_decref(fixture_ask("events", "\"group\":\"/\""));
	(void)fixture_teardown(NULL);
	return 0;
}
