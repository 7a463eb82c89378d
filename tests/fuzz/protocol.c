/* SPDX-License-Identifier: MIT */
/* Packets of the control protocol, one a line, sent one after the other to a new daemon. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/controld_fixture.h"

static void ask(const uint8_t *packet, size_t size)
{
	static const struct caller caller = { .pid = 1 };
	size_t reply_size = 0;
	char *text = proto_handle(&fixture, &caller, packet, size, &reply_size);
	json_t *reply = text ? json_loadb(text, reply_size, 0, NULL) : NULL;

	if (!json_is_boolean(json_object_get(reply, "ok")) || reply_size > PROTO_PACKET_MAX)
		abort(); /* every packet has a reply, and each is an object */
	json_decref(reply);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)fixture_setup(NULL);
	(void)fake_add(1, 1);
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t n = end ? (size_t)(end - data) : size;

		ask(data, n);
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
	(void)fixture_teardown(NULL);
	return 0;
}
