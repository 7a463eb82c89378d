/* SPDX-License-Identifier: MIT */
/* The control protocol: one JSON object a packet, one reply a request. Clients need only this
 * file.
 *
 * -> {"v":1,"op":"get","group":"/demo","keys":["memory.current"]} <-
 * {"ok":true,"values":{"memory.current":1048576},"more":false} <-
 * {"ok":false,"errno":"ENOENT","error":"no such group: /demo"}
 *
 * Ops and their arguments: commands.def. Where a reply has "more": true, the same request with its
 * "cursor" gets the next page. */
#ifndef CONTROLD_PROTO_H
#define CONTROLD_PROTO_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_SOCKET_NAME "control.sock"
#define PROTO_PACKET_MAX 65536u /* bytes, in both directions */

/* Beside it: systemd's memory-pressure protocol, for programs of the groups. */
#define PROTO_PRESSURE_NAME "pressure.sock"

struct daemon;
struct caller;

/* A reply that is still to come. `answer` gets the text as proto_handle returns it, to be freed; NULL: nobody waits
 * any more. */
struct promise {
	const void *holder; /* whose; the connection */
	void (*answer)(const void *holder, char *text, size_t size);
};

/* *ret_size of proto_handle: the reply comes later. */
#define PROTO_LATER SIZE_MAX

/* Answers one packet, whatever its bytes are. Returns the reply (the caller frees it) and its
 * length, at most PROTO_PACKET_MAX; NULL when there is no memory, and with PROTO_LATER. */
char *proto_handle(struct daemon *d, const struct caller *caller, const void *packet, size_t size, size_t *ret_size);

/* Keeps a promise: `err` (0, or negative errno with the sentence) and the fields of `reply` (its reference is taken;
 * NULL: none). Nothing when nobody waits. */
void proto_answer(const struct promise *p, int err, const char *sentence, json_t *reply);

/* The reply to a packet that was longer than PROTO_PACKET_MAX. */
char *proto_refuse_oversized(size_t *ret_size);

#endif
