/* SPDX-License-Identifier: MIT */
/* Packets to requests, results to packets. */
#include "controld/proto.h"

#include "controld/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *error_reply(int err, const char *sentence)
{
	const char *name = strerrorname_np(-err);

	return json_pack("{s:b, s:s, s:s}", "ok", 0, "errno", name ? name : "EIO", "error", sentence);
}

static char *print(json_t *reply, size_t *ret_size)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	*ret_size = text ? strlen(text) : 0;
	return text;
}

char *proto_refuse_oversized(size_t *ret_size)
{
	return print(error_reply(-EMSGSIZE, "the packet is longer than 65536 bytes: send less at once"), ret_size);
}

/* The op, when the packet is a request at all. */
static int check_request(const json_t *root, const char **ret_op, struct complaint *why)
{
	const json_t *v = json_object_get(root, "v");
	const char *op = json_string_value(json_object_get(root, "op"));

	if (!json_is_object(root))
		return complain(why, -EINVAL, "a request is a JSON object");
	if (!json_is_integer(v))
		return complain(why, -EINVAL, "a request says its version: \"v\":%d", PROTO_VERSION);
	if (json_integer_value(v) != PROTO_VERSION)
		return complain(why, -EPROTO,
				"this daemon speaks version %d of the protocol, not %lld: restart the "
				"older side",
				PROTO_VERSION, (long long)json_integer_value(v));
	if (!op)
		return complain(why, -EINVAL, "a request says what it wants: \"op\":\"...\"");
	*ret_op = op;
	return 0;
}

static int handle(struct request *r, json_t *reply)
{
	const char *op = NULL;
	int err = check_request(r->arguments, &op, &r->why);

	if (err)
		return err;
	r->served = r->daemon->served;
	return command_carry_out(r, op, reply);
}

/* NULL: later, or no memory. */
static json_t *reply_to(struct request *r, const char *packet, size_t size, bool *ret_later)
{
	json_t *reply = json_pack("{s:b}", "ok", 1);
	json_error_t error;
	int err;

	r->arguments = json_loadb(packet, size, JSON_REJECT_DUPLICATES, &error);
	if (r->arguments)
		err = handle(r, reply);
	else
		err = complain(&r->why, -EINVAL, "the packet is not JSON: %s", error.text);
	json_decref(r->arguments);
	if (!err)
		return reply;
	json_decref(reply);
	*ret_later = err == COMMAND_ANSWERS_LATER;
	return *ret_later ? NULL : error_reply(err, r->why.text);
}

/* NULL only when there is no memory. */
static char *print_reply(json_t *reply, size_t *ret_size)
{
	char *text = print(reply, ret_size);

	if (!text)
		return print(error_reply(-ENOMEM, "the daemon is out of memory"), ret_size);
	if (*ret_size <= PROTO_PACKET_MAX)
		return text;
	free(text);
	return print(error_reply(-EMSGSIZE, "the reply is too long: ask for less"), ret_size);
}

char *proto_handle(struct daemon *d, const struct caller *caller, const void *packet, size_t size, size_t *ret_size)
{
	struct request r = { .daemon = d, .caller = caller };
	bool later = false;
	json_t *reply = reply_to(&r, packet, size, &later);

	if (!later)
		return print_reply(reply, ret_size);
	*ret_size = PROTO_LATER;
	return NULL;
}

void proto_answer(const struct promise *p, int err, const char *sentence, json_t *reply)
{
	size_t size = 0;
	char *text;

	if (p->answer && err) {
		text = print_reply(error_reply(err, sentence), &size);
		p->answer(p->holder, text, size);
	} else if (p->answer) {
		json_t *whole = json_pack("{s:b}", "ok", 1);

		if (whole && reply)
			(void)json_object_update(whole, reply);
		text = print_reply(whole, &size);
		p->answer(p->holder, text, size);
	}
	json_decref(reply);
}
