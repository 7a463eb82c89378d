/* SPDX-License-Identifier: MIT */
/* What an event's text asks for: "usage:64M" and the like. */
#include "tests/fuzz/fuzz.h"

#include "controld/subscribe.h"
#include "tests/unit/controld_fixture.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return fixture_setup(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct event_spec spec = { .kind = EVENT_KINDS };
	struct complaint why = { 0 };
	int err = subscribe_parse(&fixture.served->seg, text, &spec, &why);

	if (err ? !why.text[0] : spec.kind >= EVENT_KINDS)
		abort();
	free(text);
	return 0;
}
