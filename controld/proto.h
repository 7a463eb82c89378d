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

#include <stddef.h>

#define PROTO_VERSION     1
#define PROTO_SOCKET_NAME "control.sock"
#define PROTO_PACKET_MAX  65536u /* bytes, in both directions */

struct daemon;
struct caller;

/* Answers one packet, whatever its bytes are. Returns the reply (the caller frees it) and its
 * length, at most PROTO_PACKET_MAX; NULL only when there is no memory. */
char *proto_handle(struct daemon *d, const struct caller *caller, const void *packet, size_t size,
		   size_t *ret_size);

/* The reply to a packet that was longer than PROTO_PACKET_MAX. */
char *proto_refuse_oversized(size_t *ret_size);

#endif
